"""Nothing of another tenant is reached by any id of any route (K1, AT-366, AT-368, AT-369).

The url map and the tables are walked: a new route, a new id in it and a new table are swept
without anyone remembering. Somebody who holds every role of an ordinary tenant, the platform's
highest by name included, asks with ids of the default tenant, which is the platform.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from app.auth.accounts.services_directory import find_by_login, get_user
from app.auth.sessions import services_sessions
from app.auth.web.blueprint import IAMBlueprint
from app.core import clock
from app.core.actor import system_actor
from app.core.db import Base, engine, session, transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from tests.architecture.source import listed
from tests.support.populated import populate

TENANTS = Base.metadata.tables["iam_tenant"]
# What the trail, the counters and the queue of messages add is the answer's own trace.
TRACES = {"iam_auth_log", "iam_throttle", "iam_outbox", "iam_subject_key"}
# The names of ids in paths, as tables. An unknown name is swept with the ids of every table.
TABLES = {
    "user_id": "iam_user_account",
    "role_id": "iam_role",
    "session_id": "iam_auth_session",
    "device_id": "iam_device",
    "factor_id": "iam_mfa_method",
    "identity_id": "iam_user_identity",
    "connection_id": "iam_sso_connection",
    "rule_id": "iam_sso_role_rule",
    "domain_id": "iam_domain",
    "request_id": "iam_recovery_request",
    "event_id": "iam_auth_log",
    "organization_id": "iam_organization",
    "invitation_id": "iam_invitation",
    "context_id": "iam_access_context",
    "tenant_id": "iam_tenant",
}
# Fields of forms that name something, by what they name.
FIELDS = {
    "parent_id": "iam_organization",
    "organization_id": "iam_organization",
    "connection_id": "iam_sso_connection",
    "connection": "iam_sso_connection",
    "role": "iam_role",
    "roles": "iam_role",
    "role_id": "iam_role",
    "user_id": "iam_user_account",
    "tenant_id": "iam_tenant",
    "permissions": "iam_permission",
}
# Spellings of one thing go into one request; a form reads the one that it knows.
TOGETHER = (
    ("parent_id", "organization_id"),
    ("role", "roles", "role_id"),
    ("connection", "connection_id"),
    ("user_id", "tenant_id", "permissions"),
)
# What a list may be asked for, by what it names.
ASKED = {
    "q": "iam_user_account",
    "actor": "iam_user_account",
    "resource_id": "iam_user_account",
    "user_id": "iam_user_account",
    "role": "iam_role",
    "cursor": "iam_auth_log",
    "tenant_id": "iam_tenant",
    "parent_id": "iam_organization",
}
# Routes that find nothing although the row they name is there, and why.
NOTHING_THERE = {
    "iam_admin.connection_tried": "shows a trial sign-in that nobody has made",
    "iam_admin.access_enter": "leads out of the platform, and never into one's own tenant",
}
PLAIN = {
    "reason": "because of the sweep", "name": "sweep", "display_name": "Sweep", "scope": "tenant",
    "username": "sweep", "email": "sweep@example.com", "actor_type": "end_user", "type": "partner",
    "claim": "groups", "value": "staff", "description": "", "decision": "approve", "minutes": "15",
    "slug": "sweep-tenant", "kind": "tenant", "confirm": "yes", "expires_at": "", "language": "en",
}  # fmt: skip


@dataclass(frozen=True)
class Sides:
    """Somebody with every right in tenant A, and the rows of both tenants by table."""

    client: FlaskClient
    token: str
    ours: dict[str, UUID]
    theirs: dict[str, UUID]

    def send(self, method: str, path: str, fields: dict[str, Any] | None = None) -> Any:
        """Send a request as the person in tenant A, with a valid form token."""
        data = {**PLAIN, **(fields or {}), "csrf_token": self.token} if method == "POST" else None
        answer = self.client.open(path, method=method, data=data)
        answer.close()
        return answer


@pytest.fixture
def sides(
    app: Flask, client: FlaskClient, make_user: Callable[..., Any], tenant: UUID, other_tenant: UUID
) -> Sides:
    """Return both sides, the person signed in a moment ago with a second factor."""
    root = make_user(
        "root", roles=["super_admin"], actor_type="tenant_admin", mfa="totp", tenant_id=other_tenant
    )
    client.set_cookie("iam_session", _session_of(root.id, other_tenant))
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get("/account").text)
    assert found
    ours, theirs = populate(other_tenant, user_id=root.id), populate(tenant)
    ours["iam_tenant"] = _tenant_below(other_tenant)  # one's own is no object of the pages
    session().rollback()  # requests of this test share its session: let them see the rows
    return Sides(client, found.group(1), ours, theirs)


def _tenant_below(parent_id: UUID) -> UUID:
    row_id = new_id()
    values = {"id": row_id, "tenant_id": row_id, "parent_id": parent_id, "type": "partner"}
    values |= {"slug": "sweep-below", "name": "Below", "status": "active", "metadata": {}}
    with engine().begin() as connection:
        connection.execute(TENANTS.insert().values(**values, created_at=clock.now()))
    return row_id


def _session_of(user_id: UUID, tenant_id: UUID) -> str:
    with tenant_scope(tenant_id), transaction():
        user = get_user(user_id)
        return services_sessions.open_session(
            user,
            state="active",
            stage="done",
            amr=("pwd", "otp"),
            acr="aal2",
            device_id=None,
            remember=False,
            next_url=None,
            actor=system_actor(tenant_id, "tests"),
        ).token


def routes(app: Flask) -> list[Rule]:
    """Return every route of ours."""
    return [
        rule
        for rule in app.url_map.iter_rules()
        if isinstance(app.blueprints.get(rule.endpoint.rpartition(".")[0]), IAMBlueprint)
    ]


def ids_in(rule: Rule) -> list[str]:
    """Return the names of the ids in a path."""
    return sorted(name for name in rule.arguments if name.endswith("_id"))


def path_of(app: Flask, rule: Rule, values: dict[str, Any]) -> str:
    """Return the path of a route with these ids; other parts are made up."""
    filled = {name: values.get(name, "totp") for name in rule.arguments}
    with app.test_request_context():
        return app.url_map.bind("localhost").build(rule.endpoint, filled)


def own(sides: Sides, name: str) -> UUID:
    """Return the id of ours that an id in a path would name."""
    return sides.ours[TABLES.get(name, "iam_user_account")]


def foreign(sides: Sides, rule: Rule) -> Iterator[dict[str, UUID]]:
    """Yield, for each id of a path, ours everywhere else and one of theirs there."""
    names = ids_in(rule)
    for name in names:
        table = TABLES.get(name)
        candidates = [sides.theirs[table]] if table in sides.theirs else sides.theirs.values()
        for candidate in candidates:
            yield {other: own(sides, other) for other in names} | {name: candidate}
    if len(names) > 1 and all(TABLES.get(name) in sides.theirs for name in names):
        yield {name: sides.theirs[TABLES[name]] for name in names}


def rows_of(tenant_id: UUID) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of a tenant but for traces."""
    session().rollback()
    found = {}
    with engine().connect() as connection:
        for table in Base.metadata.sorted_tables:
            if table.name in TRACES or "tenant_id" not in table.c:
                continue
            query = sa.select(table).where(table.c.tenant_id == tenant_id).order_by(table.c.id)
            found[table.name] = [tuple(row) for row in connection.execute(query)]
    return found


def references(tenant_id: UUID, ids: set[UUID]) -> list[str]:
    """Return where a row of a tenant names one of these ids."""
    session().rollback()
    found = []
    with engine().connect() as connection:
        for table in Base.metadata.sorted_tables:
            if table.name in TRACES or "tenant_id" not in table.c:
                continue
            query = sa.select(table).where(table.c.tenant_id == tenant_id)
            for row in connection.execute(query).mappings():
                named = [name for name, value in row.items() if isinstance(value, UUID)]
                found += [f"{table.name}.{name}" for name in named if row[name] in ids]
    return found


def test_at_366_every_id_of_every_route_is_of_ones_own_tenant(
    app: Flask, sides: Sides, tenant: UUID
) -> None:
    before = rows_of(tenant)
    complaints = []
    swept = set()
    for rule in routes(app):
        for method in sorted({"GET", "POST"} & set(rule.methods or ())):
            for values in foreign(sides, rule):
                answer = sides.send(method, path_of(app, rule, values))
                swept.add(rule.endpoint)
                if answer.status_code != 404:
                    complaints.append(f"{method} {rule.rule} {values}: {answer.status}")
    assert not complaints, listed(complaints)
    assert len(swept) > 40
    assert rows_of(tenant) == before


def test_the_sweep_can_fail(app: Flask, sides: Sides, other_tenant: UUID) -> None:
    """The same requests with ids of one's own tenant find what they name."""
    complaints = []
    root, below = sides.ours["iam_user_account"], sides.ours["iam_tenant"]
    for rule in routes(app):
        if not ids_in(rule) or rule.endpoint in NOTHING_THERE:
            continue
        for method in sorted({"GET", "POST"} & set(rule.methods or ())):
            path = path_of(app, rule, {name: own(sides, name) for name in ids_in(rule)})
            answer = sides.send(method, path)
            if answer.status_code == 404 or (method == "GET" and answer.status_code >= 400):
                complaints.append(f"{method} {rule.rule}: {answer.status}")
            if method == "POST":  # it may have used up what it named
                sides.ours.update(populate(other_tenant, user_id=root) | {"iam_tenant": below})
                session().rollback()
    assert not complaints, listed(complaints)


def test_at_369_no_field_of_any_form_takes_an_id_of_another_tenant(
    app: Flask, sides: Sides, tenant: UUID, other_tenant: UUID
) -> None:
    """`parent_id` and whatever else names something: nothing of ours comes to name theirs."""
    before = rows_of(tenant)
    aimed = {name: str(sides.theirs[table]) for name, table in FIELDS.items()}
    assert {name for group in TOGETHER for name in group} == set(aimed)
    ids = set(sides.theirs.values())
    complaints = []
    for rule in routes(app):
        if "POST" not in (rule.methods or ()) or rule.endpoint == "iam_auth.logout":
            continue
        path = path_of(app, rule, {name: own(sides, name) for name in ids_in(rule)})
        for group in TOGETHER:
            answer = sides.send("POST", path, {name: aimed[name] for name in group})
            if answer.status_code >= 500:
                complaints.append(f"POST {rule.rule} {group}: {answer.status}")
        named = references(other_tenant, ids)
        complaints.extend(f"POST {rule.rule}: {where} names theirs" for where in named)
        if complaints:
            break
    assert not complaints, listed(complaints)
    assert rows_of(tenant) == before


def test_at_405_no_query_string_brings_another_tenants_rows(app: Flask, sides: Sides) -> None:
    """Filters and cursors of the lists, with ids of theirs: pages tell nothing of them."""
    told = [value.hex for value in sides.theirs.values()] + [str(v) for v in sides.theirs.values()]
    complaints = []
    for rule in routes(app):
        if (
            "GET" not in (rule.methods or ())
            or rule.arguments
            or not rule.endpoint.startswith("iam_a")
        ):
            continue
        for name, table in ASKED.items():
            value = sides.theirs[table]
            answer = sides.client.get(rule.rule, query_string={name: str(value)})
            if answer.status_code >= 500:
                complaints.append(f"{rule.rule}?{name}=: {answer.status}")
            body = answer.text.replace(str(value), "").replace(value.hex, "")
            complaints += [f"{rule.rule}?{name}= shows {item}" for item in told if item in body]
            answer.close()
    assert not complaints, listed(complaints)


def test_at_372_an_address_in_use_in_another_tenant_is_free_here(
    sides: Sides, make_user: Callable[..., Any], tenant: UUID, other_tenant: UUID
) -> None:
    """The same answer as for one that nobody has: nothing tells of the other tenant."""
    make_user("zoe", tenant_id=tenant)
    answers = []
    for name in ("zoe", "yan"):
        form = {"username": name, "email": f"{name}@example.com", "roles": []}
        answers.append(sides.send("POST", "/admin/users/new", form))
    assert [answer.status_code for answer in answers] == [303, 303]
    session().rollback()
    with tenant_scope(other_tenant):
        assert find_by_login("zoe@example.com") is not None
