"""Signing in by a link or code over HTTP (C7), and the attacks on it."""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from sqlalchemy import event

from app.auth.mfa.settings_mfa import MfaSettings
from app.auth.models import IAMActionToken, IAMAuthSession
from app.auth.passwords import services_stand_in
from app.auth.settings import AuthSettings
from app.auth.sign_in import settings_sign_in
from app.auth.sign_in.settings_sign_in import SignInSettings
from app.core import clock
from app.core.actor import system_actor
from app.core.db import session, transaction
from app.core.scoping import tenant_scope
from app.notify.messages import SMS
from app.notify.models import PENDING, IAMOutbox
from app.notify.services_caps import check_send_caps
from app.notify.settings import NotifySettings
from app.tenancy import services_settings
from tests.conftest import PASSWORD, csrf_of, post, totp_code
from tests.support.mailbox import code_to, link_to, messages, wrong
from tests.support.people import add_channel, load, rows_of
from tests.support.settings import changed

ASK, CODE, LINK = "/auth/login/link", "/auth/login/code", "/auth/login/link/"
ANN, PHONE = "ann@example.com", "+12025550123"
ON = {
    "SIGN_IN_LINK_ENABLED": True,
    "SIGN_IN_CODE_EMAIL_ENABLED": True,
    "SIGN_IN_CODE_SMS_ENABLED": True,
}


@pytest.fixture
def ways(app):
    """Switch every way on."""
    with changed(app, SignInSettings, **ON):
        yield


@pytest.fixture
def ann(ways, scoped, make_user):
    person = make_user("ann")
    with transaction():
        user = load(person.id)
        user.phone_number, user.phone_verified = PHONE, True
    return person


def ask(client, name="ann", channel="email", **more):
    return post(client, ASK, {"username": name, "channel": channel, **more})


def type_code(client, code, name="ann", channel="email"):
    return post(client, CODE, {"username": name, "channel": channel, "code": code}, page=ASK)


def follow(client, link):
    return post(client, link)


def link():
    return link_to(ANN, LINK)


def test_c7_switched_off_nothing_is_there(client, make_user):
    make_user("ann")
    assert "/auth/login/link" not in client.get("/auth/login").text
    token = csrf_of(client.get("/auth/login").text)
    form = {"username": "ann", "code": "123456", "channel": "email", "csrf_token": token}
    assert client.get(ASK).status_code == 404
    for url in (ASK, CODE, f"{LINK}x"):
        assert client.post(url, data=form).status_code == 404
    assert messages() == []


@pytest.mark.parametrize(
    ("setting", "channel", "label"),
    [
        ("SIGN_IN_LINK_ENABLED", "email", "E-mail me a sign-in link"),
        ("SIGN_IN_CODE_EMAIL_ENABLED", "email", "E-mail me a sign-in code"),
        ("SIGN_IN_CODE_SMS_ENABLED", "sms", "Text me a code"),
    ],
)
def test_c7_each_way_is_switched_on_by_itself(app, client, make_user, setting, channel, label):
    make_user("ann")
    other = "sms" if channel == "email" else "email"
    with changed(app, SignInSettings, **{setting: True}):
        assert label in client.get("/auth/login").text
        assert client.get(f"{ASK}?channel={channel}").status_code == 200
        assert client.get(f"{ASK}?channel={other}").status_code == 404
        assert client.get(f"{ASK}?channel=fax").status_code == 404


def test_c7_a_tenant_switches_its_own(app, client, tenant):
    with tenant_scope(tenant), transaction():
        services_settings.override(
            {"SIGN_IN_LINK_ENABLED": True}, actor=system_actor(tenant, "tests")
        )
    try:
        assert client.get(ASK).status_code == 200
    finally:
        with tenant_scope(tenant), transaction():
            services_settings.override(
                {"SIGN_IN_LINK_ENABLED": None}, actor=system_actor(tenant, "tests")
            )
    assert client.get(ASK).status_code == 404


def test_c7_a_link_signs_in_with_one_factor(client, ann, audit_rows):
    page = ask(client)
    assert "Check your e-mail" in page.text
    assert follow(client, link()).headers["Location"] == "/account"
    assert client.get("/account").status_code == 200
    (row,) = audit_rows("LOGIN_SUCCEEDED")
    assert (row.details["amr"], row.details["acr"]) == (["email"], "aal1")
    assert len(audit_rows("SIGN_IN_LINK_REQUESTED")) == 1


def test_c7_a_code_signs_in_with_one_factor(client, ann, audit_rows):
    ask(client, ANN)
    code = code_to(ANN)
    answer = type_code(client, f" {code[:3]} {code[3:]} ", ANN)
    assert answer.headers["Location"] == "/account"
    (row,) = audit_rows("LOGIN_SUCCEEDED")
    assert (row.details["amr"], row.details["acr"]) == (["email"], "aal1")


def test_c7_a_texted_code_signs_in_with_one_factor(client, ann, audit_rows):
    assert "Check your phone" in ask(client, channel="sms").text
    (text,) = messages(PHONE)
    assert LINK not in text["body"]
    assert type_code(client, code_to(PHONE), channel="sms").status_code == 303
    assert audit_rows("LOGIN_SUCCEEDED")[0].details["amr"] == ["sms"]


def test_c7_link_and_code_of_one_mail_are_one_use(app, client, ann):
    ask(client)
    (mail,) = messages(ANN)
    assert code_to(ANN) in mail["body"]
    used = link()
    assert follow(client, used).status_code == 303
    assert client.get(used).status_code == 404
    assert follow_again(client, used).status_code == 404
    assert type_code(app.test_client(), code_to(ANN)).status_code == 401


def follow_again(client, url):
    return post(client, url, page="/account")


def test_c7_only_what_is_on_is_in_the_mail(app, client, make_user):
    make_user("ann")
    with changed(app, SignInSettings, SIGN_IN_LINK_ENABLED=True):
        page = ask(client)
        assert 'name="code"' not in page.text
        assert not re.search(r"\b\d{6}\b", messages(ANN)[0]["body"])
        assert type_code(client, "123456").status_code == 404
    with (
        clock.travel(timedelta(minutes=2)),
        changed(app, SignInSettings, SIGN_IN_CODE_EMAIL_ENABLED=True),
    ):
        ask(client)
        assert LINK not in messages(ANN)[0]["body"]


def test_c7_a_link_and_a_code_die_after_ten_minutes(client, ann):
    ask(client)
    with clock.travel(timedelta(minutes=11)):
        assert client.get(link()).status_code == 404
        assert type_code(client, code_to(ANN)).status_code == 401


def test_c7_where_one_wanted_to_go_and_staying_signed_in_come_along(client, ann):
    ask(client, next="/account/security", remember_me="y")
    answer = follow(client, link())
    assert answer.headers["Location"] == "/account/security"
    cookie = next(
        value for value in answer.headers.getlist("Set-Cookie") if value.startswith("iam_session")
    )
    assert "Max-Age=" in cookie


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/", "/\\evil.example"])
def test_at_110_no_way_out_to_another_site(client, ann, target):
    ask(client, next=target)
    assert follow(client, link()).headers["Location"] == "/account"


def test_c7_the_sms_request_of_a_signed_in_person_leads_on(client, ann, sign_in):
    sign_in(client, ann)
    assert client.get(ASK).headers["Location"] == "/account"


# The same answer and the same work for everybody


def suspended(user):
    user.status = "suspended"


def unverified(user):
    user.email_verified = user.phone_verified = False


def without_address(user):
    user.email = user.email_canonical = user.phone_number = None


def with_factor(user):
    add_channel(user, "email_otp")
    add_channel(user, "whatsapp_otp")


UNFIT = [suspended, unverified, without_address, with_factor]


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_at_011_the_answer_is_the_same_for_everybody(app, make_user, ann, channel):
    answers = set()
    for number, change in enumerate([None, *UNFIT]):
        name = f"person{number}"
        person = make_user(name)
        with transaction():
            user = load(person.id)
            user.phone_number, user.phone_verified = f"+1202555011{number}", True
            session().flush()
        if change is not None:
            with transaction():
                change(load(person.id))
        answers.add(answer_of(app, name, channel))
    for name in ("nobody", "nobody@example.com", "x" * 200, "a\u0131n"):
        answers.add(answer_of(app, name, channel))
    assert len(answers) == 1
    expected = {"email": "person0@example.com", "sms": "+12025550110"}[channel]
    assert [item["to"] for item in messages()] == [expected]


def answer_of(app, name, channel):
    page = ask(app.test_client(), name, channel)
    cookies = tuple(value.split("=")[0] for value in page.headers.getlist("Set-Cookie"))
    typed_apart = re.sub(r'value="[^"]*"', "", page.text)
    return page.status_code, page.headers.get("Location"), cookies, typed_apart


def statements_of(app, work) -> list[str]:
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_more):
        seen.append(statement.split()[0])

    engine = app.extensions["sqlalchemy"].engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return ["END" if verb in {"RELEASE", "ROLLBACK"} else verb for verb in seen]


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_at_012_at_018_asking_costs_the_same_for_everybody(app, make_user, ann, channel):
    eve = make_user("eve")
    with transaction():
        suspended(load(eve.id))
    with changed(app, NotifySettings, IAM_OUTBOX_MODE="worker"):
        client = app.test_client()
        ask(client, "warm-up", channel)
        names = ("ann", "eve", "nobody")
        costs = [statements_of(app, lambda n=n: ask(client, n, channel)) for n in names]
        assert costs[0] == costs[1] == costs[2]
        again = [statements_of(app, lambda n=n: ask(client, n, channel)) for n in names]
        assert again[0] == again[1] == again[2]  # within the pause between two
        with clock.travel(timedelta(minutes=2)):
            for _ in range(5):
                ask(app.test_client(), "ann", channel)
            capped = [statements_of(app, lambda n=n: ask(client, n, channel)) for n in names[:2]]
            assert capped[0] == capped[1]
    assert costs[0].count("INSERT") >= 4
    # Queued, not sent: the answer does not wait for a mail server.
    assert {row.status for row in rows_of(IAMOutbox)} == {PENDING}


def test_at_012_a_wrong_code_costs_about_the_same_for_nobody(app, ann):
    client = app.test_client()
    ask(client)
    type_code(client, "000000", "warm-up")
    real = statements_of(app, lambda: type_code(client, wrong(code_to(ANN))))
    nobody = statements_of(app, lambda: type_code(client, "000000", "nobody"))
    assert abs(len(real) - len(nobody)) <= 4
    assert abs(real.count("UPDATE") - nobody.count("UPDATE")) <= 1


@pytest.mark.parametrize("name", ["m\u0131ke@example.org", "mi\u212ae@example.org"])
def test_at_095_at_096_it_goes_to_the_stored_address_alone(client, ways, make_user, name):
    make_user("mike", email="mike@example.org")
    ask(client, name)
    ask(client, "mike@example.org,evil@example.com")
    assert messages() == []
    ask(client, "MIKE@EXAMPLE.ORG")
    assert [item["to"] for item in messages()] == ["mike@example.org"]


@pytest.mark.parametrize("name", ["a\x00nn", "a\x1bnn", "ann\x7f"])
def test_at_019_control_characters_are_refused(client, ann, name):
    assert ask(client, name).status_code == 400
    assert type_code(client, "123456", name).status_code == 400
    assert type_code(client, name).status_code == 400
    assert messages() == []


@pytest.mark.parametrize("raw", ["ann%FF", "ann%ED%A0%80", "%C3"])
def test_at_019_broken_text_is_nobodys_name(client, ann, raw):
    form = urlencode({"channel": "email", "csrf_token": csrf_of(client.get(ASK).text)})
    kind = "application/x-www-form-urlencoded"
    answer = client.post(ASK, data=f"{form}&username={raw}", content_type=kind)
    assert answer.status_code in {200, 400}
    assert messages() == []


# Guessing


def test_at_010_switching_between_password_and_code_gives_no_more_guesses(client, ann):
    ask(client)
    code = code_to(ANN)
    for _ in range(3):
        assert type_code(client, wrong(code)).status_code == 401
    for _ in range(2):
        answer = post(client, "/auth/login", {"username": ANN, "password": "wrong"})
        assert answer.status_code == 401
    # Under either name and by either way no sixth is checked, the right ones included; the
    # counter of the account works in silence, those of the typed names show.
    right = {"username": "ann", "password": PASSWORD}
    assert type_code(client, code).status_code == 401
    assert post(client, "/auth/login", right).status_code == 401
    assert type_code(client, code, ANN).status_code == 401
    assert type_code(client, code).status_code == 429
    assert post(client, "/auth/login", right).status_code == 429
    assert client.get("/account").status_code == 303


def test_at_010_a_known_browser_counts_both_ways_together_too(client, ann, sign_in):
    sign_in(client, ann)
    post(client, "/auth/logout", page="/account")
    ask(client)
    code = code_to(ANN)
    answers = [type_code(client, wrong(code)).status_code for _ in range(3)]
    answers += [
        post(client, "/auth/login", {"username": "ann", "password": "x"}).status_code
        for _ in range(2)
    ]
    assert answers == [401] * 5
    assert type_code(client, code).status_code == 429


@pytest.mark.parametrize("status", ["locked", "suspended", "disabled", "pending_verification"])
def test_at_010_an_account_that_may_not_act_is_refused_at_redemption(
    client, ann, audit_rows, status
):
    ask(client)
    used, code = link(), code_to(ANN)
    with transaction():
        load(ann.id).status = status
    assert follow(client, used).status_code == 404
    assert type_code(client, code).status_code == 401
    assert rows_of(IAMAuthSession) == []
    assert [row.details["reason"] for row in audit_rows("LOGIN_FAILED")] == ["account_status"] * 2


def test_at_034_a_code_dies_after_five_tries(client, ann, audit_rows):
    ask(client)
    code = code_to(ANN)
    assert [type_code(client, wrong(code)).status_code for _ in range(5)] == [401] * 5
    assert type_code(client, code).status_code == 429
    with clock.travel(timedelta(minutes=3)):
        assert type_code(client, code).status_code == 401
    assert {row.details["reason"] for row in audit_rows("LOGIN_FAILED")} == {"wrong_code"}
    assert client.get("/account").status_code == 303


def test_at_035_a_new_code_brings_no_new_tries(client, ann):
    ask(client)
    codes = [type_code(client, wrong(code_to(ANN))).status_code for _ in range(5)]
    with clock.travel(timedelta(seconds=10)):
        ask(client)
        codes.append(type_code(client, wrong(code_to(ANN))).status_code)
    assert codes == [401] * 5 + [429]


def test_at_043_a_code_works_in_the_browser_that_asked_and_for_its_person(
    app, client, ann, make_user
):
    make_user("bob")
    ask(client)
    code = code_to(ANN)
    thief = app.test_client()
    assert type_code(thief, code).status_code == 401
    ask(thief, "bob")
    assert type_code(thief, code, "bob").status_code == 401
    assert type_code(client, code).status_code == 303


def test_at_045_only_the_newest_works(client, ann):
    ask(client)
    first_link, first_code = link(), code_to(ANN)
    with clock.travel(timedelta(minutes=2)):
        ask(client)
        assert link() != first_link
        assert client.get(first_link).status_code == 404
        if code_to(ANN) != first_code:
            assert type_code(client, first_code).status_code == 401
        assert follow(client, link()).status_code == 303


def test_at_100_a_link_is_256_bits_and_a_code_six_digits(client, ann):
    ask(client)
    assert len(link().removeprefix(LINK)) == 43
    assert re.fullmatch(r"\d{6}", code_to(ANN))


def test_at_094_only_digests_are_stored(app, client, ann):
    ask(client)
    token, code = link().removeprefix(LINK), code_to(ANN)
    stored = repr(
        [
            [getattr(row, column.key) for column in IAMActionToken.__table__.columns]
            for row in rows_of(IAMActionToken)
        ]
    )
    assert token not in stored
    assert code not in stored


# Links


def test_at_101_looking_at_a_link_does_not_use_it(app, client, ann):
    ask(client)
    for browser in (app.test_client(), client):
        for _ in range(2):
            browser.get(link())
            browser.head(link())
    assert follow(client, link()).status_code == 303


def test_at_111_a_link_opened_in_another_browser_signs_nobody_in(app, client, ann, audit_rows):
    ask(client)
    other = app.test_client()
    page = other.get(link())
    assert page.status_code == 403
    assert "another browser" in page.text
    assert "code from the same message" in page.text
    assert post(other, link(), page=ASK).status_code == 403
    assert other.get("/account").status_code == 303
    assert audit_rows("LOGIN_FAILED")[0].details["reason"] == "other_browser"
    assert follow(client, link()).status_code == 303


def test_at_111_signing_in_by_a_link_needs_a_form_of_our_own(client, ann):
    ask(client)
    assert client.post(link()).status_code == 403
    assert client.get("/account").status_code == 303


def test_at_093_pages_with_a_secret_in_the_address_send_no_referrer(app, client, ann):
    ask(client)
    pages = [client.get(link()), app.test_client().get(link()), client.get(f"{LINK}unknown")]
    assert [page.status_code for page in pages] == [200, 403, 404]
    assert {page.headers["Referrer-Policy"] for page in pages} == {"no-referrer"}


def test_at_090_the_host_of_a_link_comes_from_settings(client, ann):
    token = csrf_of(client.get(ASK).text)
    client.post(
        ASK,
        data={"username": "ann", "channel": "email", "csrf_token": token},
        headers={"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"},
    )
    assert "evil.example" not in messages(ANN)[0]["body"]
    assert link()


def test_a_link_opens_nothing_but_its_own_page(client, ann):
    ask(client)
    token = link().removeprefix(LINK)
    assert client.get(f"/auth/password/reset/{token}").status_code == 404
    assert client.get(f"/auth/email/undo/{token}").status_code == 404


# What else a sign-in needs


def test_at_073_the_second_factor_is_still_asked_for(client, ways, make_user):
    person = make_user("ann", mfa="totp")
    ask(client)
    assert follow(client, link()).headers["Location"] == "/auth/mfa/verify"
    assert client.get("/account").headers["Location"] == "/auth/mfa/verify"
    answer = post(client, "/auth/mfa/verify", {"code": totp_code(person.totp_secret)})
    assert answer.headers["Location"] == "/account"


@pytest.mark.parametrize("way", ["link", "code"])
def test_at_073_who_must_have_a_second_factor_enrols_one(client, ways, make_user, way):
    make_user("ann", roles=["tenant_admin"], actor_type="tenant_admin")
    ask(client)
    answer = follow(client, link()) if way == "link" else type_code(client, code_to(ANN))
    assert answer.headers["Location"] == "/auth/mfa/enrol"
    assert client.get("/admin").status_code == 303


def test_at_056_one_channel_is_not_both_factors(client, ann):
    ask(client)
    used, code = link(), code_to(ANN)
    add_channel(load(ann.id), "email_otp")
    assert follow(client, used).status_code == 404
    assert type_code(client, code).status_code == 401
    # By text message the same person still signs in, and then shows the mail code.
    with clock.travel(timedelta(minutes=2)):
        ask(client, channel="sms")
        answer = type_code(client, code_to(PHONE), channel="sms")
        assert answer.headers["Location"].startswith("/auth/mfa/")


def test_at_104_a_new_address_kills_what_went_to_the_old_one(app, client, ann, sign_in):
    ask(client)
    used, code = link(), code_to(ANN)
    own = app.test_client()
    sign_in(own, ann)
    post(own, "/account/email", {"email": "new@example.org"})
    answer = post(own, "/account/email", {"code": code_to("new@example.org")})
    assert answer.status_code == 303
    assert client.get(used).status_code == 404
    assert type_code(client, code).status_code == 401


def test_c5_the_limit_of_sessions_holds(app, client, ann):
    ask(client)
    with changed(
        app,
        AuthSettings,
        SESSION_LIMIT_ACTION="refuse",
        IAM_SESSION_POLICIES={"end_user": {"max_sessions": 1}},
    ):
        other = app.test_client()
        post(other, "/auth/login", {"username": "ann", "password": PASSWORD})
        page = follow(client, link())
        assert page.status_code == 401
        assert "too many devices" in page.text
        assert type_code(client, code_to(ANN)).status_code == 401
        post(other, "/auth/logout", page="/account")
        assert follow(client, link()).status_code == 303


def test_j3_the_cookie_of_the_browser_stays_what_binds(client, ann, sign_in):
    """A generation of the device cookie that was renewed meanwhile is the same browser."""
    sign_in(client, ann)
    post(client, "/auth/logout", page="/account")
    ask(client)
    assert follow(client, link()).status_code == 303


@pytest.mark.parametrize("countries", [("AT",), ("*",), ("NZ", "US")])
def test_at_012_the_stand_in_has_a_number_that_may_be_written_to(app, tenant, countries):
    actor = system_actor(tenant, "tests")
    with changed(app, NotifySettings, IAM_SMS_COUNTRIES=countries), tenant_scope(tenant):
        number = services_stand_in.account(actor).phone_number
        assert check_send_caps(SMS, number, actor) == number


def test_c7_a_code_page_loaded_again_leads_to_where_one_is_asked_for(app, client):
    with changed(app, SignInSettings, SIGN_IN_CODE_EMAIL_ENABLED=True):
        answer = client.get(CODE)
    assert (answer.status_code, answer.headers["Location"]) == (303, ASK)


def loaded(values):
    sections = (SignInSettings, NotifySettings, AuthSettings, MfaSettings)
    return SimpleNamespace(settings={section: section.load(values, {}) for section in sections})


@pytest.mark.parametrize(
    ("on", "off", "found"),
    [
        ("SIGN_IN_LINK_ENABLED", "MAIL_PROVIDER", {"iam.E551"}),
        ("SIGN_IN_CODE_EMAIL_ENABLED", "MAIL_PROVIDER", {"iam.E551"}),
        ("SIGN_IN_CODE_SMS_ENABLED", "SMS_PROVIDER", {"iam.E552"}),
        ("SIGN_IN_CODE_SMS_ENABLED", "MAIL_PROVIDER", set()),
    ],
)
def test_v1_a_way_that_can_send_nothing_is_found_at_the_start(on, off, found):
    findings = settings_sign_in.check(loaded({on: True, off: "none"}))
    assert {finding.id for finding in findings} == found


NEW_DEVICE = {"end_user": {"mfa_on_new_device": True}}


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({"EMAIL_VERIFICATION_REQUIRED": True}, 1),
        ({"IAM_SESSION_POLICIES": NEW_DEVICE}, 1),
        ({"IAM_SESSION_POLICIES": NEW_DEVICE, "MFA_DEFAULT_POLICY": "required"}, 0),
        ({"MFA_REQUIRED_ACTOR_TYPES": ()}, 1),  # a super administrator confirms new devices
        ({}, 0),
    ],
)
def test_v1_a_confirmation_that_nobody_can_receive_is_found_at_the_start(values, count):
    unsent = settings_sign_in.check(loaded({**values, "MAIL_PROVIDER": "none"}))
    assert [finding.id for finding in unsent] == ["iam.E553"] * count
    assert not list(settings_sign_in.check(loaded({**values, "MAIL_PROVIDER": "smtp"})))
