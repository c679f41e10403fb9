"""Recovery requests in the administration: opened, approved, refused (I1, D8, L1)."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.auth.accounts import services_accounts
from app.auth.models import IAMMfaMethod
from app.auth.recovery import services_recovery_decisions
from app.auth.recovery.services_recovery_rows import status_of
from app.auth.recovery.settings_recovery import RecoverySettings
from app.core import clock
from app.core.db import session, transaction
from app.core.scoping import tenant_scope
from tests.conftest import Someone, csrf_of
from tests.support.people import load, rows_of
from tests.support.recovery import (
    PAGE,
    begin,
    begin_waiting,
    change,
    follow,
    give_password,
    last_code,
    link,
    messages,
    press,
    prove,
    requests_of,
    set_phone,
    the_request,
)
from tests.support.settings import changed

LIST = "/admin/recovery"
WHY = {"reason": "spoke with her manager"}
A_DAY = timedelta(hours=24)


@pytest.fixture
def ann(make_user: Any) -> Someone:
    """Return somebody with an authenticator app, a confirmed address and a confirmed number."""
    person: Someone = make_user("ann", mfa="totp")
    set_phone(person)
    return person


@pytest.fixture
def signed(app: Any, make_user: Any, sign_in: Any) -> Any:
    """Return a helper: a browser in which somebody with these roles is signed in."""

    def enter(username: str, *roles: str) -> FlaskClient:
        browser: FlaskClient = app.test_client()
        sign_in(browser, make_user(username, roles=list(roles), mfa="totp"))
        return browser

    return enter


def ask(client: FlaskClient, person: Someone) -> str:
    """Bring a person's own request before an administrator; return its page."""
    begin(client, person)
    prove(client, "email")
    press(client, f"{PAGE}/approval")
    return page_of(person)


def page_of(person: Someone) -> str:
    return f"{LIST}/{the_request(person).id}"


def open_for(browser: FlaskClient, person: Someone) -> Any:
    return press(browser, f"/admin/users/{person.id}/recovery", f"/admin/users/{person.id}", **WHY)


def decide(browser: FlaskClient, page: str, decision: str, **more: str) -> Any:
    token = csrf_of(browser.get("/account").text)
    data = {**WHY, "decision": decision, "csrf_token": token, **more}
    return browser.post(f"{page}/decide", data=data)


# ------------------------------------------------------------------ who may


def test_l1_strangers_and_people_without_the_right(client, ann, signed) -> None:
    page = ask(client, ann)
    browser = signed("vera", "viewer")
    for url in (LIST, page, f"/admin/users/{ann.id}/recovery"):
        assert client.get(url).headers["Location"].startswith("/auth/")
        assert browser.get(url).status_code == 403, url
    token = csrf_of(browser.get("/account").text)
    for url in (f"{page}/decide", f"/admin/users/{ann.id}/recovery"):
        data = {**WHY, "decision": "approve", "csrf_token": token}
        assert browser.post(url, data=data).status_code == 403, url
    assert the_request(ann).status == "approval"


@pytest.mark.parametrize("role", ["user_manager", "tenant_admin"])
def test_l1_user_managers_and_administrators_decide(client, ann, signed, role) -> None:
    page = ask(client, ann)
    browser = signed("root", role)
    assert "ann" in browser.get(LIST).text
    assert LIST in browser.get("/admin").text
    assert decide(browser, page, "approve").headers["Location"] == page
    assert the_request(ann).status == "waiting"


@pytest.mark.parametrize("role", ["auditor", "operator", "developer", "client_admin"])
def test_l1_others_do_not(client, ann, signed, role) -> None:
    page = ask(client, ann)
    browser = signed("grace", role)
    assert browser.get(page).status_code == 403
    assert decide(browser, page, "approve").status_code == 403


def test_f1_a_decision_wants_a_fresh_proof(client, ann, signed) -> None:
    page, browser = ask(client, ann), signed("root", "tenant_admin")
    with clock.travel(timedelta(minutes=20)):
        answer = decide(browser, page, "approve")
        assert "step" in answer.headers["Location"]
        assert browser.get(page).status_code == 200
    assert the_request(ann).status == "approval"


def test_k1_another_tenants_request_is_not_there(
    client, ann, app, make_user, sign_in, other_tenant
) -> None:
    page = ask(client, ann)
    request_id = the_request(ann).id
    with tenant_scope(other_tenant):
        session().rollback()
        assert not services_recovery_decisions.page(closed=False, cursor=None, size=9).items
    browser = app.test_client()
    sign_in(browser, make_user("root", roles=["tenant_admin"], mfa="totp"))
    assert browser.get(f"{LIST}/{ann.id}").status_code == 404
    assert browser.get(f"{LIST}/x").status_code == 404
    assert decide(browser, f"{LIST}/{ann.id}", "approve").status_code == 404
    assert browser.get(page).status_code == 200
    assert str(request_id) in page


# ------------------------------------------------------------------ approving


def test_i1_an_approved_request_goes_on(app, client, ann, signed, audit_rows) -> None:
    page, browser = ask(client, ann), signed("root", "user_manager")
    shown = browser.get(page).text
    assert "Code entered" in shown
    assert "Not entered" in shown
    assert "Authenticator app: Phone" in shown
    assert decide(browser, page, "approve").status_code == 303
    row = the_request(ann)
    assert row.decision_reason == WHY["reason"]
    assert messages("email", "Works from")
    with clock.travel(A_DAY):
        follow(app.test_client(), link("continue"))
    assert the_request(ann).status == "completed"
    (approved,) = audit_rows("RECOVERY_APPROVED")
    assert (approved.details["reason"], approved.subject_id) == (WHY["reason"], ann.id)
    assert "Recovered" in browser.get(f"{LIST}?show=closed").text
    assert WHY["reason"] not in "".join(item["body"] for item in messages())


def test_i1_where_every_helpdesk_checks_people_nobody_waits(
    app, client, ann, signed, scoped
) -> None:
    page, browser = ask(client, ann), signed("root", "user_manager")
    with changed(app, RecoverySettings, RECOVERY_APPROVED_WAIT_HOURS=0):
        decide(browser, page, "approve")
    answer = follow(app.test_client(), link("continue"))
    assert answer.headers["Location"] == "/auth/mfa/enrol"
    assert not rows_of(IAMMfaMethod)[1:]  # the administrator's own is left


def test_i1_without_an_address_the_link_comes_by_text(client, ann, signed, app) -> None:
    change(ann, email_verified=False)
    begin(client, ann)
    prove(client, "phone")
    assert decide(signed("root", "user_manager"), page_of(ann), "approve").status_code == 303
    assert not messages("email")
    with clock.travel(A_DAY):
        assert "Authenticator app" in app.test_client().get(link("continue", "sms")).text


@pytest.mark.parametrize("status", ["proofs", "waiting"])
def test_i1_what_is_proved_or_still_to_be_proved_is_not_approved(
    client, ann, signed, status
) -> None:
    begin(client, ann) if status == "proofs" else begin_waiting(client, ann)
    browser = signed("root", "tenant_admin")
    before = the_request(ann).continue_digest
    assert ">Approve<" not in browser.get(page_of(ann)).text
    assert decide(browser, page_of(ann), "approve").status_code == 409
    assert (the_request(ann).status, the_request(ann).continue_digest) == (status, before)


def test_i1_a_decision_needs_a_reason(client, ann, signed) -> None:
    page, browser = ask(client, ann), signed("root", "tenant_admin")
    assert decide(browser, page, "approve", reason="").status_code == 422
    assert decide(browser, page, "approve", reason="\u200b").status_code == 422
    assert decide(browser, page, "maybe").status_code == 422
    assert the_request(ann).status == "approval"


# ------------------------------------------------------------------ four eyes


def test_at_077_who_opened_it_does_not_approve_it(ann, signed, audit_rows) -> None:
    first, second = signed("root", "tenant_admin"), signed("ruth", "tenant_admin")
    page = open_for(first, ann).headers["Location"]
    assert page == page_of(ann)
    assert ">Approve<" not in first.get(page).text
    assert decide(first, page, "approve").status_code == 403
    assert the_request(ann).status == "approval"
    (failed,) = audit_rows("RECOVERY_FAILED")
    assert (failed.status, failed.details["reason"]) == ("denied", "four eyes")
    assert ">Approve<" in second.get(page).text
    assert decide(second, page, "approve").status_code == 303
    assert the_request(ann).status == "waiting"


def test_at_077_nobody_approves_or_opens_their_own(app, make_user, sign_in, client) -> None:
    root = make_user("root", roles=["tenant_admin"], mfa="totp")
    set_phone(root)
    page = ask(client, root)
    browser = app.test_client()
    sign_in(browser, root)
    assert decide(browser, page, "approve").status_code == 403
    assert decide(browser, page, "refuse").status_code == 303
    token = csrf_of(browser.get("/account").text)
    answer = browser.post(f"/admin/users/{root.id}/recovery", data={**WHY, "csrf_token": token})
    assert answer.status_code == 403
    assert [row.status for row in requests_of(root)] == ["refused"]


def test_at_077_an_administrator_is_not_recovered_from_below(
    client, make_user, signed, audit_rows
) -> None:
    root = make_user("root", roles=["tenant_admin"], mfa="totp")
    set_phone(root)
    page, browser = ask(client, root), signed("max", "user_manager")
    for decision in ("approve", "refuse"):
        assert decide(browser, page, decision).status_code == 403
    other = make_user("chief", roles=["tenant_admin"], mfa="totp")
    set_phone(other)
    assert open_for(browser, other).status_code == 403
    assert the_request(root).status == "approval"
    assert not requests_of(other)


# ------------------------------------------------------------------ opening for somebody


def test_i1_a_person_who_calls(ann, signed, audit_rows) -> None:
    browser = signed("root", "user_manager")
    assert f"/admin/users/{ann.id}/recovery" in browser.get(f"/admin/users/{ann.id}").text
    assert "Another administrator must approve" in unescape(
        browser.get(f"/admin/users/{ann.id}/recovery").text
    )
    assert open_for(browser, ann).status_code == 303
    row = the_request(ann)
    assert (row.status, row.reason) == ("approval", WHY["reason"])
    mail = messages("email", "was asked for")[0]
    assert "An administrator opened" in mail["body"]
    assert link("cancel") in mail["body"]
    assert audit_rows("RECOVERY_OPENED")[0].details["reason"] == WHY["reason"]
    again = browser.get(f"/admin/users/{ann.id}/recovery")
    assert again.headers["Location"] == page_of(ann)
    assert open_for_again(browser, ann) == 409
    assert len(requests_of(ann)) == 1


def open_for_again(browser: FlaskClient, person: Someone) -> int:
    token = csrf_of(browser.get("/account").text)
    data = {**WHY, "csrf_token": token}
    return browser.post(f"/admin/users/{person.id}/recovery", data=data).status_code


def test_i1_a_request_without_proof_is_taken_over(client, ann, signed) -> None:
    """Somebody who knows the password alone must not get by with one administrator's word."""
    begin(client, ann)
    first, second = signed("root", "tenant_admin"), signed("ruth", "tenant_admin")
    assert decide(first, page_of(ann), "approve").status_code == 409
    assert open_for(first, ann).status_code == 303
    assert len(requests_of(ann)) == 1
    assert decide(first, page_of(ann), "approve").status_code == 403
    assert decide(second, page_of(ann), "approve").status_code == 303


@pytest.mark.parametrize("status", ["suspended", "disabled", "invited"])
def test_b2_only_living_accounts(ann, signed, status) -> None:
    browser = signed("root", "tenant_admin")
    change(ann, status=status)
    assert open_for(browser, ann).status_code == 409
    assert not requests_of(ann)


def test_i1_somebody_who_cannot_be_told_is_not_recovered(ann, signed) -> None:
    change(ann, email_verified=False, phone_verified=False)
    answer = open_for(signed("root", "tenant_admin"), ann)
    assert answer.status_code == 409
    assert "no confirmed e-mail address" in answer.text
    assert not requests_of(ann)


def test_i1_who_is_helped_may_still_prove_both_channels(client, ann, signed) -> None:
    first = signed("root", "tenant_admin")
    open_for(first, ann)
    begin(client, ann)
    shown = client.get(PAGE).text
    assert "An administrator decides" in shown
    assert "You need not wait for the decision" in shown
    prove(client, "email")
    assert the_request(ann).status == "approval"
    prove(client, "phone")
    row = the_request(ann)
    assert (row.status, row.decided_by) == ("waiting", None)
    assert decide(first, page_of(ann), "approve").status_code in {403, 409}


def test_i1_one_proof_does_not_stand_for_a_decision(client, ann, signed) -> None:
    change(ann, phone_verified=False)
    open_for(signed("root", "tenant_admin"), ann)
    give_password(client, ann)
    assert "You need not wait for the decision" not in client.get(PAGE).text
    press(client, f"{PAGE}/send", "/auth/mfa/verify", channel="email")
    data = {"channel": "email", "code": last_code("email")}
    assert press(client, f"{PAGE}/proof", "/auth/mfa/verify", **data).status_code == 303
    assert the_request(ann).email_proved_at
    assert the_request(ann).status == "approval"


def test_i1_the_page_tells_what_speaks_for_or_against(client, ann, signed, scoped, actor) -> None:
    with transaction():
        services_accounts.update_user(
            load(ann.id), actor_grants=None, actor=actor, phone_number="+12025550188"
        )
    change(ann, phone_verified=True)
    shown = signed("root", "tenant_admin").get(ask(client, ann)).text
    assert "Phone changed" in shown
    assert "E-mail changed" not in shown
    assert re.search(r"First step</dt><dd>Password<", shown)
    assert "<dt>From</dt>" in shown


def test_i1_an_administrators_own_browser_is_not_taken_for_the_persons(ann, signed) -> None:
    browser = signed("root", "tenant_admin")
    open_for(browser, ann)
    shown = browser.get(page_of(ann)).text
    assert "Opened from" in shown
    assert "<dt>From</dt>" not in shown
    assert "First step" not in shown


def test_i1_a_closed_request_tells_how_it_ended(app, client, ann, signed) -> None:
    begin_waiting(client, ann)
    browser = signed("root", "tenant_admin")
    for name in ("Works until", "Would be removed"):
        assert name in browser.get(page_of(ann)).text
    follow(app.test_client(), link("cancel"))
    shown = browser.get(page_of(ann)).text
    for name in ("Works from", "Works until", "Ends by itself", "Would be removed"):
        assert name not in shown
    assert "Somebody with the link of a notice" in shown


def test_i1_who_stops_an_administrators_request_reads_true_words(app, ann, signed) -> None:
    open_for(signed("root", "tenant_admin"), ann)
    assert "An administrator opened" in app.test_client().get(link("cancel")).text
    follow(app.test_client(), link("cancel"))
    shown = app.test_client().get(link("cancel")).text
    assert "called in your name" in shown
    assert "know your password" not in shown


# ------------------------------------------------------------------ refusing


@pytest.mark.parametrize("status", ["proofs", "approval", "waiting"])
def test_i1_an_administrator_stops_it_at_any_time(
    app, client, ann, signed, status, audit_rows
) -> None:
    if status == "waiting":
        begin_waiting(client, ann)
    elif status == "approval":
        ask(client, ann)
    else:
        begin(client, ann)
    browser = signed("root", "tenant_admin")
    assert decide(browser, page_of(ann), "refuse").status_code == 303
    assert the_request(ann).status == "refused"
    (refused,) = messages("email", "was refused")
    assert "If this was you" not in refused["body"]
    assert messages("sms", "was refused")
    assert audit_rows("RECOVERY_REFUSED")[0].details["reason"] == WHY["reason"]
    assert decide(browser, page_of(ann), "refuse").status_code == 409
    assert decide(browser, page_of(ann), "approve").status_code == 409
    if status == "waiting":
        with clock.travel(A_DAY):
            assert app.test_client().get(link("continue")).status_code == 404
    assert "was refused" in app.test_client().get(link("cancel")).text


# ------------------------------------------------------------------ the list


def test_i1_open_ones_come_first_and_the_list_pages(ann, signed, make_user, scoped, actor) -> None:
    browser = signed("root", "tenant_admin")
    assert "Nobody asks for recovery" in browser.get(LIST).text
    for place in range(27):
        person = make_user(f"person{place:02}", mfa="totp")
        with transaction():
            services_recovery_decisions.open_for(
                load(person.id).id, reason="x", actor_grants=None, actor=actor
            )
    first = browser.get(LIST).text
    assert len(re.findall(rf"{LIST}/[0-9a-f-]{{36}}", first)) == 25
    following = unescape(re.search(r'rel="next" href="([^"]+)"', first)[1])
    second = browser.get(following).text
    assert len(re.findall(rf"{LIST}/[0-9a-f-]{{36}}", second)) == 2
    assert "Nothing is over yet" in browser.get(f"{LIST}?show=closed").text
    with clock.travel(timedelta(hours=73)):
        found = services_recovery_decisions.page(closed=True, cursor=None, size=5)
        assert {status_of(row) for row in found.items} == {"expired"}
        assert found.next_cursor
