"""Devices over HTTP: recognised, copied, trusted, removed (J2, J3, F2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.auth.accounts import services_account_status
from app.auth.accounts.services_directory import get_user
from app.auth.mfa import services_mfa_changes
from app.auth.models import IAMAuthSession, IAMMfaMethod, IAMUserAccount
from app.auth.settings import AuthSettings
from app.core import clock
from app.core.actor import Actor
from app.core.crypto import keyring
from app.core.db import session, transaction
from app.core.scoping import tenant_scope, unscoped
from app.risk import services_devices
from app.risk.models import IAMDevice
from app.risk.settings import RiskSettings
from app.tenancy import services_settings
from tests.conftest import PASSWORD, Someone, csrf_of, post, totp_code
from tests.support import passkeys
from tests.support.authenticator import Authenticator
from tests.support.mailbox import messages
from tests.support.settings import changed

Answer = Any
NEW = "violet ladder under seven moons"
DAYS = 30
GRACE = timedelta(minutes=services_devices.DEVICE_ROTATE_MINUTES)
BOX = 'name="remember_device"'
PAGE = "/account/devices"


@pytest.fixture
def trusting(app: Flask) -> Iterator[None]:
    """Let people trust their devices for thirty days."""
    with changed(app, RiskSettings, DEVICE_TRUST_DAYS=DAYS):
        yield


@pytest.fixture
def ann(make_user: Any) -> Someone:
    """Return a person with an authenticator app."""
    found: Someone = make_user("ann", mfa="totp")
    return found


def password(client: FlaskClient, person: Someone, word: str = "") -> Answer:
    """Give the password and stop there."""
    form = {"username": person.username, "password": word or person.password}
    return post(client, "/auth/login", form)


def code(client: FlaskClient, person: Someone, **form: str) -> Answer:
    """Give the second step's code."""
    assert person.totp_secret
    return post(client, "/auth/mfa/verify", {"code": totp_code(person.totp_secret), **form})


def prove_again(client: FlaskClient, person: Someone) -> None:
    """Give the second step's code for a change of one's own security."""
    assert person.totp_secret
    form = {"purpose": "account.security", "code": totp_code(person.totp_secret)}
    page = "/auth/mfa/verify?purpose=account.security"
    assert post(client, "/auth/mfa/verify", form, page=page).status_code == 303


def remembered(client: FlaskClient, person: Someone) -> None:
    """Sign in with the box ticked, and out again."""
    password(client, person)
    assert BOX in client.get("/auth/mfa/verify").text
    assert code(client, person, remember_device="y").location == "/account"
    post(client, "/auth/logout", page="/account")


def asks_again(client: FlaskClient, person: Someone, word: str = "") -> bool:
    """Return whether a sign-in by password needs the second step."""
    place = password(client, person, word).location
    assert place in {"/account", "/auth/mfa/verify"}
    return bool(place == "/auth/mfa/verify")


def rows(model: Any, *where: Any) -> list[Any]:
    with unscoped("tests look at every tenant"):
        session().rollback()
        return list(session().scalars(sa.select(model).where(*where).order_by(model.id)))


def device_of(person: Someone) -> Any:
    [found] = rows(IAMDevice, IAMDevice.user_id == person.id)
    return found


def cookie(client: FlaskClient) -> str:
    found = client.get_cookie("iam_device")
    assert found is not None
    return found.value


def generation(client: FlaskClient) -> int:
    found = services_devices.read_cookie(cookie(client))
    assert found is not None
    return found.generation


def copy_of(app: Flask, client: FlaskClient) -> FlaskClient:
    """Return another browser that holds a copy of this one's device cookie, and no session."""
    other = app.test_client()
    other.set_cookie("iam_device", cookie(client))
    return other


NEW_DEVICE, COPIED = "New sign-in to your account", "One of your devices may have been copied"


def mails(subject: str) -> list[dict[str, Any]]:
    """Return the mails whose subject begins so, newest first."""
    return [item for item in messages() if str(item["subject"]).startswith(subject)]


def comes_back(client: FlaskClient, person: Someone, sign_in: Any) -> None:
    """Sign in by a browser whose session is over."""
    client.delete_cookie("iam_session")
    sign_in(client, person)


def later(number: int) -> Any:
    """Move time on by so many sign-ins that each rotate."""
    return clock.travel(number * (GRACE + timedelta(minutes=1)))


# ------------------------------------------------------------------------ rotation


def test_j3_a_sign_in_renews_the_device_cookie_every_quarter_of_an_hour(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    person = make_user("ann")
    client.get("/auth/login")
    first = cookie(client)
    assert generation(client) == 0
    seen = []
    for minutes in (0, 14, 15, 20, 31):
        with clock.travel(timedelta(minutes=minutes)):
            sign_in(client, person)
            seen.append(generation(client))
            post(client, "/auth/logout", page="/account")
    assert seen == [1, 1, 2, 2, 3]
    before, after = (
        services_devices.read_cookie(first),
        services_devices.read_cookie(cookie(client)),
    )
    assert before is not None
    assert after is not None
    assert before.digest == after.digest
    assert device_of(person).generation == 3


def test_j3_only_a_complete_sign_in_renews_the_cookie(client: FlaskClient, ann: Someone) -> None:
    password(client, ann)
    assert generation(client) == 0
    assert not device_of(ann).known
    code(client, ann)
    assert generation(client) == 1
    assert device_of(ann).known


@pytest.mark.parametrize("first", ["owner", "thief"])
def test_at_134_a_copied_device_cookie_is_found_out_whoever_signs_in_first(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any, first: str
) -> None:
    person = make_user("ann")
    sign_in(client, person)
    thief = copy_of(app, client)
    one, other = (client, thief) if first == "owner" else (thief, client)
    with later(1):
        comes_back(one, person, sign_in)
        assert audit_rows("DEVICE_COOKIE_REUSED") == []
        assert mails(NEW_DEVICE) == []
    with later(2):
        comes_back(other, person, sign_in)
    [event] = audit_rows("DEVICE_COOKIE_REUSED")
    assert (event.severity, event.subject_id) == ("warning", person.id)
    assert audit_rows("LOGIN_SUCCEEDED")[-1].details["new_device"] is True
    [mail] = mails(COPIED)
    assert "http://localhost/account/devices" in mail["body"]
    assert cookie(other).split(".")[0] != cookie(one).split(".")[0]  # it got a name of its own
    with later(3):  # and the copy that was first names a device that nobody knows
        comes_back(one, person, sign_in)
    assert audit_rows("LOGIN_SUCCEEDED")[-1].details["new_device"] is True
    assert len(audit_rows("DEVICE_COOKIE_REUSED")) == 1


def test_at_134_a_copied_device_cookie_loses_its_trust(
    app: Flask, client: FlaskClient, ann: Someone, trusting: None
) -> None:
    remembered(client, ann)
    thief = copy_of(app, client)
    with later(1):
        assert not asks_again(client, ann)
    with later(2):
        assert asks_again(thief, ann)
        assert not [row for row in rows(IAMDevice, IAMDevice.user_id == ann.id) if row.known]
    with later(3):
        assert asks_again(client, ann)


def test_at_134_a_copy_is_not_made_fresh_through_another_account(
    app: Flask,
    client: FlaskClient,
    ann: Someone,
    make_user: Any,
    sign_in: Any,
    trusting: None,
    audit_rows: Any,
) -> None:
    """A thief signs in to an account of their own until the copy is ahead of its owner's."""
    eve = make_user("eve")
    remembered(client, ann)
    thief = copy_of(app, client)
    with later(1):
        assert not asks_again(client, ann)
    with later(2):
        for _ in range(4):
            comes_back(thief, eve, sign_in)
            device = next(row for row in rows(IAMDevice, IAMDevice.user_id == eve.id))
            post(thief, f"/account/devices/{device.id}/revoke", page="/account/devices")
        assert asks_again(thief, ann)
        client.delete_cookie("iam_session")
        assert not asks_again(client, ann)


def test_at_134_a_copy_without_the_password_changes_nothing(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    person = make_user("ann")
    sign_in(client, person)
    thief = copy_of(app, client)
    with later(1):
        comes_back(client, person, sign_in)
        post(client, "/auth/logout", page="/account")
    with later(2):
        for _ in range(6):  # a stranger's budget, not the device's
            last = password(thief, person, "wrong")
        assert last.status_code == 429
        assert device_of(person).known
        assert audit_rows("DEVICE_COOKIE_REUSED") == []
        sign_in(client, person)


def test_j3_a_lost_answer_within_the_grace_is_no_theft(
    client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    person = make_user("ann")
    client.get("/auth/login")
    held = cookie(client)
    sign_in(client, person)
    client.set_cookie("iam_device", held)  # the browser never saw the answer
    with clock.travel(timedelta(minutes=5)):
        comes_back(client, person, sign_in)
        assert generation(client) == 1
    with later(2):
        comes_back(client, person, sign_in)
    assert audit_rows("DEVICE_COOKIE_REUSED") == []


def test_j3_people_who_share_a_browser_are_no_thieves(
    client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    people = [make_user(name) for name in ("ann", "bob", "cyd")]
    for number in range(9):
        with later(number):
            sign_in(client, people[number % 3])
            post(client, "/auth/logout", page="/account")
    assert generation(client) == 9
    assert audit_rows("DEVICE_COOKIE_REUSED") == []
    assert len(audit_rows("DEVICE_ADDED")) == 3


def test_j3_a_cookie_from_before_generations_stays_a_known_device(
    client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    person = make_user("ann")
    client.get("/auth/login")
    client.set_cookie("iam_device", str(keyring().serializer("device-cookie").dumps("s" * 43)))
    sign_in(client, person)
    with unscoped("as a row from before"), transaction():
        session().execute(sa.update(IAMDevice).values(generation=0, rotated_at=None))
    client.set_cookie("iam_device", str(keyring().serializer("device-cookie").dumps("s" * 43)))
    with later(1):
        comes_back(client, person, sign_in)
    assert generation(client) == 1
    assert len(audit_rows("DEVICE_ADDED")) == 1
    assert audit_rows("DEVICE_COOKIE_REUSED") == []


def test_at_129_of_two_cookies_of_one_name_the_first_decides(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann"))
    other = app.test_client()
    sign_in(other, make_user("bob"))
    mine, theirs = (item.get_cookie("iam_session").value for item in (client, other))
    for first, second, name in ((mine, theirs, "ann"), (theirs, mine, "bob")):
        header = f"iam_session={first}; iam_session={second}; iam_device=x; iam_device=y"
        page = app.test_client(use_cookies=False).get("/account", headers={"Cookie": header})
        assert page.status_code == 200
        assert f"{name}@example.com" in page.text


# ------------------------------------------------------------------------ the notice


def test_j3_a_new_device_is_told_with_the_way_to_remove_it(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    person = make_user("ann")
    sign_in(client, person)
    assert mails(NEW_DEVICE) == []  # the very first sign-in surprises nobody
    sign_in(app.test_client(), person)
    [mail] = mails(NEW_DEVICE)
    assert "http://localhost/account/devices" in mail["body"]


# ------------------------------------------------------------------------ trust, at sign-in


def test_f2_trust_is_off_unless_the_operator_switches_it_on(
    client: FlaskClient, ann: Someone
) -> None:
    password(client, ann)
    assert BOX not in client.get("/auth/mfa/verify").text
    code(client, ann, remember_device="y")
    assert device_of(ann).trusted_until is None
    assert "Trust this device" not in client.get(PAGE).text


def test_f2_a_trusted_device_does_without_the_second_step_until_it_ends(
    client: FlaskClient, ann: Someone, trusting: None, audit_rows: Any
) -> None:
    remembered(client, ann)
    [event] = audit_rows("DEVICE_TRUSTED")
    assert (event.subject_id, event.resource_id) == (ann.id, device_of(ann).id)
    assert not asks_again(client, ann)
    with clock.travel(timedelta(days=DAYS - 1)):
        assert not asks_again(client, ann)
    with clock.travel(timedelta(days=DAYS, minutes=1)):
        assert asks_again(client, ann)


def test_f2_without_the_tick_nothing_is_trusted(
    client: FlaskClient, ann: Someone, trusting: None
) -> None:
    password(client, ann)
    page = client.get("/auth/mfa/verify?remember_device=y").text
    assert re.search(rf"<input[^>]*{BOX}[^>]*>", page)
    assert not re.search(rf"<input[^>]*(checked[^>]*{BOX}|{BOX}[^>]*checked)", page)
    assert f"{DAYS} days" in page
    code(client, ann)
    assert device_of(ann).trusted_until is None


def test_at_072_a_trusted_device_is_one_factor_and_no_more(
    client: FlaskClient, ann: Someone, trusting: None
) -> None:
    remembered(client, ann)
    assert not asks_again(client, ann)
    [row] = rows(IAMAuthSession, IAMAuthSession.state == "active")
    assert (row.acr, row.amr, row.mfa_time) == ("aal1", ["pwd"], None)
    for path in ("/account/security/totp", "/account/security/email"):
        assert client.get(path).location.startswith("/auth/step-up?purpose=account.security")
    assert client.get("/auth/step-up?purpose=account.security").location.startswith(
        "/auth/mfa/verify"
    )
    program = client.get("/account/security/totp", headers={"Accept": "application/json"})
    assert program.status_code == 401
    assert 'acr_values="aal2"' in program.headers["WWW-Authenticate"]


def test_f2_a_step_up_trusts_no_device(
    client: FlaskClient, ann: Someone, sign_in: Any, trusting: None
) -> None:
    sign_in(client, ann)
    with clock.travel(timedelta(minutes=11)):
        page = "/auth/mfa/verify?purpose=account.security"
        assert BOX not in client.get(page).text
        form = {"code": totp_code(ann.totp_secret or ""), "purpose": "account.security"}
        answer = post(client, page, {**form, "remember_device": "y"})
        assert answer.status_code == 303
    assert device_of(ann).trusted_until is None


def test_f2_a_recovery_code_trusts_no_device(
    client: FlaskClient, ann: Someone, sign_in: Any, trusting: None
) -> None:
    sign_in(client, ann)
    page = post(client, "/account/security/recovery-codes", page="/account/security").text
    spare = re.findall(r"<li>((?:[A-Z2-7]{4}-){5}[A-Z2-7]{4})</li>", page)[0]
    client.delete_cookie("iam_session")
    password(client, ann)
    post(client, "/auth/mfa/challenge", {"method": "recovery_code"}, page="/auth/mfa/choose")
    assert BOX not in client.get("/auth/mfa/verify").text
    answer = post(client, "/auth/mfa/verify", {"code": spare, "remember_device": "y"})
    assert answer.location == "/account"
    assert device_of(ann).trusted_until is None


@pytest.mark.parametrize("wanted", [True, False])
def test_f2_a_passkey_as_second_step_trusts_the_device_when_asked_to(
    client: FlaskClient, make_user: Any, sign_in: Any, trusting: None, wanted: bool
) -> None:
    person, key = make_user("ann"), Authenticator()
    sign_in(client, person)
    assert passkeys.register(client, key).status_code == 200
    post(client, "/auth/logout", page="/account")
    password(client, person)
    assert BOX in client.get("/auth/mfa/verify").text
    asked = passkeys.options(client, "login/options", {"flow": "mfa"})
    body = {"flow": "mfa", "credential": key.get(asked), "remember_device": wanted}
    assert passkeys.send(client, "login/verify", body).get_json() == {"next": "/account"}
    post(client, "/auth/logout", page="/account")
    assert asks_again(client, person) is not wanted


def test_f2_where_a_second_step_is_required_no_device_is_trusted(
    client: FlaskClient, make_user: Any, trusting: None
) -> None:
    boss = make_user("boss", mfa="totp", roles=["tenant_admin"], actor_type="tenant_admin")
    password(client, boss)
    assert BOX not in client.get("/auth/mfa/verify").text
    code(client, boss, remember_device="y")
    assert device_of(boss).trusted_until is None
    with unscoped("trusted before the policy was made stricter"), transaction():
        until = clock.now() + timedelta(days=DAYS)
        session().execute(sa.update(IAMDevice).values(trusted_until=until))
    client.delete_cookie("iam_session")
    assert asks_again(client, boss)


def test_f2_a_tenant_may_switch_trust_off_for_itself(
    client: FlaskClient, ann: Someone, trusting: None, tenant: UUID, actor: Actor
) -> None:
    remembered(client, ann)
    try:
        with tenant_scope(tenant), transaction():
            services_settings.override({"DEVICE_TRUST_DAYS": 0}, actor=actor)
        assert asks_again(client, ann)
        assert BOX not in client.get("/auth/mfa/verify").text
    finally:
        with tenant_scope(tenant), transaction():
            services_settings.override({"DEVICE_TRUST_DAYS": None}, actor=actor)


def test_at_070_the_trust_of_one_person_is_no_other_s(
    app: Flask, client: FlaskClient, ann: Someone, make_user: Any, trusting: None
) -> None:
    bob = make_user("bob", mfa="totp")
    remembered(client, bob)
    assert asks_again(client, ann)
    assert not asks_again(client, bob)
    forged = app.test_client()
    forged.set_cookie("iam_device", cookie(client)[:-3] + "AAA")
    assert asks_again(forged, bob)


# ------------------------------------------------------------------------ what ends trust


def prove(client: FlaskClient, person: Someone) -> None:
    """Give the fresh proof that changes of one's security demand."""
    form = {"code": totp_code(person.totp_secret or ""), "purpose": "account.security"}
    answer = post(client, "/auth/mfa/verify?purpose=account.security", form)
    assert answer.status_code == 303, answer.text


def change_password(client: FlaskClient, person: Someone) -> str:
    prove(client, person)
    form = {"current": PASSWORD, "password": NEW, "password_confirm": NEW}
    assert post(client, "/account/security/password", form).status_code == 303
    return NEW


def reset_password(client: FlaskClient, person: Someone) -> str:
    post(client, "/auth/logout", page="/account")
    post(client, "/auth/password/forgot", {"username": person.username})
    found = re.search(r"(/auth/password/reset/\S+)", mails("Reset your password")[0]["body"])
    assert found
    form = {"password": NEW, "password_confirm": NEW}
    assert post(client, found.group(1), form, page="/auth/login").status_code == 303
    return NEW


def remove_a_factor(_client: FlaskClient, person: Someone) -> str:
    [extra] = rows(IAMMfaMethod, IAMMfaMethod.name == "second")
    with tenant_scope(extra.tenant_id), transaction():
        who = Actor("user", extra.tenant_id, person.id)
        services_mfa_changes.remove(get_user(person.id), extra.id, policy="optional", actor=who)
    return ""


def suspend_and_reactivate(_client: FlaskClient, person: Someone) -> str:
    [user] = rows(IAMUserAccount, IAMUserAccount.id == person.id)
    with tenant_scope(user.tenant_id):
        who = Actor("system", user.tenant_id, label="tests")
        for act in (services_account_status.suspend, services_account_status.reactivate):
            with transaction():
                act(get_user(person.id), reason="test", actor_grants=None, actor=who)
    return ""


def disable_and_reactivate(_client: FlaskClient, person: Someone) -> str:
    [user] = rows(IAMUserAccount, IAMUserAccount.id == person.id)
    with tenant_scope(user.tenant_id):
        who = Actor("system", user.tenant_id, label="tests")
        for act in (services_account_status.disable, services_account_status.reactivate):
            with transaction():
                act(get_user(person.id), reason="test", actor_grants=None, actor=who)
    return ""


def revoke_it(client: FlaskClient, person: Someone) -> str:
    prove_again(client, person)
    post(client, f"{PAGE}/{device_of(person).id}/revoke", page=PAGE)
    return ""


def untrust_it(client: FlaskClient, person: Someone) -> str:
    post(client, f"{PAGE}/{device_of(person).id}/untrust", page=PAGE)
    return ""


def untrust_all(client: FlaskClient, _person: Someone) -> str:
    post(client, f"{PAGE}/untrust-all", page=PAGE)
    return ""


def revoke_from_elsewhere(client: FlaskClient, person: Someone) -> str:
    other = client.application.test_client()
    password(other, person)
    code(other, person)
    assert post(other, f"{PAGE}/revoke-others", page=PAGE).status_code == 303
    return ""


ENDS = (
    change_password, reset_password, remove_a_factor, suspend_and_reactivate,
    disable_and_reactivate, revoke_it, untrust_it, untrust_all, revoke_from_elsewhere,
)  # fmt: skip


@pytest.mark.parametrize("end", ENDS, ids=lambda act: act.__name__)
def test_at_071_trust_ends_with_what_it_rested_on(
    client: FlaskClient, ann: Someone, trusting: None, end: Callable[..., str]
) -> None:
    add_email_factor(ann)
    remembered(client, ann)
    with clock.travel(timedelta(minutes=2)):
        assert not asks_again(client, ann)
        word = end(client, ann)
        client.delete_cookie("iam_session")
        assert asks_again(client, ann, word)


def add_email_factor(person: Someone) -> None:
    at = clock.now()
    [user] = rows(IAMUserAccount, IAMUserAccount.id == person.id)
    with unscoped("the test writes for any tenant"), transaction():
        session().add(
            IAMMfaMethod(
                tenant_id=user.tenant_id, user_id=user.id, method="email_otp", name="second",
                destination=person.email, created_at=at, confirmed_at=at,
            )
        )  # fmt: skip


def test_at_071_another_factor_ends_trust(
    client: FlaskClient, ann: Someone, trusting: None
) -> None:
    remembered(client, ann)
    with clock.travel(timedelta(minutes=2)):
        password(client, ann)
        prove(client, ann)
        post(client, "/account/security/email", {"destination": "ann.codes@example.com"})
        found = re.search(r"\b(\d{6})\b", mails("Your code")[0]["body"])
        assert found
        assert post(client, "/account/security/email", {"code": found.group(1)}).status_code in {
            200, 303,
        }  # fmt: skip
        assert device_of(ann).trusted_until is None


@pytest.mark.parametrize("days", [0, 7])
def test_at_071_a_lower_setting_ends_what_a_higher_one_allowed(
    app: Flask, client: FlaskClient, ann: Someone, trusting: None, days: int
) -> None:
    remembered(client, ann)
    with changed(app, RiskSettings, DEVICE_TRUST_DAYS=days):
        assert asks_again(client, ann)


# ------------------------------------------------------------------------ the page


def test_j3_the_page_shows_what_is_known_of_each_device(
    app: Flask, make_user: Any, sign_in: Any
) -> None:
    person = make_user("ann")
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    for headers in ({"User-Agent": agent}, {"User-Agent": agent.replace("X11; Linux", "Android")}):
        client = app.test_client()
        client.environ_base["HTTP_USER_AGENT"] = headers["User-Agent"]
        client.environ_base["REMOTE_ADDR"] = "192.0.2.44"
        sign_in(client, person)
    page = client.get(PAGE).text
    assert page.count("192.0.2.44") == 2
    assert "Firefox" in page
    assert page.index("This device") < page.index("Linux")  # the one in use comes first
    assert page.count("First seen") == page.count("Last seen") == 2


def test_f2_trusting_the_device_in_use_demands_fresh_proof(
    client: FlaskClient, ann: Someone, sign_in: Any, trusting: None
) -> None:
    sign_in(client, ann)
    with clock.travel(timedelta(minutes=11)):
        answer = post(client, f"{PAGE}/trust", page=PAGE)
        assert answer.location.startswith("/auth/step-up?purpose=account.security")
        assert device_of(ann).trusted_until is None
        prove(client, ann)
        assert "Trust this device" in client.get(PAGE).text
        assert post(client, f"{PAGE}/trust", page=PAGE).location == PAGE
        page = client.get(PAGE).text
        assert "Trusted until" in page
        assert "Trust this device" not in page
        post(client, "/auth/logout", page="/account")
        assert not asks_again(client, ann)


def test_f2_without_a_strong_second_step_there_is_nothing_to_trust(
    client: FlaskClient, make_user: Any, sign_in: Any, trusting: None
) -> None:
    person = make_user("bob")
    sign_in(client, person)
    assert "Trust this device" not in client.get(PAGE).text
    assert post(client, f"{PAGE}/trust", page=PAGE).status_code == 403
    assert device_of(person).trusted_until is None


def test_j3_removing_a_device_needs_fresh_proof_and_ending_trust_does_not(
    app: Flask, client: FlaskClient, ann: Someone, trusting: None, audit_rows: Any
) -> None:
    remembered(client, ann)
    other = app.test_client()
    with clock.travel(timedelta(minutes=2)):
        password(client, ann)
        password(other, ann)
        code(other, ann)
        there = [row for row in rows(IAMDevice) if row.trusted_until is None]
        for act in (f"{there[0].id}/revoke", "revoke-others"):
            answer = post(client, f"{PAGE}/{act}", page=PAGE)
            assert answer.location.startswith("/auth/step-up")
        assert other.get("/account").status_code == 200
        assert post(client, f"{PAGE}/untrust-all", page=PAGE).location == PAGE
    with clock.travel(timedelta(minutes=3)):
        prove_again(client, ann)
        assert post(client, f"{PAGE}/{there[0].id}/revoke", page=PAGE).location == PAGE
        assert other.get("/account").status_code == 303
    assert [row.trusted_until for row in rows(IAMDevice)] == [None, None]
    assert len(audit_rows("DEVICE_REVOKED")) == len(audit_rows("DEVICE_TRUST_ENDED")) == 1


def test_j3_removing_all_others_ends_their_sessions_and_keeps_this_one(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    person = make_user("ann")
    others = [app.test_client() for _ in range(3)]
    for browser in (*others, client):
        sign_in(browser, person)
    assert post(client, f"{PAGE}/revoke-others", page=PAGE).location == PAGE
    assert [browser.get("/account").status_code for browser in others] == [303] * 3
    page = client.get(PAGE).text
    assert page.count("First seen") == 1
    assert "Remove all others" not in page


def test_j3_a_removed_device_is_new_when_it_comes_back(
    client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    person = make_user("ann")
    sign_in(client, person)
    post(client, f"{PAGE}/{device_of(person).id}/revoke", page=PAGE)
    sign_in(client, person)
    assert len(audit_rows("DEVICE_ADDED")) == 2
    assert audit_rows("DEVICE_COOKIE_REUSED") == []
    assert len(mails(NEW_DEVICE)) == 1


@pytest.mark.parametrize("act", ["rename", "untrust", "revoke"])
def test_at_135_the_device_of_another_is_not_found(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any, act: str
) -> None:
    bob = make_user("bob")
    sign_in(app.test_client(), bob)
    sign_in(client, make_user("ann"))
    theirs = device_of(bob).id
    assert post(client, f"{PAGE}/{theirs}/{act}", {"name": "Mine"}, page=PAGE).status_code == 404
    stored = device_of(bob)
    assert (stored.revoked_at, stored.name == "Mine") == (None, False)


def test_at_135_acts_on_all_touch_nobody_else(
    app: Flask, client: FlaskClient, ann: Someone, make_user: Any, sign_in: Any, trusting: None
) -> None:
    bob = make_user("bob", mfa="totp")
    theirs = app.test_client()
    remembered(theirs, bob)
    sign_in(client, ann)
    for act in ("untrust-all", "revoke-others"):
        assert post(client, f"{PAGE}/{act}", page=PAGE).location == PAGE
    assert device_of(bob).revoked_at is None
    assert not asks_again(theirs, bob)


# ------------------------------------------------------------------------ the policy


def test_j2_super_admins_confirm_a_new_device_and_others_by_setting(app: Flask) -> None:
    current = AuthSettings.current()
    assert current.session_policy("super_admin").mfa_on_new_device is True
    assert current.session_policy("end_user").mfa_on_new_device is False
    changed = AuthSettings.load(
        {"IAM_SESSION_POLICIES": '{"end_user": {"mfa_on_new_device": true, "max_sessions": 2}}'}, {}
    ).session_policy("end_user")
    assert (changed.mfa_on_new_device, changed.max_sessions) == (True, 2)


def test_j2_a_new_device_is_confirmed_where_the_policy_asks_for_it(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    person = make_user("ann")
    sign_in(client, person)
    post(client, "/auth/logout", page="/account")
    strict = {"end_user": {"mfa_on_new_device": True}}
    with changed(app, AuthSettings, IAM_SESSION_POLICIES=strict):
        assert password(client, person).location == "/account"
        assert password(app.test_client(), person).location == "/auth/verify"
        thief = copy_of(app, client)
        with later(1):
            comes_back(client, person, sign_in)
        with later(2):
            assert password(thief, person).location == "/auth/verify"


def test_csrf_the_forms_of_the_page_carry_a_token(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann"))
    page = client.get(PAGE).text
    assert page.count("<form") == page.count('name="csrf_token"')
    assert csrf_of(page)


# ------------------------------------------------------------------------ a first factor


def enrol(client: FlaskClient, page: str = "/account/security/totp") -> Answer:
    """Enrol an authenticator app and return the last answer."""
    post(client, page, {"action": "start"})
    secret = re.search(r'data-copy-text="([A-Z2-7]{32})"', client.get(page).text)
    assert secret
    return post(client, page, {"code": totp_code(secret.group(1)), "name": "Pixel"})


def test_at_049_a_first_factor_ends_sessions_that_the_password_alone_had_opened(
    app: Flask, client: FlaskClient, make_user: Any, sign_in: Any, audit_rows: Any
) -> None:
    person = make_user("ann")
    thief = app.test_client()
    for browser in (thief, client):
        sign_in(browser, person)
    answer = enrol(client)
    assert "signed out everywhere else" in answer.text
    assert client.get("/account").status_code == 200
    assert thief.get("/account").location.startswith("/auth/login")
    assert audit_rows("SESSION_REVOKED")[-1].details == {"reason": "factor_added", "count": 1}


def test_at_049_another_factor_leaves_sessions_alone(
    app: Flask, client: FlaskClient, ann: Someone, sign_in: Any
) -> None:
    other = app.test_client()
    sign_in(other, ann)
    with clock.travel(timedelta(minutes=1)):
        sign_in(client, ann)
        assert "signed out everywhere else" not in enrol(client).text
    assert other.get("/account").status_code == 200


def test_at_049_a_factor_in_a_stolen_session_needs_fresh_proof_and_is_told(
    client: FlaskClient, make_user: Any, sign_in: Any
) -> None:
    sign_in(client, make_user("ann"))
    with clock.travel(timedelta(minutes=11)):
        answer = post(client, "/account/security/totp", {"action": "start"}, page="/account")
        assert answer.location.startswith("/auth/step-up?purpose=account.security")
    enrol(client)
    assert len(mails("A sign-in method was added")) == 1
