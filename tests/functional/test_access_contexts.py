"""Access contexts: a super admin in another tenant, and what both sides learn of it (K5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event as sa_event
from sqlalchemy import select, update

from app.auth.access import services_access_ends
from app.auth.accounts.admin_pages import section
from app.auth.models import IAMAccessContext, IAMAuthSession, IAMTenant, IAMUserAccount
from app.auth.sessions import services_sessions
from app.auth.settings import AuthSettings
from app.authz import services_rbac
from app.core import clock
from app.core.actor import system_actor
from app.core.db import session, transaction
from app.core.scoping import tenant_scope, unscoped
from tests.conftest import Someone, csrf_of, post
from tests.support.settings import changed

HERE = ("127.0.0.0/8", "::1/128")
REASON = "Incident 4711: sign-ins fail"


@pytest.fixture(autouse=True)
def _networks(app: Any) -> Iterator[None]:
    with changed(app, AuthSettings, IAM_SUPER_ADMIN_NETWORKS=HERE):
        yield


@pytest.fixture
def root(client: Any, make_user: Any, sign_in: Any) -> Someone:
    """Return a super admin of the platform who is signed in with a second factor."""
    person: Someone = make_user(
        "root", roles=["super_admin"], actor_type="super_admin", mfa="totp", display_name="Root"
    )
    sign_in(client, person)
    return person


def door(tenant_id: UUID) -> str:
    return f"/admin/tenants/{tenant_id}/access"


def enter(client: Any, tenant_id: UUID, minutes: str = "15", reason: str = REASON) -> Any:
    return post(client, door(tenant_id), {"reason": reason, "minutes": minutes})


def leave(client: Any) -> Any:
    return post(client, "/auth/access/leave", page="/admin")


def context_of(tenant_id: UUID) -> Any:
    with unscoped("tests look at every tenant"):
        session().rollback()
        return session().scalar(
            select(IAMAccessContext)
            .where(IAMAccessContext.target_tenant_id == tenant_id)
            .order_by(IAMAccessContext.id.desc())
            .execution_options(populate_existing=True)
        )


def change(model: Any, tenant_id: UUID, row_id: UUID, **values: Any) -> None:
    with tenant_scope(tenant_id), transaction():
        session().execute(update(model).where(model.id == row_id).values(**values))
    session().rollback()


# ---------------------------------------------------------------- entering


def test_k5_a_super_admin_sees_a_tenant_only_inside_a_context(
    client, root, make_user, tenant, other_tenant
):
    theirs = make_user("olga", tenant_id=other_tenant)
    assert client.get(f"/admin/users/{theirs.id}").status_code == 404
    assert enter(client, other_tenant).headers["Location"].endswith("/admin")
    assert client.get(f"/admin/users/{theirs.id}").status_code == 200
    assert "olga" in client.get("/admin/users").text
    assert "root@example.com" not in client.get("/admin/users").text
    assert client.get(f"/admin/users/{root.id}").status_code == 404
    assert leave(client).status_code == 303
    assert client.get(f"/admin/users/{theirs.id}").status_code == 404


def test_k5_every_page_says_where_one_is_and_how_long(client, root, other_tenant):
    assert "Minutes left" not in client.get("/admin").text
    enter(client, other_tenant)
    for page in ("/admin", "/admin/users", "/account", "/account/security"):
        text = client.get(page).text
        assert "You are in Other" in text, page
        assert "Minutes left: 15" in text
        assert 'action="/auth/access/leave"' in text
    leave(client)
    assert "Minutes left" not in client.get("/account").text


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("iam_admin.user_suspend", "Users"),
        ("iam_organizations.organization_new", "Organizations"),
        ("iam_admin.session_end", "Sessions"),
        ("iam_admin.stay", "Platform access"),
        ("iam_admin.access_enter", "Tenants"),
        ("iam_audit.proof", "Audit trail"),
        ("shop.orders", "Administration"),
    ],
)
def test_n2_a_page_is_told_by_its_section(app, endpoint, words):
    with app.test_request_context():
        assert section(endpoint) == words


def test_n2_the_page_that_enters_belongs_to_the_tenants(client, root, other_tenant):
    page = client.get(door(other_tenant)).text
    assert re.findall(r'aria-current="page">([^<]+)<', page) == ["Tenants"]


def test_k5_account_pages_stay_the_persons_own(client, root, other_tenant):
    enter(client, other_tenant)
    page = client.get("/account").text
    assert "Root" in page
    assert post(client, "/account", {"display_name": "Chief"}).status_code == 303
    with unscoped("tests look at every tenant"):
        assert session().get(IAMUserAccount, root.id).display_name == "Chief"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"reason": "short", "minutes": "15"}, "reason"),
        ({"reason": " a        b ", "minutes": "15"}, "reason"),
        ({"reason": "", "minutes": "15"}, "reason"),
        ({"reason": "\u200b" * 12, "minutes": "15"}, "reason"),
        ({"reason": "." * 12, "minutes": "15"}, "reason"),
        ({"reason": REASON, "minutes": "600"}, "minutes"),
        ({"reason": REASON, "minutes": "0"}, "minutes"),
        ({"reason": REASON, "minutes": "-5"}, "minutes"),
    ],
)
def test_k5_a_reason_and_minutes_are_asked_for(client, root, other_tenant, data, field):
    answer = post(client, door(other_tenant), data)
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.text
    assert context_of(other_tenant) is None


def test_k5_entering_takes_a_fresh_second_factor(client, root, other_tenant):
    with clock.travel(timedelta(minutes=20)):
        answer = client.get(door(other_tenant))
        assert answer.status_code == 303
        assert "/auth/step-up" in answer.headers["Location"]


def test_k5_entering_takes_an_address_of_the_allow_list(
    app, client, root, other_tenant, audit_rows
):
    for networks in ((), ("192.0.2.0/24",)):
        with changed(app, AuthSettings, IAM_SUPER_ADMIN_NETWORKS=networks):
            token = csrf_of(client.get(door(other_tenant)).text) if not networks else ""
            if networks:  # outside the list even the session ends
                assert client.get("/admin").status_code == 303
                continue
            data = {"reason": REASON, "minutes": "15", "csrf_token": token}
            answer = client.post(door(other_tenant), data=data)
            assert answer.status_code == 403
            assert "IAM_SUPER_ADMIN_NETWORKS" in answer.text
    assert context_of(other_tenant) is None
    assert [row.details["reason"] for row in audit_rows("IP_REFUSED")] == ["access", "session"]


def test_k5_only_the_platforms_super_admins_enter(app, make_user, sign_in, tenant, other_tenant):
    """Its tenant administrators hold the permission, too, but not in scope global."""
    answers = {}
    for name, role, home, target in (
        ("boss", "tenant_admin", tenant, other_tenant),
        ("auditor", "auditor", tenant, other_tenant),
        ("local", "super_admin", other_tenant, tenant),
    ):
        client = app.test_client()
        person = make_user(name, roles=[role], mfa="totp", tenant_id=home)
        _enter_session(client, person, home)
        answers[name] = client.get(door(target)).status_code
    assert answers == {"boss": 403, "auditor": 403, "local": 404}


def _enter_session(client: Any, person: Someone, home: UUID) -> None:
    from app.auth.accounts.services_directory import get_user
    from app.auth.sessions import services_sessions

    with tenant_scope(home), transaction():
        signed = services_sessions.open_session(
            get_user(person.id), state="active", stage="done", amr=("pwd", "otp"), acr="aal2",
            device_id=None, remember=False, next_url=None, actor=system_actor(home, "tests"),
        )  # fmt: skip
    session().rollback()
    client.set_cookie("iam_session", signed.token)


def test_at_490_neither_the_platform_nor_an_unknown_tenant_is_entered(
    client, root, tenant, other_tenant
):
    assert client.get(door(tenant)).status_code == 404
    assert client.get("/admin/tenants/01940000-0000-7000-8000-000000000001/access").status_code == (
        404
    )
    assert client.get("/admin/tenants/nonsense/access").status_code == 404
    change(IAMTenant, other_tenant, other_tenant, status="suspended")
    assert client.get(door(other_tenant)).status_code == 404


# ---------------------------------------------------------------- rights inside


def test_at_490_rights_inside_are_those_of_a_tenants_administrator(
    client, root, make_user, tenant, other_tenant
):
    enter(client, other_tenant)
    assert client.get(door(other_tenant)).status_code == 403  # no context out of a context
    local = make_user("local", roles=["super_admin"], tenant_id=other_tenant)
    answer = post(
        client, f"/admin/users/{local.id}/suspend", {"reason": "x"}, page="/admin/users/new"
    )
    assert answer.status_code == 403
    with unscoped("tests look at every tenant"):
        assert session().get(IAMUserAccount, local.id).status == "active"


def test_k5_a_tenants_only_administrator_is_helped_from_inside(
    client, root, make_user, other_tenant, audit_rows
):
    """An administrator holds rights that nobody uses inside; these shield nobody."""
    boss = make_user("boss", roles=["tenant_admin"], mfa="totp", tenant_id=other_tenant)
    enter(client, other_tenant)
    page = f"/admin/users/{boss.id}"
    assert f"{page}/reset-factors" in client.get(page).text
    reason = {"reason": "lost the phone, called in"}
    assert post(client, f"{page}/reset-factors", reason).status_code == 303
    assert audit_rows("USER_FACTORS_RESET")[-1].resource_id == boss.id
    assert 'value="tenant_admin"' in client.get("/admin/invitations/new").text
    form = {"email": "deputy@example.com", "name": "", "language": "", "parent_id": ""}
    answer = post(client, "/admin/invitations/new", {**form, "roles": ["tenant_admin"]})
    assert answer.status_code == 303
    page = f"/admin/users/{make_user('olga', tenant_id=other_tenant).id}"
    offered = re.search(r'value="([^"]+)"[^>]*>\s*tenant_admin', client.get(page).text)
    assert offered
    given = {"role": offered[1], "scope": "tenant", "organization_id": "", "expires_at": ""}
    assert post(client, f"{page}/roles", given, page=page).status_code == 303
    assert audit_rows("ROLE_ASSIGNED")[-1].details["role"] == "tenant_admin"


def test_at_490_what_is_never_used_inside_stays_unused(client, root, make_user, other_tenant):
    enter(client, other_tenant)
    assert client.get(f"/admin/tenants/{other_tenant}/new").status_code == 403
    assert client.get(f"/admin/tenants/{other_tenant}/edit").status_code == 403
    local = make_user("local", roles=["super_admin"], mfa="totp", tenant_id=other_tenant)
    page = f"/admin/users/{local.id}"
    answer = post(client, f"{page}/reset-factors", {"reason": "x"}, page="/admin/users/new")
    assert answer.status_code == 403
    wide = make_user("wide", tenant_id=other_tenant)
    actor = system_actor(other_tenant, "tests")
    with tenant_scope(other_tenant), transaction():
        role = services_rbac.create_role(
            "maker", permissions={"tenant:create": "global"}, actor_grants=None, actor=actor
        )
        services_rbac.assign_role(
            session().get(IAMUserAccount, wide.id), role, scope="global",
            actor_grants=None, actor=actor,
        )  # fmt: skip
    session().rollback()
    answer = post(
        client, f"/admin/users/{wide.id}/reset-factors", {"reason": "x"}, page="/admin/users/new"
    )
    assert answer.status_code == 403


def test_at_490_what_the_person_lacks_at_home_they_lack_inside(
    client, root, tenant, other_tenant, make_user
):
    """Rights inside are cut by one's own, as stored now: the role taken away ends it."""
    enter(client, other_tenant)
    make_user("second", roles=["super_admin"], actor_type="super_admin", mfa="totp")
    with tenant_scope(tenant), transaction():
        user = session().scalar(select(IAMUserAccount).where(IAMUserAccount.id == root.id))
        role = services_rbac.find_role("super_admin")
        services_rbac.revoke_role(
            user, role, actor_grants=None, actor=system_actor(tenant, "tests")
        )
    session().rollback()
    theirs = make_user("olga", tenant_id=other_tenant)
    assert client.get(f"/admin/users/{theirs.id}").status_code in {303, 403}
    assert context_of(other_tenant).end_reason == "refused"


# ---------------------------------------------------------------- the two rows


def both(rows: list[Any], tenant: UUID, other: UUID) -> list[tuple[str, str]]:
    named = {tenant: "home", other: "there"}
    return [(named[row.tenant_id], row.details.get("endpoint", "")) for row in rows]


def test_k5_each_request_is_recorded_in_both_tenants_before_it_runs(
    client, root, tenant, other_tenant, audit_rows, make_user
):
    enter(client, other_tenant)
    before = len(audit_rows("SUPER_ADMIN_ACCESS"))
    assert before == 2
    client.get("/admin/users")
    missing = client.get("/admin/users/01940000-0000-7000-8000-000000000001")
    assert missing.status_code == 404
    rows = audit_rows("SUPER_ADMIN_ACCESS")[before:]
    assert sorted(both(rows, tenant, other_tenant)) == [
        ("home", "iam_admin.user"), ("home", "iam_admin.users"),
        ("there", "iam_admin.user"), ("there", "iam_admin.users"),
    ]  # fmt: skip
    assert {row.actor_id for row in rows} == {root.id}
    assert {(row.tenant_id, row.actor_type) for row in rows} == {
        (tenant, "user"),
        (other_tenant, "platform"),
    }
    assert all(row.resource_id == context_of(other_tenant).id for row in rows)
    client.get("/account")
    assert len(audit_rows("SUPER_ADMIN_ACCESS")) == before + 4


def test_k5_what_is_changed_inside_is_the_tenants_own_event(client, root, other_tenant, audit_rows):
    enter(client, other_tenant)
    data = {"username": "newcomer", "email": "new@example.com", "actor_type": "end_user"}
    assert post(client, "/admin/users/new", data).status_code == 303
    created = audit_rows("USER_CREATED")[-1]
    assert (created.tenant_id, created.actor_id) == (other_tenant, root.id)
    assert created.actor_type == "platform"


@pytest.mark.parametrize("which", ["home", "there"])
def test_at_382_nothing_is_done_that_cannot_be_recorded(
    app, client, root, tenant, other_tenant, make_user, which
):
    """Either row missing: the request is refused, and nothing of the tenant is answered."""
    theirs = make_user("olga", tenant_id=other_tenant)
    enter(client, other_tenant)
    blocked = tenant if which == "home" else other_tenant
    engine = app.extensions["sqlalchemy"].engine

    def refuse(_conn, _cursor, statement, parameters, _context, _many):
        if "INSERT INTO iam_auth_log" in statement and blocked.bytes in _flat(parameters):
            raise RuntimeError("the trail is away")

    sa_event.listen(engine, "before_cursor_execute", refuse)
    try:
        answer = client.get(f"/admin/users/{theirs.id}")
        assert answer.status_code == 500
        assert "olga" not in answer.text
    finally:
        sa_event.remove(engine, "before_cursor_execute", refuse)
    session().rollback()
    assert client.get(f"/admin/users/{theirs.id}").status_code == 200


def _flat(parameters: Any) -> set[Any]:
    values = parameters.values() if isinstance(parameters, dict) else parameters
    return {bytes(item) for item in values if isinstance(item, bytes | bytearray | memoryview)}


# ---------------------------------------------------------------- the end


def test_k5_a_context_ends_by_itself(client, root, other_tenant, make_user, audit_rows):
    theirs = make_user("olga", tenant_id=other_tenant)
    enter(client, other_tenant, minutes="5")
    token = csrf_of(client.get("/admin/users/new").text)
    with clock.travel(timedelta(minutes=5, seconds=1)):
        answer = client.post(
            "/admin/users/new",
            data={"username": "stray", "actor_type": "end_user", "csrf_token": token},
        )
        assert answer.status_code == 403
        assert "Nothing was changed" in answer.text
        assert client.get(f"/admin/users/{theirs.id}").status_code == 404
    row = context_of(other_tenant)
    assert (row.end_reason, row.ended_at) == ("expired", row.ends_at)
    assert {item.tenant_id for item in audit_rows("ACCESS_CONTEXT_ENDED")} == {
        row.tenant_id,
        other_tenant,
    }
    with unscoped("tests look at every tenant"):
        names = set(session().scalars(select(IAMUserAccount.username)))
    assert "stray" not in names


def test_k5_a_page_asked_for_too_late_leads_home(client, root, other_tenant):
    enter(client, other_tenant, minutes="5")
    with clock.travel(timedelta(minutes=6)):
        answer = client.get("/admin/users")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/admin")
        page = client.get("/admin").text
        assert "has ended" in page
        assert "Minutes left" not in page


def test_k5_a_context_never_outlives_the_session(client, root, other_tenant):
    with clock.travel(timedelta(minutes=9)):
        enter(client, other_tenant, minutes="60")
    row = context_of(other_tenant)
    with unscoped("tests look at every tenant"):
        held = session().get(IAMAuthSession, row.session_id)
    assert row.ends_at == held.expires_at


def test_k5_signing_out_ends_the_context(client, root, other_tenant, audit_rows):
    enter(client, other_tenant)
    post(client, "/auth/logout", page="/account")
    assert context_of(other_tenant).end_reason == "signed_out"
    assert len(audit_rows("ACCESS_CONTEXT_ENDED")) == 2


def test_k5_sessions_that_end_together_end_their_contexts(
    app, client, root, tenant, other_tenant, audit_rows
):
    enter(client, other_tenant)
    inside = context_of(other_tenant)
    actor = system_actor(tenant, "tests")
    with tenant_scope(tenant), transaction():
        services_sessions.revoke_all(root.id, "x", except_id=inside.session_id, actor=actor)
    assert context_of(other_tenant).ended_at is None
    pending = {"username": root.username, "password": root.password}
    assert post(app.test_client(), "/auth/login", pending).status_code == 303
    with tenant_scope(tenant), transaction():
        services_sessions.revoke_all(root.id, "x", except_id=inside.session_id, actor=actor)
    assert context_of(other_tenant).ended_at is None
    with tenant_scope(tenant), transaction():
        services_sessions.revoke_all(root.id, "x", actor=actor)
    assert context_of(other_tenant).end_reason == "signed_out"
    assert {row.tenant_id for row in audit_rows("ACCESS_CONTEXT_ENDED")} == {tenant, other_tenant}


def test_k5_the_contexts_of_a_device_end_with_its_sessions(client, root, tenant, other_tenant):
    enter(client, other_tenant)
    row = context_of(other_tenant)
    with tenant_scope(tenant), transaction():
        held = session().get(IAMAuthSession, row.session_id)
        services_sessions.revoke_device(held.device_id, actor=system_actor(tenant, "tests"))
    assert context_of(other_tenant).end_reason == "signed_out"


def test_k5_the_worker_ends_what_nobody_came_back_to(client, root, other_tenant):
    enter(client, other_tenant, minutes="5")
    assert services_access_ends.end_expired() == 0
    with clock.travel(timedelta(minutes=6)):
        assert services_access_ends.end_expired() == 1
        assert services_access_ends.end_expired() == 0
    assert context_of(other_tenant).end_reason == "expired"


def test_k5_a_suspended_tenant_or_a_foreign_address_ends_it(app, client, root, other_tenant):
    enter(client, other_tenant)
    change(IAMTenant, other_tenant, other_tenant, status="suspended")
    assert client.get("/admin/users").status_code == 303
    assert context_of(other_tenant).end_reason == "refused"


# ---------------------------------------------------------------- tokens and tabs


def test_at_114_the_session_gets_a_new_id_on_entering_and_leaving(app, client, root, other_tenant):
    stolen = client.get_cookie("iam_session").value
    enter(client, other_tenant)
    inside = client.get_cookie("iam_session").value
    leave(client)
    after = client.get_cookie("iam_session").value
    assert len({stolen, inside, after}) == 3
    for old in (stolen, inside):
        thief = app.test_client()
        thief.set_cookie("iam_session", old)
        assert thief.get("/admin").status_code == 303


def test_k5_a_form_of_another_tab_does_not_act_in_the_wrong_tenant(
    client, root, other_tenant, audit_rows
):
    at_home = csrf_of(client.get("/admin/users/new").text)
    enter(client, other_tenant)
    inside = csrf_of(client.get("/admin/users/new").text)
    data = {"username": "stray", "email": "stray@example.com", "actor_type": "end_user"}
    stale = client.post("/admin/users/new", data={**data, "csrf_token": at_home})
    assert stale.status_code == 403
    leave(client)
    stale = client.post("/admin/users/new", data={**data, "csrf_token": inside})
    assert stale.status_code == 403
    assert not [row for row in audit_rows("USER_CREATED") if row.details.get("username")]
    with unscoped("tests look at every tenant"):
        assert "stray" not in set(session().scalars(select(IAMUserAccount.username)))


def test_k5_one_context_at_a_time(client, root, tenant, other_tenant):
    form = client.get(door(other_tenant)).text
    enter(client, other_tenant)
    token = csrf_of(client.get("/account").text)
    data = {"reason": REASON, "minutes": "15", "csrf_token": token}
    assert client.post(door(other_tenant), data=data).status_code == 403
    assert form
    with unscoped("tests look at every tenant"):
        assert len(list(session().scalars(select(IAMAccessContext)))) == 1


def test_k5_another_persons_pointer_opens_nothing(
    app, client, root, make_user, tenant, other_tenant
):
    """A session that points at a context of somebody else, by whatever slip, is let in nowhere."""
    enter(client, other_tenant)
    row = context_of(other_tenant)
    second = make_user("second", roles=["super_admin"], actor_type="super_admin", mfa="totp")
    other = app.test_client()
    _enter_session(other, second, tenant)
    with tenant_scope(tenant), transaction():
        session().execute(
            update(IAMAuthSession)
            .where(IAMAuthSession.user_id == second.id)
            .values(access_context_id=row.id)
        )
    session().rollback()
    theirs = make_user("olga", tenant_id=other_tenant)
    assert other.get(f"/admin/users/{theirs.id}").status_code in {303, 404}
    assert client.get(f"/admin/users/{theirs.id}").status_code == 200


def test_k5_activity_in_a_context_keeps_the_session_alive(client, root, tenant, other_tenant):
    """The session is the platform's, also while another tenant is in scope."""
    enter(client, other_tenant, minutes="30")
    with clock.travel(timedelta(minutes=4)):
        client.get("/admin/users")
        row = context_of(other_tenant)
        with unscoped("tests look at every tenant"):
            held = session().get(IAMAuthSession, row.session_id, populate_existing=True)
        assert clock.now() - held.last_activity_at < timedelta(seconds=5)


# ---------------------------------------------------------------- what the tenant sees


def test_k5_the_tenant_sees_who_when_why_and_what(
    app, client, root, make_user, tenant, other_tenant
):
    enter(client, other_tenant)
    client.get("/admin/users")
    owner = make_user("owner", roles=["tenant_admin"], mfa="totp", tenant_id=other_tenant)
    theirs = app.test_client()
    _enter_session(theirs, owner, other_tenant)
    page = theirs.get("/admin/access").text
    assert "Root" in page
    assert REASON in page
    assert "There now" in page
    visit = theirs.get(f"/admin/access/{context_of(other_tenant).id}").text
    assert '<td data-label="Where" >Users</td>' in " ".join(visit.split())
    assert "iam_admin." not in visit
    assert "Opened a page" in visit
    assert REASON in visit
    trail = theirs.get("/admin/audit/logs").text
    assert "Administrator of the platform" in trail
    leave(client)
    assert "There now" not in theirs.get("/admin/access").text


def test_k5_a_third_tenant_sees_nothing_of_it(
    app, client, root, make_user, tenant, other_tenant, actor
):
    from app.authz.services_rbac import seed_catalogue
    from app.tenancy import services_tenants

    with transaction():
        third = services_tenants.create_tenant("third", "Third", actor=actor).id
    with tenant_scope(third), transaction():
        seed_catalogue(third, actor=system_actor(third, "tests"))
    session().rollback()
    enter(client, other_tenant)
    owner = make_user("owner", roles=["tenant_admin"], mfa="totp", tenant_id=third)
    theirs = app.test_client()
    _enter_session(theirs, owner, third)
    assert "Nobody was here" in theirs.get("/admin/access").text
    assert theirs.get(f"/admin/access/{context_of(other_tenant).id}").status_code == 404


def test_l3_a_request_in_a_context_costs_one_more_query_to_look_it_up(
    app, client, root, other_tenant
):
    queries: list[str] = []
    engine = app.extensions["sqlalchemy"].engine

    def watch(_conn, _cursor, statement, *_rest):
        if statement.lstrip().startswith("SELECT"):
            queries.append(statement)

    enter(client, other_tenant)
    client.get("/admin/access")
    sa_event.listen(engine, "before_cursor_execute", watch)
    try:
        client.get("/account/sessions")
    finally:
        sa_event.remove(engine, "before_cursor_execute", watch)
    assert sum("iam_access_context" in text and "JOIN iam_tenant" in text for text in queries) == 1
