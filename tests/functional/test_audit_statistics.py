"""The statistics page: right numbers, bounded questions, one tenant, no inline code (M4)."""

from __future__ import annotations

from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import event

from app.audit import events
from app.audit.services_audit import DENIED, FAILURE, record
from app.audit.statistics import services_statistics
from app.core import clock
from app.core.actor import Actor
from app.core.db import transaction
from app.core.scoping import tenant_scope
from app.notify.settings import NotifySettings
from tests.support.settings import changed

PAGE = "/admin/audit/statistics"


@pytest.fixture
def auditor(client, make_user, sign_in):
    """A signed-in person who may read the trail."""
    person = make_user("maria", roles=["auditor"], mfa="totp")
    sign_in(client, person)
    return person


@pytest.fixture
def happen(tenant):
    """Return a helper that records an event so many days ago, `count` times."""

    def add(name, *, days=0, ip="192.0.2.9", count=1, home=None, user_id=None, **values):
        home = home or tenant
        actor = Actor("user" if user_id else "anonymous", home, user_id=user_id, ip=ip)
        with clock.travel(timedelta(days=-days)), tenant_scope(home), transaction():
            for _number in range(count):
                record(events.CATALOGUE[name], actor=actor, **values)

    return add


def test_m4_only_readers_of_the_whole_trail_may_see_it(client, make_user, sign_in) -> None:
    assert client.get(PAGE).status_code == 303
    sign_in(client, make_user("ann"))
    assert client.get(PAGE).status_code == 403


def test_m4_the_page_counts_what_happened_in_the_period(client, auditor, happen) -> None:
    happen("LOGIN_FAILED", status=FAILURE, count=3)
    happen("LOGIN_THROTTLED", status=DENIED)
    happen("ROLE_DELETED", count=2, days=3)
    happen("ROLE_DELETED", days=20)
    page = client.get(f"{PAGE}?days=7")
    assert page.status_code == 200
    text = " ".join(unescape(page.text).split())
    assert '<p class="iam-stat-value">4</p>' in text, "refused sign-ins, throttled ones included"
    assert "severity=critical" in text
    week, month = ({item.name: item.count for item in counted(days, auditor)} for days in (7, 30))
    assert (week["ROLE_DELETED"], month["ROLE_DELETED"]) == (2, 3)
    assert week["LOGIN_FAILED"] == 3
    assert week["MFA_VERIFIED"] == 1


def counted(days, person):
    from app.tenancy.services_tenants import default_tenant_id

    with tenant_scope(default_tenant_id()):
        return services_statistics.by_action(clock.now() - timedelta(days=days))


def test_m4_the_page_names_the_addresses_that_fail_most(client, auditor, happen) -> None:
    happen("LOGIN_FAILED", status=FAILURE, ip="198.51.100.7", count=3)
    happen("LOGIN_FAILED", status=FAILURE, ip="2001:db8::1", count=2)
    happen("LOGOUT", ip="203.0.113.5", count=5)
    body = client.get(PAGE).text.partition('id="stat-addresses"')[2].partition("</section>")[0]
    assert body.index("198.51.100.7") < body.index("2001:db8::1")
    assert "203.0.113.5" not in body
    link = unescape(body.partition('href="')[2].partition('"')[0])
    assert link.count("ip=") == 1
    assert client.get(link).text.count("<tr>") == 4


def test_m4_an_address_known_by_a_persons_key_is_shown(client, auditor, happen, make_user) -> None:
    person = make_user("ann")
    happen("LOGIN_FAILED", status=FAILURE, ip="198.51.100.8", user_id=person.id)
    assert "198.51.100.8" in client.get(PAGE).text


def test_m4_an_empty_period_says_so(client, auditor) -> None:
    page = client.get(f"{PAGE}?days=90").text
    assert "No sign-in was refused in this period." in page


def test_at_405_another_tenants_numbers_are_not_counted(
    client, auditor, happen, other_tenant
) -> None:
    happen("ROLE_DELETED", home=other_tenant, count=3)
    happen("LOGIN_FAILED", home=other_tenant, ip="198.51.100.99")
    page = client.get(PAGE).text
    assert "ROLE_DELETED" not in page
    assert "198.51.100.99" not in page


@pytest.mark.parametrize("days", ["0", "-1", "31", "x", "9" * 400, "%00"])
def test_at_449_a_period_that_is_none_is_a_bad_request(client, auditor, days) -> None:
    assert client.get(f"{PAGE}?days={days}").status_code == 400


def test_at_150_the_charts_need_no_inline_code(client, auditor, happen) -> None:
    happen("LOGIN_FAILED", status=FAILURE, count=3)
    page = client.get(PAGE).text
    assert "<svg" in page
    assert "<table" in page, "the numbers are there for who sees no drawing"
    for inline in ("<script>", "<style", "style=", "onclick"):
        assert inline not in page


def test_m4_the_number_of_questions_does_not_grow(app, client, auditor, happen) -> None:
    asked: list[str] = []
    engine = app.extensions["sqlalchemy"].engine

    def note(_connection, _cursor, statement, *_more) -> None:
        asked.append(statement)

    def count() -> int:
        asked.clear()
        event.listen(engine, "before_cursor_execute", note)
        client.get(PAGE)
        event.remove(engine, "before_cursor_execute", note)
        return sum("iam_auth_log" in statement for statement in asked)

    few = count()
    for number in range(15):
        happen("LOGIN_FAILED", status=FAILURE, ip=f"198.51.100.{number}", count=2)
    assert count() == few, "the last event of each address, all by one query"


def test_m4_a_count_ends_at_its_bound(scoped, happen, monkeypatch) -> None:
    monkeypatch.setattr(services_statistics, "MOST", 3)
    happen("LOGOUT", count=5)
    happen("DEVICE_ADDED", count=2)
    found = services_statistics.by_action(clock.now() - timedelta(days=1))
    assert [(item.name, item.count, item.at_least) for item in found] == [
        ("LOGOUT", 3, True),
        ("DEVICE_ADDED", 2, False),
    ]
    assert services_statistics.by_severity(found)[0].at_least


def test_m5_the_page_says_who_is_told_and_warns_where_nobody_is(app, client, auditor) -> None:
    assert "AUDIT_NOTIFY_EMAILS" in client.get(PAGE).text
    with changed(app, NotifySettings, AUDIT_NOTIFY_EMAILS=("sec@example.com",)):
        page = client.get(PAGE).text
    assert "sec@example.com" in page
    assert "AUDIT_NOTIFY_EMAILS" not in page
    assert "/admin/settings/audit" not in page  # an auditor changes nothing


def test_n2_whoever_may_change_who_is_told_is_led_there(client, make_user, sign_in) -> None:
    sign_in(client, make_user("root", roles=["tenant_admin"], mfa="totp"))
    assert 'href="/admin/settings/audit"' in client.get(PAGE).text
