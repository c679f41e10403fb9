"""People of the demonstration. Random passwords at first run, kept at the next.

Writes `instance/demo.json` (mode 600): the sign-ins, and the TOTP secrets of the
administrators, whose roles require a second factor. Not part of the wheel.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from app.audit import events
from app.audit.services_audit import record
from app.auth.accounts import services_accounts
from app.auth.accounts.services_directory import find_by_login
from app.auth.factors.totp import new_secret
from app.auth.models import IAMMfaMethod, IAMUserAccount
from app.auth.tenants import services_tenant_admin
from app.auth.tenants.services_tenant_admin import NewTenant
from app.core import clock, hashing, rng
from app.core.actor import Actor, system_actor
from app.core.crypto import keyring
from app.core.db import session, transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from app.tenancy.services_organizations import create_organization, list_organizations
from app.tenancy.services_tenants import ensure_default_tenant, find_by_slug
from app.tenancy.settings import TenancySettings

FILE = "demo.json"


@dataclass(frozen=True)
class Person:
    """One seeded account."""

    key: str
    first_name: str
    last_name: str
    role: str
    actor_type: str
    totp: bool
    organization: str = ""

    @property
    def email(self) -> str:
        """Return the address; `example.org` never reaches anybody."""
        return f"{self.key.replace('_', '.')}@example.org"


PARTNER, CLIENT = "Northwind Partners", "Harbour Clinic"
PEOPLE = (
    Person("admin", "Ada", "Lovelace", "tenant_admin", "tenant_admin", totp=True),
    Person("manager", "Katherine", "Johnson", "user_manager", "end_user", totp=True),
    Person("auditor", "Grace", "Hopper", "auditor", "end_user", totp=True),
    Person("viewer", "Alan", "Turing", "viewer", "end_user", totp=False, organization=CLIENT),
    Person(
        "partner_admin", "Mary", "Jackson", "partner_admin", "partner_admin",
        totp=True, organization=PARTNER,
    ),
    Person("platform", "Barbara", "Liskov", "super_admin", "super_admin", totp=True),
)  # fmt: skip
# Another tenant, below the first: its people sign in at its own address.
TENANT = ("acme", "Acme Robotics")
TENANT_PEOPLE = (
    Person("acme_admin", "Hedy", "Lamarr", "tenant_admin", "tenant_admin", totp=True),
    Person("acme_viewer", "Annie", "Easley", "viewer", "end_user", totp=False),
)


def seed(folder: Path) -> Iterator[str]:
    """Create the people that are missing and write the file of their sign-ins."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    home = ensure_default_tenant("seed")
    known = _read(folder / FILE)
    users = _people(home.id, PEOPLE, known.get("users", {}))
    slug, name = TENANT
    kept = known.get("tenants", {}).get(slug, {}).get("users", {})
    theirs = _people(_tenant(home.id, slug, name), TENANT_PEOPLE, kept)
    path = f"{TenancySettings.current().IAM_TENANT_PATH}/{slug}"
    tenants = {slug: {"name": name, "path": path, "users": theirs}}
    content = {"url": known.get("url", ""), "tenant": home.slug, "users": users}
    _write(folder / FILE, {**content, "tenants": tenants})
    yield f"People     {len(users)} accounts, written to {FILE} in the instance folder"
    yield f"Tenant     {name}, with {len(theirs)} people of its own"


def _people(tenant_id: UUID, people: Iterable[Person], known: dict[str, Any]) -> dict[str, Any]:
    actor = system_actor(tenant_id, "seed")
    with tenant_scope(tenant_id):
        places = _organizations(actor) if any(person.organization for person in people) else {}
        return {person.key: _ensure(person, places, known, actor) for person in people}


def _organizations(actor: Actor) -> dict[str, UUID]:
    found = {row.name: row.id for row in list_organizations()}
    with transaction():
        for name, kind, above in ((PARTNER, "partner", ""), (CLIENT, "client", PARTNER)):
            if name not in found:
                row = create_organization(
                    name, kind=kind, parent_id=found.get(above), actor_grants=None, actor=actor
                )
                found[name] = row.id
    return found


def _tenant(home_id: UUID, slug: str, name: str) -> UUID:
    found = find_by_slug(slug)
    if found is not None:
        return found.id
    actor = system_actor(home_id, "seed")
    with tenant_scope(home_id), transaction():
        new = NewTenant(slug, name, "client")
        return services_tenant_admin.create(new, parent_id=home_id, actor_grants=None, actor=actor)


def set_url(folder: Path, url: str) -> dict[str, Any]:
    """Note the address that is served; return the file's content."""
    content = _read(folder / FILE) | {"url": url}
    _write(folder / FILE, content)
    return content


def _ensure(
    person: Person, places: dict[str, UUID], known: dict[str, Any], actor: Actor
) -> dict[str, Any]:
    found = find_by_login(person.key)
    kept = known.get(person.key)
    if found is not None and kept:
        return dict(kept)
    password = rng.password()
    secret = new_secret() if person.totp else None
    password_hash = hashing.current().hash(password)
    with transaction():
        user = _account(person, found, password_hash, places.get(person.organization), actor)
        if secret:
            _enrol(user, secret, actor)
    return {
        "username": person.key,
        "password": password,
        "totp_secret": secret,
        "roles": [person.role],
    }


def _account(
    person: Person,
    found: IAMUserAccount | None,
    password_hash: str,
    parent_id: UUID | None,
    actor: Actor,
) -> IAMUserAccount:
    if found is not None:  # the file was lost: the account gets a new password
        found.password_hash = password_hash
        record(events.PASSWORD_CHANGED, resource=found, actor=actor)
        return found
    return services_accounts.create_user(
        username=person.key,
        email=person.email,
        first_name=person.first_name,
        last_name=person.last_name,
        actor_type=person.actor_type,
        roles=(person.role,),
        parent_id=parent_id,
        invite=False,
        password_hash=password_hash,
        email_verified=True,
        actor_grants=None,
        actor=actor,
    )


def _enrol(user: IAMUserAccount, secret: str, actor: Actor) -> None:
    row_id = new_id()
    at = clock.now()
    for old in session().query(IAMMfaMethod).filter_by(user_id=user.id):
        session().delete(old)
    session().add(
        IAMMfaMethod(
            id=row_id,
            tenant_id=user.tenant_id,
            user_id=user.id,
            method="totp",
            name="Demo authenticator",
            secret=keyring().encrypt(secret.encode(), f"iam_mfa_method:{row_id}"),
            created_at=at,
            confirmed_at=at,
        )
    )
    record(
        events.MFA_ENROLLED, resource=user, actor=actor, method="totp", name="Demo authenticator"
    )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    draft.replace(path)
