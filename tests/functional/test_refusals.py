"""A refusal of a security-relevant act leaves its evidence, by whatever way it came (M1)."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from app.audit import events
from app.auth.accounts import services_accounts, services_ways_in
from app.auth.mfa import services_mfa_changes
from app.auth.models import IAMMfaMethod, IAMUserAccount
from app.auth.recovery import services_recovery
from app.authz import services_grants
from app.authz.errors import OwnRights
from app.core import clock
from app.core.actor import Actor
from app.core.db import session, transaction
from app.core.errors import Conflict, TooManyAttempts
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from app.risk import services_limits
from app.risk.settings import RiskSettings
from tests.conftest import post
from tests.support.settings import changed

PERSON_OF = {"kind": "user", "ip": "192.0.2.9"}


@contextmanager
def refused(error, code: str | None = None):
    """Run a unit of work that is refused."""
    with pytest.raises(error) as caught, transaction():
        yield
    assert code in (None, caught.value.code)


def load(user_id) -> IAMUserAccount:
    return session().scalars(select(IAMUserAccount).where(IAMUserAccount.id == user_id)).one()


def the(audit_rows, event: events.Event):
    (row,) = audit_rows(event.name)
    assert row.status in {"denied", "failure"}
    return row


def test_m1_too_many_reset_requests_from_an_address_are_recorded(app, client, audit_rows) -> None:
    with changed(app, RiskSettings, RESET_REQUESTS_PER_IP=1):
        for name in ("ann", "bob"):
            post(client, "/auth/password/forgot", {"username": name})
    row = the(audit_rows, events.ATTEMPTS_THROTTLED)
    assert row.details["scope"] == "reset.ip"
    assert row.ip == "127.0.0.1"


def test_m1_every_charge_of_an_address_records_its_refusal(app, tenant, audit_rows) -> None:
    actor = Actor(kind="anonymous", tenant_id=tenant, ip="192.0.2.9")
    with tenant_scope(tenant):
        for _number in range(60):
            services_limits.charge_address("link", actor=actor)
        with pytest.raises(TooManyAttempts):
            services_limits.charge_address("link", actor=actor)
    assert the(audit_rows, events.ATTEMPTS_THROTTLED).details["scope"] == "link"


def test_m1_the_last_way_in_is_kept_and_that_is_recorded(scoped, make_user, audit_rows) -> None:
    person = make_user("ann")
    actor = Actor(tenant_id=scoped, user_id=person.id, **PERSON_OF)
    with transaction():
        services_accounts.get_user(person.id).password_hash = None
    with refused(Conflict, "account.last_way_in"):
        services_ways_in.guard_last(load(person.id), identity_id=new_id(), actor=actor)
    row = the(audit_rows, events.ACCOUNT_CHANGE_REFUSED)
    assert (row.details["reason"], row.resource_id) == ("last_way_in", person.id)


def test_m1_the_last_factor_where_one_is_required_is_kept_and_that_is_recorded(
    scoped, make_user, audit_rows
) -> None:
    person = make_user("ann", mfa="totp")
    actor = Actor(tenant_id=scoped, user_id=person.id, **PERSON_OF)
    method = session().scalars(select(IAMMfaMethod)).one().id
    with refused(Conflict, "mfa.last_factor"):
        services_mfa_changes.remove(load(person.id), method, policy="required", actor=actor)
    assert the(audit_rows, events.ACCOUNT_CHANGE_REFUSED).details["reason"] == "last_factor"


def test_m1_an_attempt_on_ones_own_rights_is_recorded(scoped, make_user, audit_rows) -> None:
    person = make_user("ann", roles=["tenant_admin"], actor_type="tenant_admin")
    actor = Actor(tenant_id=scoped, user_id=person.id, **PERSON_OF)
    rights = services_grants.resolve(
        scoped, person.id, tenant_version=-1, user_version=-1, at=clock.now()
    )
    with refused(OwnRights):
        services_accounts.update_user(
            load(person.id), actor_type="end_user", actor_grants=rights, actor=actor
        )
    assert the(audit_rows, events.ACCOUNT_CHANGE_REFUSED).details["reason"] == "own_rights"


@pytest.mark.parametrize(
    ("status", "reason"), [("active", "nothing_proved"), ("suspended", "account_status")]
)
def test_m1_a_recovery_step_that_is_not_open_is_recorded(
    scoped, make_user, audit_rows, status, reason
) -> None:
    person = make_user("ann", status=status)
    actor = Actor(tenant_id=scoped, user_id=person.id, **PERSON_OF)
    with refused(Conflict, "recovery.closed"):
        services_recovery.ask_for_approval(SimpleNamespace(user_id=person.id), actor=actor)
    assert the(audit_rows, events.RECOVERY_FAILED).details["reason"] == reason
