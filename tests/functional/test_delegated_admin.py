"""Administrators of organizations: they reach their subtree and nothing beyond it (K4, L2)."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event, select

from app.audit.models import IAMAuthLog
from app.auth.accounts import services_accounts
from app.auth.invitations import services_invitations
from app.auth.models import (
    IAMAuthSession,
    IAMInvitation,
    IAMRecoveryRequest,
    IAMUserAccount,
    IAMUserRole,
)
from app.auth.recovery import services_recovery_decisions
from app.auth.sessions import services_session_admin
from app.authz import services_rbac
from app.authz.errors import RightsExceeded
from app.core import clock
from app.core.actor import Actor, system_actor
from app.core.db import session, transaction
from app.core.errors import InvalidInput, NotFound
from app.core.scoping import tenant_scope
from tests.conftest import _enrol_totp, csrf_of, post
from tests.support.mailbox import link_to
from tests.support.realm import INSIDE_NORTH, OUTSIDE_NORTH

REASON = {"reason": "Asked for on the phone"}
MORE = ("recovery:read", "recovery:approve", "audit:export", "organization:update",
        "organization:create", "user:read")  # fmt: skip


@pytest.fixture
def cleo(enter):
    """Return the browser of the administrator of North."""
    return enter("cleo")


def give_more(realm):
    """Give cleo every right by organization that a page of the administration asks for."""
    with tenant_scope(realm.tenant), transaction():
        services_rbac.create_role(
            "north_more",
            permissions=dict.fromkeys(MORE, "tenant"),
            actor_grants=None,
            actor=system_actor(realm.tenant, "tests"),
        )
    realm.give("cleo", "north_more", over="North")


def ask_for_recovery(realm, name):
    """Open a request for the recovery of somebody's account, and return its id."""
    with tenant_scope(realm.tenant), transaction():
        actor = system_actor(realm.tenant, "tests")
        row = services_recovery_decisions.open_for(
            realm.people[name].id, reason="lost it all", actor_grants=None, actor=actor
        )
        return row.id


def invite(realm, place):
    """Invite somebody into an organization, on behalf of tina."""
    with tenant_scope(realm.tenant), transaction():
        services_invitations.invite(
            f"guest.of.{place.lower()}@example.com",
            parent_id=realm.places[place],
            actor_grants=None,
            actor=system_actor(realm.tenant, "tests"),
        )


def guest_of(realm):
    """Return the invitations to one address as they are stored: by place, whether they wait."""
    with tenant_scope(realm.tenant):
        session().rollback()
        rows = session().scalars(select(IAMInvitation))
        return {row.parent_id: row.revoked_at is None for row in rows}


def marks(realm, names=OUTSIDE_NORTH):
    """Yield what may stand nowhere on a page of cleo's: names, addresses and ids."""
    for name in names:
        person = realm.people[name]
        yield from (f"{name.title()} Person", person.email, str(person.id), person.id.hex[-8:])
    yield "guest.of.beta@example.com"
    for place in ("Umbrella", "Beta"):
        yield from (place, str(realm.places[place]))


def leaks(realm, page):
    """Return what of the outside stands on a page."""
    return [mark for mark in marks(realm) if mark in page]


# ------------------------------------------------------------------------ everything she reaches


def test_k4_no_page_of_a_delegated_administrator_tells_of_anybody_outside(
    app: Flask, realm, enter
) -> None:
    """Every page without an id: lists, counts, choices of forms."""
    give_more(realm)
    for name in ("tina", "pia", "bea", "nora", "bob", "olga"):
        enter(name)
    for name in ("bob", "nora"):
        ask_for_recovery(realm, name)
    for place in ("North", "Beta"):
        invite(realm, place)
    cleo = enter("cleo")
    seen = {}
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/admin") and "GET" in rule.methods and not rule.arguments:
            seen[rule.endpoint] = rule.rule
    found = {}
    for endpoint, path in seen.items():
        answer = cleo.get(f"{path}?format=ndjson" if endpoint.endswith("export") else path)
        assert answer.status_code in {200, 303, 400, 403}, (endpoint, answer.status_code)
        assert not leaks(realm, answer.text), (endpoint, leaks(realm, answer.text))
        found[endpoint] = answer.status_code
    opened = {endpoint for endpoint, code in found.items() if code == 200}
    assert opened >= {
        "iam_admin.dashboard", "iam_admin.users", "iam_admin.user_new", "iam_admin.sessions",
        "iam_admin.recovery", "iam_roles.roles", "iam_audit.logs", "iam_audit.export",
        "iam_organizations.organizations", "iam_organizations.organization_new",
    }  # fmt: skip
    for closed in ("iam_admin.connections", "iam_admin.domains_list", "iam_roles.role_new"):
        assert found[closed] == 403


def test_at_366_every_id_outside_the_subtree_is_a_404(app: Flask, realm, enter) -> None:
    """Each id of each route, by each method, for what lies beside and above her."""
    give_more(realm)
    enter("bob")
    strangers = {
        "user_id": [realm.people[name].id for name in OUTSIDE_NORTH],
        "organization_id": [realm.places["Umbrella"], realm.places["Beta"]],
        "request_id": [ask_for_recovery(realm, "bob")],
    }
    with tenant_scope(realm.tenant):
        bob = realm.people["bob"].id
        strangers["session_id"] = list(
            session().scalars(select(IAMAuthSession.id).where(IAMAuthSession.user_id == bob))
        )
        strangers["event_id"] = list(
            session().scalars(select(IAMAuthLog.id).where(IAMAuthLog.subject_id == bob))
        )
        viewer = services_rbac.find_role("viewer").id
    cleo = enter("cleo")
    token = csrf_of(cleo.get("/account").text)
    asked = 0
    for rule in app.url_map.iter_rules():
        wanted = rule.arguments & set(strangers)
        if not wanted or not rule.rule.startswith("/admin"):
            continue
        (name,) = wanted
        for stranger in strangers[name]:
            values = {key: str(viewer) for key in rule.arguments} | {name: str(stranger)}
            path = app.url_map.bind("localhost").build(rule.endpoint, values)
            for method in sorted(rule.methods & {"GET", "POST"}):
                form = {"csrf_token": token, **REASON, "decision": "approve", "role": str(viewer)}
                answer = cleo.open(path, method=method, data=form if method == "POST" else None)
                assert answer.status_code == 404, (method, path, answer.status_code)
                assert not leaks(realm, answer.text.replace(str(stranger), ""))
                asked += 1
    assert asked > 100
    assert realm.account("bob").status == "active"
    with tenant_scope(realm.tenant):
        waiting = session().scalar(select(IAMRecoveryRequest.status))
        assert waiting == "approval"
        assert session().scalar(
            select(IAMAuthSession.state).where(IAMAuthSession.user_id == bob)
        ) == "active"  # fmt: skip


def test_k4_her_own_people_are_all_there(cleo, realm) -> None:
    """The other half: what is hers is not hidden from her."""
    page = cleo.get("/admin/users").text
    for name in INSIDE_NORTH:
        assert f"{name.title()} Person" in page
        assert cleo.get(f"/admin/users/{realm.people[name].id}").status_code == 200
    page = cleo.get(f"/admin/users?organization={realm.places['Crew']}").text
    assert "Tom Person" in page
    assert "Nora Person" not in page
    page = cleo.get(f"/admin/users?organization={realm.places['Beta']}").text
    assert "Nobody meets this filter" in page


def test_k4_figures_count_her_people_only(app, cleo, realm, enter) -> None:
    enter("nora")
    enter("bob")
    page = cleo.get("/admin").text
    tiles = re.findall(r"iam-stat-value[^>]*>\s*(\d+)", page)
    assert tiles[0] == "4"  # people
    assert tiles[1] == "2"  # sessions: hers and nora's
    assert tiles[2] == "2"  # sign-ins today
    assert "1 of 4 people" in page
    whole = enter("tina").get("/admin").text
    assert re.findall(r"iam-stat-value[^>]*>\s*(\d+)", whole)[0] == "10"
    roles = cleo.get("/admin/roles").text
    row = re.search(r"client_admin</a>.*?</tr>", roles, re.S)[0]
    assert re.search(r'class="iam-num">(\d+)<', row)[1] == "1"


# ------------------------------------------------------------------------------------- the trail


def test_k4_the_trail_shows_what_concerns_her_people(app, realm, enter, cleo) -> None:
    """Who did it from where stays hidden where it was somebody above her."""
    tina = enter("tina")
    answer = post(tina, f"/admin/users/{realm.people['nick'].id}/suspend", REASON)
    assert answer.status_code == 303
    post(tina, f"/admin/users/{realm.people['bob'].id}/suspend", REASON)
    page = cleo.get("/admin/audit/logs?action=USER_SUSPENDED").text
    events = re.findall(r"/admin/audit/logs/([0-9a-f-]{36})", page)
    assert len(events) == 1
    assert "Somebody outside your organizations" in page
    assert "Nick Person" in page
    one = cleo.get(f"/admin/audit/logs/{events[0]}").text
    assert "Somebody outside your organizations" in one
    assert not leaks(realm, one)
    assert "127.0.0.1" not in one
    assert "Asked for on the phone" in one
    user = cleo.get(f"/admin/users/{realm.people['nick'].id}").text
    assert "Somebody outside your organizations" in user
    assert not leaks(realm, user)


def test_k4_a_filter_does_not_tell_who_it_was_after_all(realm, enter, cleo) -> None:
    tina = enter("tina")
    post(tina, f"/admin/users/{realm.people['nick'].id}/suspend", REASON)
    by_name = cleo.get("/admin/audit/logs?actor=tina")
    assert by_name.status_code == 422
    assert by_name.text.count("Nobody here has this name or id")
    unknown = cleo.get("/admin/audit/logs?actor=nobody-at-all")
    assert unknown.status_code == 422
    tina_id = realm.people["tina"].id
    for query in (f"actor={tina_id}", f"q={tina_id}", "ip=127.0.0.1&action=USER_SUSPENDED"):
        page = cleo.get(f"/admin/audit/logs?{query}").text
        assert "No entry meets this filter" in page, query
    assert "No entry" not in cleo.get("/admin/audit/logs?actor=cleo").text


def test_k4_an_export_holds_her_people_only(realm, enter) -> None:
    give_more(realm)
    enter("bob")
    enter("nora")
    tina = enter("tina")
    post(tina, f"/admin/users/{realm.people['nick'].id}/suspend", REASON)
    cleo = enter("cleo")
    for kind in ("csv", "json", "ndjson"):
        answer = cleo.get(f"/admin/audit/logs/export?format={kind}")
        assert answer.status_code == 200
        assert not leaks(realm, answer.text), kind
    rows = json.loads(cleo.get("/admin/audit/logs/export?format=json").text)
    inside = {str(realm.people[name].id) for name in INSIDE_NORTH}
    assert {row["subject_id"] for row in rows} <= inside
    veiled = [row for row in rows if row["action"] == "USER_SUSPENDED"]
    assert veiled
    assert {row["ip"] for row in veiled} == {None}
    listed = list(csv.DictReader(io.StringIO(cleo.get("/admin/audit/logs/export?format=csv").text)))
    assert {row["subject_id"] for row in listed} <= inside


# ---------------------------------------------------------------------------------- what she does


def test_k4_she_administers_her_people(cleo, realm) -> None:
    nick = realm.people["nick"].id
    assert post(cleo, f"/admin/users/{nick}/suspend", REASON).status_code == 303
    assert realm.account("nick").status == "suspended"
    assert post(cleo, f"/admin/users/{nick}/reactivate", REASON).status_code == 303
    moved = {"username": "nick", "email": "nick@example.com", "actor_type": "end_user",
             "parent_id": str(realm.places["Crew"])}  # fmt: skip
    assert post(cleo, f"/admin/users/{nick}/edit", moved).status_code == 303
    assert realm.account("nick").parent_id == realm.places["Crew"]


def test_at_369_nobody_is_moved_or_made_outside_the_subtree(cleo, realm) -> None:
    nick = realm.people["nick"].id
    values = {"username": "nick", "email": "nick@example.com", "actor_type": "end_user"}
    page = cleo.get(f"/admin/users/{nick}/edit").text
    assert str(realm.places["Beta"]) not in page
    for place in (str(realm.places["Beta"]), str(realm.places["Umbrella"]), ""):
        answer = post(cleo, f"/admin/users/{nick}/edit", values | {"parent_id": place})
        assert answer.status_code in {403, 422}, place
        new = {"username": "new", "email": "new@example.com", "actor_type": "end_user",
               "parent_id": place}  # fmt: skip
        assert post(cleo, "/admin/users/new", new).status_code in {403, 422}, place
    assert realm.account("nick").parent_id == realm.places["North"]
    new = {"username": "new", "email": "new@example.com", "actor_type": "end_user",
           "parent_id": str(realm.places["Crew"])}  # fmt: skip
    assert post(cleo, "/admin/users/new", new).status_code == 303


@pytest.mark.parametrize("kind", ["tenant_admin", "super_admin", "partner_admin"])
def test_at_375_she_makes_nobody_an_account_of_a_kind_above_hers(cleo, realm, kind) -> None:
    new = {"username": "new", "email": "new@example.com", "actor_type": kind,
           "parent_id": str(realm.places["North"])}  # fmt: skip
    assert post(cleo, "/admin/users/new", new).status_code in {403, 422}
    assert kind not in re.findall(r'<option[^>]*value="(\w+)"', cleo.get("/admin/users/new").text)


def test_k4_a_bulk_act_takes_no_outsider_along(cleo, realm) -> None:
    ids = [str(realm.people[name].id) for name in ("nora", "bob")]
    token = csrf_of(cleo.get("/account").text)
    data = {"action": "suspend", "ids": ids, "csrf_token": token, **REASON}
    assert cleo.post("/admin/users/bulk", data=data).status_code == 404
    assert realm.account("nora").status == "active"
    ids = [str(realm.people[name].id) for name in ("nora", "nick")]
    data = {"action": "suspend", "ids": ids, "csrf_token": token, **REASON}
    assert cleo.post("/admin/users/bulk", data=data).status_code == 303
    assert realm.account("nora").status == "suspended"


# ----------------------------------------------------------------------------------------- roles


def give(browser, realm, username, role, **how):
    """Send the form that gives somebody a role; return the answer."""
    with tenant_scope(realm.tenant):
        found = services_rbac.find_role(role)
        session().rollback()
    url = f"/admin/users/{realm.people[username].id}"
    return post(browser, f"{url}/roles", {"role": str(found.id), **how}, page=url)


def held(realm, username):
    """Return the roles of somebody: name to (scope, organization, end)."""
    with tenant_scope(realm.tenant):
        session().rollback()
        rows = services_rbac.roles_of(realm.account(username))
        return {
            row.role.name: (
                row.assignment.scope,
                row.assignment.organization_id,
                row.assignment.expires_at,
            )
            for row in rows
        }


def test_k4_she_passes_on_what_she_holds_over_her_own(cleo, realm) -> None:
    assert give(cleo, realm, "nora", "client_admin").status_code == 303
    scope, place, _end = held(realm, "nora")["client_admin"]
    assert (scope, place) == ("organization", None)  # nora's own, as nothing was said
    crew = str(realm.places["Crew"])
    answer = give(cleo, realm, "nick", "client_admin", scope="organization", organization_id=crew)
    assert answer.status_code == 303
    assert held(realm, "nick")["client_admin"][:2] == ("organization", realm.places["Crew"])


@pytest.mark.parametrize("place", ["Umbrella", "Beta"])
def test_at_369_a_role_is_not_bound_to_an_organization_outside(cleo, realm, place) -> None:
    outside = str(realm.places[place])
    for role in ("client_admin", "viewer"):
        answer = give(cleo, realm, "nora", role, scope="organization", organization_id=outside)
        assert answer.status_code in {404, 422}, role
    assert held(realm, "nora") == {}


@pytest.mark.parametrize("role", ["partner_admin", "user_manager", "tenant_admin", "super_admin"])
def test_at_375_at_376_no_role_above_her_own(cleo, realm, role) -> None:
    with tenant_scope(realm.tenant):
        wanted = services_rbac.find_role(role).id
    page = cleo.get(f"/admin/users/{realm.people['nora'].id}").text
    assert str(wanted) not in page
    assert give(cleo, realm, "nora", role).status_code in {403, 422}
    assert held(realm, "nora") == {}


def test_at_375_nobody_widens_their_own_rights(cleo, realm) -> None:
    answer = give(cleo, realm, "cleo", "client_admin", scope="tenant")
    assert answer.status_code in {403, 422}
    assert held(realm, "cleo")["client_admin"][0] == "organization"


def test_at_376_her_role_is_not_given_over_the_whole_tenant(cleo, realm) -> None:
    assert give(cleo, realm, "nora", "client_admin", scope="tenant").status_code in {403, 422}
    assert held(realm, "nora") == {}


def test_at_393_a_move_does_not_carry_rights_into_another_organization(realm, enter) -> None:
    """Amy moves people all over Umbrella, and holds more over North: no detour makes them one."""
    with tenant_scope(realm.tenant), transaction():
        services_rbac.create_role(
            "mover",
            permissions={"admin:access": "tenant", "user:read": "tenant", "user:update": "tenant"},
            actor_grants=None,
            actor=system_actor(realm.tenant, "tests"),
        )
    realm.give("amy", "mover", over="Umbrella")
    realm.give("amy", "client_admin", over="North")
    realm.give("nora", "client_admin", scope="organization")  # over whatever nora is in
    with tenant_scope(realm.tenant), transaction():
        secret = _enrol_totp(session().get(IAMUserAccount, realm.people["amy"].id))
    realm.people["amy"] = replace(realm.people["amy"], totp_secret=secret)
    amy = enter("amy")
    values = {"username": "nora", "email": "nora@example.com", "actor_type": "end_user",
              "parent_id": str(realm.places["Umbrella"])}  # fmt: skip
    answer = post(amy, f"/admin/users/{realm.people['nora'].id}/edit", values)
    assert answer.status_code == 403
    assert realm.account("nora").parent_id == realm.places["North"]
    nick = values | {"username": "nick", "email": "nick@example.com"}
    answer = post(amy, f"/admin/users/{realm.people['nick'].id}/edit", nick)
    assert answer.status_code == 303  # who has no rights carries none along


def test_at_380_the_last_administrator_stays_whatever_the_page(realm, enter) -> None:
    tina = enter("tina")
    url = f"/admin/users/{realm.people['tina'].id}"
    with tenant_scope(realm.tenant):
        role = services_rbac.find_role("tenant_admin").id
    answer = post(tina, f"{url}/roles/{role}/revoke", {}, page=url)
    assert answer.status_code == 409
    assert "tenant_admin" in held(realm, "tina")
    assert give(tina, realm, "amy", "tenant_admin", expires_at="2030-01-01").status_code == 303
    answer = post(tina, f"{url}/roles/{role}/revoke", {}, page=url)
    assert answer.status_code == 409  # amy's ends one day: the tenant would be without


@pytest.mark.parametrize("scope", ["tenant", "organization", "team", "own"])
def test_l2_a_role_is_given_in_each_scope(realm, enter, scope) -> None:
    """What a reader of accounts sees on the page, by the scope the role was given in."""
    with tenant_scope(realm.tenant), transaction():
        services_rbac.create_role(
            "reader",
            permissions={"admin:access": "tenant", "user:read": "tenant"},
            actor_grants=None,
            actor=system_actor(realm.tenant, "tests"),
        )
    tina = enter("tina")
    assert give(tina, realm, "cleo", "reader", scope=scope).status_code == 303
    with tenant_scope(realm.tenant), transaction():
        role = services_rbac.find_role("client_admin")
        services_rbac.revoke_role(
            session().get(IAMUserAccount, realm.people["cleo"].id),
            role,
            actor_grants=None,
            actor=system_actor(realm.tenant, "tests"),
        )
    answer = enter("cleo").get("/admin/users")
    seen = {name for name in realm.people if f"{name.title()} Person" in answer.text}
    expected = {
        "tenant": set(realm.people),
        "organization": set(INSIDE_NORTH),
        "team": set(INSIDE_NORTH),
        "own": set(),
    }[scope]
    assert answer.status_code == (403 if scope == "own" else 200)
    assert seen - {"cleo"} == expected - {"cleo"}


def test_l2_the_global_scope_belongs_to_super_administrators(realm, enter) -> None:
    tina = enter("tina")
    assert give(tina, realm, "nora", "viewer", scope="global").status_code in {403, 422}
    realm.give("amy", "super_admin", scope="global")
    assert held(realm, "amy")["super_admin"][0] == "global"


def test_n2_a_role_that_is_refused_is_said_at_the_top_and_leads_to_its_field(realm, enter) -> None:
    tina = enter("tina")
    place = str(realm.places["North"])
    page = give(tina, realm, "amy", "viewer", scope="tenant", organization_id=place)
    if page.status_code == 303:
        raise AssertionError("an organization was taken with a role over the whole tenant")
    head, _tabs, rest = page.text.partition('id="user-details"')
    assert re.search(r'role="alert" tabindex="-1" autofocus>.*href="#organization_id"', head, re.S)
    assert "leave this" in head  # what to change
    assert 'id="organization_id-error"' in rest


def test_at_388_a_role_with_a_last_day_ends_with_it(app, realm, enter) -> None:
    tina = enter("tina")
    today = clock.now().date()
    yesterday = (today - timedelta(days=1)).isoformat()
    answer = give(tina, realm, "amy", "user_manager", expires_at=yesterday)
    assert answer.status_code == 422
    assert "The end must lie in the future" in answer.text
    assert give(tina, realm, "amy", "user_manager", expires_at="9999-12-31").status_code == 422
    last = (today + timedelta(days=2)).isoformat()
    assert give(tina, realm, "amy", "user_manager", expires_at=last).status_code == 303
    ends = held(realm, "amy")["user_manager"][2]
    assert ends.isoformat().startswith(f"{last}T23:59:59")
    page = tina.get(f"/admin/users/{realm.people['amy'].id}").text
    assert "Until" in page
    with tenant_scope(realm.tenant):
        person = realm.account("amy")
        grants = [
            services_rbac.resolve(
                realm.tenant, person.id, tenant_version=0, user_version=0, at=at
            ).has_role("user_manager")
            for at in (ends - timedelta(seconds=1), ends)
        ]
    assert grants == [True, False]


def test_k4_the_roles_of_a_person_name_no_organization_outside(realm, cleo) -> None:
    realm.give("nora", "viewer", over="Beta")
    page = cleo.get(f"/admin/users/{realm.people['nora'].id}").text
    assert "Another organization" in page
    assert not leaks(realm, page)


def test_k4_somebody_with_rights_by_organization_and_none_of_their_own_gets_nothing(
    realm, enter
) -> None:
    with tenant_scope(realm.tenant), transaction():
        row = session().scalar(
            select(IAMUserRole).where(IAMUserRole.user_id == realm.people["cleo"].id)
        )
        row.organization_id = None
        user = session().get(IAMUserAccount, realm.people["cleo"].id)
        user.parent_id = None
        services_rbac.bump_user(user.id)
    cleo = enter("cleo")
    for path in (
        "/admin",
        "/admin/users",
        "/admin/sessions",
        "/admin/organizations",
        "/admin/roles",
    ):
        assert cleo.get(path).status_code == 403, path


def test_l3_the_narrowing_costs_no_query_of_its_own(app, realm, enter, cleo) -> None:
    """The list takes as many statements for her as for an administrator of the whole tenant."""
    tina = enter("tina")

    def count(browser, path):
        statements = []

        def note(_connection, _cursor, statement, *_more):
            statements.append(statement)

        engine = app.extensions["sqlalchemy"].engine
        browser.get(path)
        event.listen(engine, "before_cursor_execute", note)
        try:
            assert browser.get(path).status_code == 200
        finally:
            event.remove(engine, "before_cursor_execute", note)
        return len(statements)

    for path in ("/admin/users", "/admin/sessions", "/admin/organizations"):
        assert count(cleo, path) == count(tina, path), path


# ------------------------------------------------------------------- the services behind the pages


def her(realm):
    """Return the keywords with which a service is called on behalf of cleo."""
    cleo = realm.people["cleo"].id
    grants = services_rbac.resolve(
        realm.tenant, cleo, tenant_version=0, user_version=-1, at=clock.now()
    )
    return {
        "actor_grants": grants,
        "actor": Actor(kind="user", tenant_id=realm.tenant, user_id=cleo),
    }


ACTS = {
    "suspend": lambda user, who: services_accounts.suspend(user, **REASON, **who),
    "disable": lambda user, who: services_accounts.disable(user, **REASON, **who),
    "delete": lambda user, who: services_accounts.delete_user(user, **REASON, **who),
    "reset factors": lambda user, who: services_accounts.reset_factors(user, **REASON, **who),
    "password link": lambda user, who: services_accounts.send_password_link(user, **who),
    "update": lambda user, who: services_accounts.update_user(user, first_name="X", **who),
    "sessions": lambda user, who: services_session_admin.end_all(user.id, **who),
    "recovery": lambda user, who: services_recovery_decisions.open_for(user.id, **REASON, **who),
}


def test_at_366_no_service_acts_on_anybody_outside(realm) -> None:
    """Bob has no rights that would shield him: only the organization he is in does."""
    give_more(realm)
    services_rbac.forget()
    with tenant_scope(realm.tenant):
        who = her(realm)
        for name, act in ACTS.items():
            with pytest.raises(NotFound), transaction():
                act(session().get(IAMUserAccount, realm.people["bob"].id), who)
            assert realm.account("bob").status == "active", name
        for name in ("suspend", "update", "sessions", "recovery", "password link"):
            with transaction():
                ACTS[name](session().get(IAMUserAccount, realm.people["nora"].id), who)
            realm.account("nora")
            with transaction():
                session().get(IAMUserAccount, realm.people["nora"].id).status = "active"


def test_at_369_no_service_makes_an_account_outside_or_above(realm) -> None:
    services_rbac.forget()

    def make(**values):
        with tenant_scope(realm.tenant), transaction():
            services_accounts.create_user(
                username="new", email="new@example.com", invite=False, **values, **her(realm)
            )

    for place in ("Beta", "Umbrella"):
        with pytest.raises(InvalidInput):
            make(parent_id=realm.places[place])
    with pytest.raises(RightsExceeded):
        make(parent_id=None)
    for kind in ("tenant_admin", "partner_admin", "super_admin"):
        with pytest.raises(RightsExceeded):
            make(parent_id=realm.places["North"], actor_type=kind)
    make(parent_id=realm.places["Crew"], actor_type="client_admin")


# ----------------------------------------------------------------------------------- invitations


def test_at_366_she_closes_no_invitation_beyond_her_reach(app, realm, enter, audit_rows) -> None:
    """Nor does she learn of it; what is within her reach she replaces, and so does who is above."""
    cleo, tina = enter("cleo"), enter("tina")
    form = {"email": "boss@example.org", "name": "", "language": ""}
    top = {**form, "parent_id": "", "roles": ["tenant_admin"]}
    north = {**form, "parent_id": str(realm.places["North"]), "roles": ["viewer"]}
    crew = {**form, "parent_id": str(realm.places["Crew"]), "roles": ["viewer"]}
    new = "/admin/invitations/new"
    assert post(tina, new, top).status_code == 303
    guest, link = app.test_client(), link_to("boss@example.org", "/auth/invitation/")
    first = post(cleo, new, north)
    assert (first.status_code, first.headers["Location"]) == (303, "/admin/invitations")
    assert guest_of(realm) == {None: True, realm.places["North"]: True}
    assert guest.get(link).status_code == 200
    assert not audit_rows("INVITATION_REVOKED")
    assert post(cleo, new, crew).status_code == 303  # hers, so the newer counts
    assert guest_of(realm) == {
        None: True, realm.places["North"]: False, realm.places["Crew"]: True,
    }  # fmt: skip
    cleo.get("/admin/invitations")  # what was told after the click stands there once
    page = cleo.get("/admin/invitations").text
    assert page.count('<th scope="row">boss@example.org') == 2
    assert post(tina, new, top).status_code == 303  # she reaches all of them
    assert not guest_of(realm)[realm.places["Crew"]]
    assert guest.get(link).status_code == 404
    by = {row.actor_id for row in audit_rows("INVITATION_REVOKED")}
    assert by == {realm.people["cleo"].id, realm.people["tina"].id}


def test_n2_the_form_of_an_invitation_shows_organizations_as_a_tree(enter) -> None:
    def places(name):
        return re.findall(r'<option[^>]*value="[0-9a-f-]{36}">([^<]*)<', page_of(enter(name)))

    def page_of(browser):
        return browser.get("/admin/invitations/new").text

    step = "\N{NO-BREAK SPACE}" * 3
    assert places("tina") == ["Beta", "Umbrella", f"{step}North", f"{step * 2}Crew"]
    assert places("cleo") == ["North", f"{step}Crew"]
