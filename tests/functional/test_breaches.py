"""Attempts to reach another tenant are found, told to both, and answered as ever (K5)."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from app.audit import wording
from app.core import clock
from app.core.actor import Actor
from app.core.db import Base, session, transaction
from app.core.scoping import tenant_scope
from app.tenancy import services_breaches
from app.tenancy.models import IAMOrganization
from tests.conftest import Someone, csrf_of

EVENT = "TENANT_ISOLATION_BREACH_ATTEMPT"
NOWHERE = UUID("01940000-0000-7000-8000-000000000001")


@pytest.fixture
def admin(client: Any, make_user: Any, sign_in: Any) -> Someone:
    """Return an administrator of the default tenant who is signed in."""
    person: Someone = make_user(
        "boss", roles=["tenant_admin"], actor_type="tenant_admin", mfa="totp"
    )
    sign_in(client, person)
    return person


@pytest.fixture
def theirs(make_user: Any, other_tenant: UUID) -> Someone:
    """Return somebody of the other tenant."""
    person: Someone = make_user("olga", tenant_id=other_tenant)
    return person


def test_k5_an_id_of_another_tenant_is_recorded_in_both(
    client, admin, theirs, tenant, other_tenant, audit_rows
):
    answer = client.get(f"/admin/users/{theirs.id}")
    assert answer.status_code == 404
    ours, there = sorted(audit_rows(EVENT), key=lambda row: row.tenant_id != tenant)
    assert (ours.tenant_id, ours.actor_id, ours.severity) == (tenant, admin.id, "critical")
    assert ours.details == {"endpoint": "iam_admin.user", "method": "GET", "reason": "id"}
    assert there.tenant_id == other_tenant
    assert (there.resource_type, there.resource_id) == ("user_account", theirs.id)
    assert ours.request_id == there.request_id


def test_k5_neither_side_learns_a_name_of_the_other(
    client, admin, theirs, tenant, other_tenant, audit_rows
):
    client.get(f"/admin/users/{theirs.id}", headers={"User-Agent": "Boss Browser"})
    ours, there = sorted(audit_rows(EVENT), key=lambda row: row.tenant_id != tenant)
    assert (ours.resource_type, ours.resource_id) == (None, None)
    assert (there.actor_id, there.ip, there.user_agent, there.session_hash) == (None,) * 4
    assert there.actor_type == "foreign"
    with client.application.test_request_context():
        assert wording.who(there, {}) == "Somebody of another tenant"
    for text in ("boss", "default", "olga", "other"):
        assert text not in f"{ours.details}{there.details}".lower()


def test_k5_the_answer_is_the_same_as_for_an_id_that_is_nowhere(client, admin, theirs):
    told = [client.get(f"/admin/users/{row_id}") for row_id in (theirs.id, NOWHERE)]
    assert [answer.status_code for answer in told] == [404, 404]
    bodies = [answer.text.split("Reference")[0] for answer in told]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("place", ["path", "query", "form"])
def test_k5_ids_are_looked_for_in_path_query_and_form(client, admin, theirs, audit_rows, place):
    user_id = theirs.id if place == "path" else NOWHERE
    if place == "form":
        token = csrf_of(client.get("/account").text)
        client.post(
            f"/admin/users/{user_id}/roles/{NOWHERE}/revoke",
            data={"csrf_token": token, "parent_id": str(theirs.id)},
        )
    elif place == "query":
        token = csrf_of(client.get("/account").text)
        client.post(
            f"/admin/users/{user_id}/roles/{NOWHERE}/revoke?parent_id={theirs.id}",
            data={"csrf_token": token},
        )
    else:
        client.get(f"/admin/users/{user_id}")
    assert len(audit_rows(EVENT)) == 2


def test_k5_nobody_is_accused_by_a_link(client, admin, theirs, audit_rows):
    """The query of a link is somebody else's; where another site led here, the event says so."""
    client.get(f"/admin/users/{NOWHERE}", query_string={"next": str(theirs.id)})
    assert audit_rows(EVENT) == []
    led = {"Sec-Fetch-Site": "cross-site"}
    client.get(f"/admin/users/{theirs.id}", headers=led)
    reasons = {row.details["reason"] for row in audit_rows(EVENT)}
    assert reasons == {"id, by a link on another site"}


@pytest.mark.parametrize("spelling", ["{}", "{{{}}}", "urn:uuid:{}", "upper", "hex"])
def test_k5_other_spellings_of_an_id_are_found(client, admin, theirs, audit_rows, spelling):
    spelt = {"upper": str(theirs.id).upper(), "hex": theirs.id.hex}
    text = spelt.get(spelling) or spelling.format(theirs.id)
    assert client.get(f"/admin/users/{text}").status_code == 404
    assert len(audit_rows(EVENT)) == 2


def test_k5_what_is_nowhere_or_ones_own_is_no_attempt(client, admin, make_user, audit_rows):
    client.get(f"/admin/users/{NOWHERE}")
    client.get("/admin/users/nonsense")
    ann = make_user("ann")
    client.get(f"/admin/audit/logs/{ann.id}")
    assert not audit_rows(EVENT)


def test_k5_strangers_are_not_looked_up(client, theirs, audit_rows):
    assert client.get(f"/admin/users/{theirs.id}").status_code == 303
    assert client.get(f"/auth/invitation/{theirs.id}").status_code in {404, 303}
    assert not audit_rows(EVENT)


def test_k5_every_table_that_has_tenants_is_searched(app, tenant, other_tenant):
    text = str(services_breaches._statement(len(Base.metadata.tables)))
    for name, table in Base.metadata.tables.items():
        if "tenant_id" in table.c:
            assert f"FROM {name} \n" in text or f"FROM {name}\n" in text, name
    with tenant_scope(other_tenant), transaction():
        row = IAMOrganization(name="Theirs", type="client", created_at=clock.now())
        session().add(row)
        session().flush()
        row_id = row.id
    assert services_breaches._aimed_at([row_id], tenant) == {other_tenant: ("organization", row_id)}
    assert services_breaches._aimed_at([row_id], other_tenant) == {}


def test_k5_a_request_names_at_most_twenty_ids() -> None:
    ids = [uuid4() for _ in range(50)]
    assert services_breaches.ids_in([str(item) for item in ids]) == ids[:20]
    assert services_breaches.ids_in([str(ids[0])] * 40) == ids[:1]
    assert services_breaches.ids_in(["x" * 9000, "", "0" * 31]) == []


def test_k5_asking_without_end_is_itself_told_once(app, admin, theirs, tenant, audit_rows):
    """Whoever spends the lookups on ids that are nowhere does not become invisible by it."""
    actor = Actor("user", tenant, user_id=admin.id)
    with tenant_scope(tenant):
        for _ in range(63):
            services_breaches.report([NOWHERE], endpoint="x", method="GET", actor=actor)
        services_breaches.report([theirs.id], endpoint="x", method="GET", actor=actor)
    assert [row.details["reason"] for row in audit_rows(EVENT)] == ["many ids"]
