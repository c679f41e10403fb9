"""The audit trail over HTTP: who may see it, what it shows, and what it never does."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from html import unescape

import pytest
from flask import url_for
from sqlalchemy import select

from app.audit import events
from app.audit.models import IAMAuthLog
from app.audit.services_audit import record
from app.core import clock
from app.core.actor import Actor
from app.core.db import engine, session, transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope
from tests.support.trails import EVENTS, event_row

LOGS = "/admin/audit/logs"


@pytest.fixture
def auditor(client, make_user, sign_in):
    """A signed-in person who may read and export the trail; `client` is their browser."""
    person = make_user("maria", roles=["auditor"], mfa="totp", display_name="Maria Auditor")
    sign_in(client, person)
    return person


@pytest.fixture
def happen(tenant):
    """Return a helper that records an event: `happen("LOGOUT", by=person)`."""

    def add(
        name, *, by=None, tenant_id=None, ip="192.0.2.9", request_id=None, agent=None, **values
    ):
        actor = Actor(
            kind="user" if by else "anonymous",
            tenant_id=tenant_id or tenant,
            user_id=by,
            ip=ip,
            user_agent=agent,
            request_id=request_id or new_id().hex,
        )
        with tenant_scope(actor.tenant_id), transaction():
            return record(events.CATALOGUE[name], actor=actor, **values).id

    return add


def rows_of(page: str) -> list[str]:
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    return body.split("<tr>")[1:]


# --------------------------------------------------------------------- who may


def test_l1_a_visitor_is_sent_to_sign_in(client, tenant):
    for url in (LOGS, f"{LOGS}/{new_id()}", f"{LOGS}/export?format=csv"):
        answer = client.get(url)
        assert answer.status_code == 303
        assert "/auth/login" in answer.headers["Location"]


def test_l1_a_person_without_the_permission_is_refused(client, make_user, sign_in, audit_rows):
    sign_in(client, make_user("ann"))
    for url in (LOGS, f"{LOGS}/{new_id()}", f"{LOGS}/export?format=csv"):
        assert client.get(url).status_code == 403
    refused = audit_rows("ACCESS_DENIED")
    assert [row.details["required"] for row in refused] == [
        "audit:read",
        "audit:read",
        "audit:export",
    ]


def test_m4_reading_is_not_exporting(client, make_user, sign_in, audit_rows):
    person = make_user("tina", roles=["tenant_admin"], actor_type="tenant_admin", mfa="totp")
    sign_in(client, person)
    page = client.get(LOGS)
    answer = client.get(f"{LOGS}/export?format=csv")
    assert page.status_code == 200
    assert ("/export" in page.text) == (answer.status_code == 200)
    assert len(audit_rows("AUDIT_EXPORTED")) == (answer.status_code == 200)


# ------------------------------------------------------------------- the list


def test_m4_the_list_tells_what_happened_who_and_from_where(client, auditor, happen):
    happen("USER_SUSPENDED", by=auditor.id, resource=("user_account", auditor.id))
    page = client.get(LOGS)
    assert page.status_code == 200
    row = rows_of(page.text)[0]
    assert events.USER_SUSPENDED.meaning.rstrip(".") in unescape(row)
    assert "Maria Auditor" in row
    assert "192.0.2.9" in row
    assert "USER_SUSPENDED" in row


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("action=USER_DELETED", ["USER_DELETED"]),
        ("status=failure,denied", ["LOGIN_FAILED"]),
        ("severity=critical", ["USER_DELETED"]),
        ("ip=198.51.100.7", ["LOGIN_FAILED"]),
        ("resource=role", ["ROLE_UPDATED"]),
        ("q=account+deleted", ["USER_DELETED"]),
        ("actor=olga", ["USER_DELETED"]),
        ("actor=OLGA%40example.com", ["USER_DELETED"]),
        ("to=2001-01-01", []),
        ("from=2001-01-01&severity=critical", ["USER_DELETED"]),
    ],
)
def test_m4_each_filter_narrows_the_list(client, auditor, happen, make_user, query, shown):
    olga = make_user("olga")
    happen("USER_DELETED", by=olga.id)
    happen("LOGIN_FAILED", ip="198.51.100.7", status="failure")
    happen("ROLE_UPDATED", resource=("role", new_id()))
    page = client.get(f"{LOGS}?{query}")
    assert page.status_code == 200
    found = [name for row in rows_of(page.text) for name in events.CATALOGUE if f">{name}<" in row]
    assert found == shown


def test_n2_the_form_keeps_what_was_typed(client, auditor):
    page = client.get(LOGS, query_string={"q": 'say "hi"', "ip": "192.0.2.1", "status": "denied"})
    assert 'value="say &#34;hi&#34;"' in page.text
    assert 'value="192.0.2.1"' in page.text
    assert '<option value="denied" selected>' in page.text


def test_n2_an_empty_result_says_so(client, auditor):
    page = client.get(f"{LOGS}?action=USER_DELETED")
    assert page.status_code == 200
    assert "No entry meets this filter" in page.text


def test_m4_pages_lead_on_and_back_and_keep_the_filter(client, auditor, happen):
    for number in range(5):
        with clock.travel(timedelta(seconds=number)):
            happen("DEVICE_RENAMED", by=auditor.id, device=f"d{number}")
    url = f"{LOGS}?action=DEVICE_RENAMED&size=2"
    seen = []
    for _page in range(3):
        page = client.get(url).text
        seen += [row.partition("Device: ")[2][:0] or row for row in rows_of(page)]
        url = unescape(page.partition('rel="next" href="')[2].partition('"')[0])
    assert len(seen) == 5
    assert url == ""
    back = unescape(page.partition('rel="prev" href="')[2].partition('"')[0])
    assert "action=DEVICE_RENAMED" in back
    assert "size=2" in back
    assert len(rows_of(client.get(back).text)) == 2


def test_m4_the_names_of_a_page_cost_one_query(app, client, auditor, happen, make_user):
    from sqlalchemy import event

    for number in range(6):
        person = make_user(f"person{number}")
        happen("USER_UPDATED", by=person.id, resource=("user_account", auditor.id))
    asked: list[str] = []
    engine = app.extensions["sqlalchemy"].engine

    def note(_connection, _cursor, statement, *_more) -> None:
        asked.append(statement)

    client.get(LOGS)
    event.listen(engine, "before_cursor_execute", note)
    client.get(LOGS)
    event.remove(engine, "before_cursor_execute", note)
    assert sum("FROM iam_auth_log" in statement for statement in asked) == 1
    assert sum("FROM iam_user_account" in statement for statement in asked) <= 2


# ------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "query",
    [
        "action=NOPE",
        "status=maybe",
        "severity=9",
        "ip=1.2.3.4%27%20OR%201=1",
        "resource=%3Cscript%3E",
        "from=yesterday",
        "to=9999-12-31",
        "actor=nobody-here",
        "q=" + "x" * 300,
    ],
)
def test_at_442_a_bad_filter_is_told_beside_its_field(client, auditor, query):
    page = client.get(f"{LOGS}?{query}")
    assert page.status_code == 422
    assert 'aria-invalid="true"' in page.text
    assert "<script>" not in page.text
    assert client.get(f"{LOGS}/export?format=csv&{query}").status_code == 422


@pytest.mark.parametrize(
    "query",
    ["size=0", "size=-1", "size=100000", "size=abc", "cursor=x", "cursor=%00", "cursor=../..",
     "q=a&q=b", "ip=%00"],
)  # fmt: skip
def test_at_449_a_bad_position_or_size_is_a_bad_request(client, auditor, query):
    assert client.get(f"{LOGS}?{query}").status_code == 400


@pytest.mark.parametrize(
    "event_id", ["x", "0", "%00", "../users", "01a1fccb-04cf-71d4-a456-3889695f9cef", "a" * 3000]
)
def test_m4_an_event_that_is_none_is_not_found(client, auditor, event_id):
    assert client.get(f"{LOGS}/{event_id}").status_code in {400, 404}


# ---------------------------------------------------------------------- escape


def test_at_149_nothing_in_an_event_becomes_markup(client, auditor, happen, make_user):
    poison = '"><img src=x onerror=alert(1)><script>alert(1)</script>'
    person = make_user("zed")
    with tenant_scope(auditor_tenant(auditor)), transaction():
        from app.auth.models import IAMUserAccount

        row = session().scalar(select(IAMUserAccount).where(IAMUserAccount.id == person.id))
        row.display_name = poison
    event_id = happen(
        "LOGIN_FAILED",
        by=person.id,
        agent=poison,
        status=poison[:16],
        error=poison[:60],
        identifier=poison,
        changes={poison: [poison, {poison: poison}]},
    )
    anonymous = happen("LOGIN_FAILED", identifier=poison)
    for url in (LOGS, f"{LOGS}/{event_id}", f"{LOGS}/{anonymous}", f"{LOGS}?q=%3Cimg"):
        page = client.get(url).text
        assert "<img" not in page
        assert "<script>" not in page
        assert "style=" not in page


def auditor_tenant(person):
    from app.core.scoping import unscoped

    with unscoped("the test looks one row up"):
        from app.auth.models import IAMUserAccount

        return session().scalar(
            select(IAMUserAccount.tenant_id).where(IAMUserAccount.id == person.id)
        )


# -------------------------------------------------------------------- one event


def test_m4_one_event_shows_every_field_and_the_difference(client, auditor, happen):
    request_id = new_id().hex
    event_id = happen(
        "USER_UPDATED",
        by=auditor.id,
        request_id=request_id,
        agent="Browser/7",
        resource=("user_account", auditor.id),
        changes={"display_name": ["Old name", "New name"], "phone_verified": [True, False]},
    )
    other = happen("SESSION_REVOKED", by=auditor.id, request_id=request_id, reason="asked", count=2)
    page = client.get(f"{LOGS}/{event_id}").text
    assert "<del" in page
    assert "Old name" in page
    assert "New name" in page
    for value in (str(event_id), request_id, "Browser/7", "192.0.2.9", str(auditor.id)):
        assert value in page
    assert f"/{other}" in page
    assert "asked" in client.get(f"{LOGS}/{other}").text


# ----------------------------------------------------------------------- export


@pytest.mark.parametrize("format_", ["csv", "json", "ndjson"])
def test_m4_an_export_holds_what_the_filter_shows(client, auditor, happen, audit_rows, format_):
    wanted = happen("USER_DELETED", by=auditor.id)
    happen("LOGOUT", by=auditor.id)
    answer = client.get(f"{LOGS}/export?format={format_}&action=USER_DELETED")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=audit-")
    assert answer.headers["Content-Disposition"].endswith(f".{format_}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    read = {
        "csv": lambda text: list(csv.DictReader(io.StringIO(text, newline=""))),
        "json": json.loads,
        "ndjson": lambda text: [json.loads(line) for line in text.splitlines()],
    }
    assert [row["id"] for row in read[format_](answer.text)] == [str(wanted)]
    [told] = audit_rows("AUDIT_EXPORTED")
    assert told.details == {"format": format_, "filters": {"action": "USER_DELETED"}}
    assert told.actor_id == auditor.id


def test_m4_details_that_are_no_object_are_none(client, auditor, tenant):
    """A row put there by other means may hold JSON of any kind."""
    row = event_row(tenant, 0, metadata="x", changes=[1], id=new_id(), occurred_at=clock.now())
    session().rollback()
    with engine().begin() as connection:
        connection.execute(EVENTS.insert(), row)
    assert str(row["id"]) in client.get(LOGS).text
    for address in (LOGS, f"{LOGS}/{row['id']}", f"{LOGS}/export?format=json"):
        assert client.get(address).status_code == 200


def test_m6_what_was_typed_for_an_export_is_not_kept_in_clear(client, auditor, audit_rows):
    query = "format=json&actor=maria&ip=192.0.2.9&q=about%20maria"
    assert client.get(f"{LOGS}/export?{query}").status_code == 200
    [told] = audit_rows("AUDIT_EXPORTED")
    filters = {"actor": str(auditor.id), "ip": "192.0.2.9", "q": "about maria"}
    assert told.details == {"format": "json", "filters": filters}
    assert told.details_clear == {"format": "json"}
    assert told.subject_id == auditor.id


def test_m4_an_unknown_format_is_refused_and_nothing_is_recorded(client, auditor, audit_rows):
    for name in ("", "xlsx", "csv%0d%0aX-Evil:1"):
        assert client.get(f"{LOGS}/export?format={name}").status_code in {400, 422}
    assert audit_rows("AUDIT_EXPORTED") == []


def test_at_403_a_name_that_is_a_formula_stays_text_in_the_file(client, auditor, happen):
    happen("LOGIN_FAILED", agent="=cmd|' /C calc'!A0", identifier="x")
    answer = client.get(f"{LOGS}/export?format=csv&action=LOGIN_FAILED")
    [row] = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert row["user_agent"].startswith("'=cmd")


# ---------------------------------------------------------------------- tenants


def test_at_405_another_tenants_events_are_nowhere(
    client, auditor, happen, other_tenant, make_user, app
):
    stranger = make_user("stranger", tenant_id=other_tenant)
    secret = happen("USER_DELETED", by=stranger.id, tenant_id=other_tenant, ip="203.0.113.66")
    assert client.get(f"{LOGS}/{secret}").status_code == 404
    for query in (
        "",
        "severity=critical",
        "ip=203.0.113.66",
        f"actor={stranger.id}",
        f"resource={stranger.id}",
        f"q={secret}",
        f"q={stranger.id}",
        "tenant=other",
        f"tenant_id={other_tenant}",
    ):
        page = client.get(f"{LOGS}?{query}")
        assert page.status_code == 200
        assert f"/{secret}" not in page.text
        assert "stranger" not in "".join(rows_of(page.text))
        lines = client.get(f"{LOGS}/export?format=ndjson&{query}").text.splitlines()
        assert str(secret) not in {json.loads(line)["id"] for line in lines}
    assert client.get(f"{LOGS}?actor=stranger").status_code == 422


def test_at_407_a_clients_own_request_id_and_address_are_not_believed(
    client, make_user, audit_rows
):
    from tests.conftest import post

    make_user("ann")
    post(
        client,
        "/auth/login",
        {"username": "ann", "password": "wrong"},
        headers={"X-Request-ID": "forged-by-client", "X-Forwarded-For": "203.0.113.9"},
    )
    [row] = audit_rows("LOGIN_FAILED")
    assert row.request_id != "forged-by-client"
    assert row.ip == "127.0.0.1"


def test_m4_the_addresses_are_the_promised_ones(app):
    with app.test_request_context():
        assert url_for("iam_audit.logs") == LOGS
        assert url_for("iam_audit.export", format="csv") == f"{LOGS}/export?format=csv"


def test_m1_the_trail_has_no_way_to_change_it(app):
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("iam_audit.")]
    assert {method for rule in rules for method in rule.methods} == {"GET", "HEAD", "OPTIONS"}
    assert len(rules) == 5  # list, event, export, proof, statistics
    assert IAMAuthLog.__tablename__ == "iam_auth_log"


@pytest.mark.parametrize("year", ["0001-01-01", "1969-12-31", "9998-12-31"])
def test_at_449_a_date_at_the_edge_of_the_calendar_is_no_fault(client, auditor, year):
    for query in (f"from={year}", f"to={year}"):
        assert client.get(f"{LOGS}?{query}").status_code in {200, 422}
        answer = client.get(f"{LOGS}/export?format=csv&{query}")
        assert answer.status_code in {200, 422}
        answer.close()
