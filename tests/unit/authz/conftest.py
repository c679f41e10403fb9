"""A tenant with people and roles, over the services alone: no request, no session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import delete, select, update

from app.audit.models import IAMAuthLog
from app.auth.models import (
    IAMOrganization,
    IAMPermission,
    IAMRole,
    IAMRolePermission,
    IAMTenant,
    IAMUserAccount,
    IAMUserRole,
)
from app.authz import services_rbac as rbac
from app.authz.catalogue import NAMES
from app.authz.grants import Grants
from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import session, transaction
from app.core.scoping import tenant_scope, unscoped


class Realm:
    """One tenant: makes people, roles and organizations, and acts as them."""

    def __init__(self, tenant_id: UUID) -> None:
        self.id = tenant_id
        self.system = system_actor(self.id, "tests")

    def scope(self) -> AbstractContextManager[None]:
        """Return the scope of this tenant."""
        return tenant_scope(self.id)

    def person(
        self, name: str, *roles: str, parent: UUID | None = None, status: str = "active"
    ) -> IAMUserAccount:
        """Return a new account that holds `roles` in the whole tenant."""
        at = clock.now()
        user = IAMUserAccount(
            username=name, username_canonical=name, status=status, parent_id=parent,
            created_at=at, updated_at=at,
        )  # fmt: skip
        with self.scope(), transaction():
            session().add(user)
            session().flush()
        for role in roles:
            self.give(user, role)
        return user

    def organization(self, name: str, parent: UUID | None = None) -> UUID:
        """Return the id of a new organization."""
        row = IAMOrganization(name=name, type="client", parent_id=parent, created_at=clock.now())
        with self.scope(), transaction():
            session().add(row)
            session().flush()
        return row.id

    def role(self, name: str) -> IAMRole:
        """Return a role by name."""
        with self.scope():
            found = rbac.find_role(name)
        assert found is not None, name
        return found

    def make_role(self, name: str, **values: Any) -> IAMRole:
        """Return a new role, made by the system."""
        with self.scope(), transaction():
            return rbac.create_role(name, actor_grants=None, actor=self.system, **values)

    def give(self, user: IAMUserAccount, role: str, **how: Any) -> IAMUserRole:
        """Give a role as the system does."""
        with self.scope(), transaction():
            return rbac.assign_role(
                user, self.role(role), actor_grants=None, actor=self.system, **how
            )

    def grants(self, user: IAMUserAccount, at: datetime | None = None) -> Grants:
        """Return what a person may do, as the next request of theirs would see it."""
        tenant_version, user_version = self.versions(user)
        return rbac.resolve(
            self.id, user.id, tenant_version=tenant_version, user_version=user_version,
            at=at or clock.now(),
        )  # fmt: skip

    def versions(self, user: IAMUserAccount) -> tuple[int, int]:
        """Return the authorization versions of tenant and person as stored."""
        with self.scope():
            of_tenant = session().scalar(select(IAMTenant.authz_version))
            of_user = session().scalar(
                select(IAMUserAccount.authz_version).where(IAMUserAccount.id == user.id)
            )
        assert of_tenant is not None
        assert of_user is not None
        return of_tenant, of_user

    def acting(self, user: IAMUserAccount) -> dict[str, Any]:
        """Return the keywords with which a service is called on behalf of a person."""
        actor = Actor(kind="user", tenant_id=self.id, user_id=user.id)
        return {"actor": actor, "actor_grants": self.grants(user)}

    def assign(self, by: IAMUserAccount, to: IAMUserAccount, role: str, **how: Any) -> None:
        """Give a role on behalf of `by`."""
        with self.scope(), transaction():
            rbac.assign_role(to, self.role(role), **how, **self.acting(by))

    def revoke(self, by: IAMUserAccount, of: IAMUserAccount, role: str) -> None:
        """Take a role on behalf of `by`."""
        with self.scope(), transaction():
            rbac.revoke_role(of, self.role(role), **self.acting(by))

    def set_status(self, user: IAMUserAccount, status: str) -> None:
        """Set an account's status past all guards."""
        with self.scope(), transaction():
            session().execute(
                update(IAMUserAccount).where(IAMUserAccount.id == user.id).values(status=status)
            )

    def refusals(self) -> list[IAMAuthLog]:
        """Return the refused changes of rights that the trail has kept."""
        query = select(IAMAuthLog).where(IAMAuthLog.action == "ROLE_CHANGE_REFUSED")
        with self.scope():
            return list(session().scalars(query))


def forget_host_permissions() -> None:
    """Delete permissions that a test defined beside the catalogue."""
    with unscoped("tests clean up"), transaction():
        foreign = select(IAMPermission.id).where(IAMPermission.name.not_in(NAMES))
        session().execute(
            delete(IAMRolePermission).where(IAMRolePermission.permission_id.in_(foreign)),
            execution_options={"synchronize_session": False},
        )
        session().execute(
            delete(IAMPermission).where(IAMPermission.name.not_in(NAMES)),
            execution_options={"synchronize_session": False},
        )


@pytest.fixture
def realm(app: Flask, tenant: UUID) -> Iterator[Realm]:
    """Return the default tenant, seeded."""
    yield Realm(tenant)
    session().rollback()
    forget_host_permissions()


@pytest.fixture
def other_realm(app: Flask, other_tenant: UUID) -> Realm:
    """Return a second seeded tenant in the same database."""
    return Realm(other_tenant)
