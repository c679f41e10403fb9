"""Off to a provider and back: what binds an answer to its trip, and what goes wrong on one.

G1, G2, F1; AT-066, AT-154 to AT-164, AT-176 to AT-181, AT-200 to AT-202, AT-205.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from app.auth import services_sso
from app.auth.models import IAMAuthSession, IAMSsoFlow, IAMSsoSession, IAMUserIdentity
from app.auth.sessions import services_session_lookup
from app.auth.settings import AuthSettings
from app.auth.sso import services_sso_flow
from app.auth.sso.errors_sso import SsoRefused
from app.auth.sso.services_sso_flow import Flow, Trip
from app.auth.sso.settings_sso import SsoSettings
from app.auth.sso.trips import services_sso_step_up
from app.auth.sso.userinfo import UserInfo
from app.core import clock
from app.core.crypto import token_digest
from app.core.db import session, transaction
from app.core.errors import Forbidden
from app.core.scoping import tenant_scope, unscoped
from app.hooks import Hooks
from app.risk import services_devices
from tests.conftest import csrf_of, post, totp_code
from tests.functional.test_open_redirects import CORPUS
from tests.support import loopback, sso
from tests.support.loopback import Answer
from tests.support.lying_provider import ABSENT, CANCELLED, UNAVAILABLE, LyingProvider
from tests.support.people import load
from tests.support.recovery import change
from tests.support.settings import changed

CALLBACK = "/auth/sso/peer/callback"
SECURITY = "account.security"
STEP_UP = {"purpose": SECURITY, "next": "/account/email"}
LATER = timedelta(minutes=20)
NEXT_ROWS = ["at_154", "at_155", "at_156", "at_157", "at_159", "at_160", "at_161", "at_162",
             "at_163", "at_164"]  # fmt: skip


@pytest.fixture
def provider(lying_provider):
    return lying_provider


@pytest.fixture
def connection(app, provider):
    return sso.make_connection(app, provider.url)


@pytest.fixture
def ann(app, make_user, provider, connection):
    """Return a person with a linked identity, who is signed in at the provider."""
    person = make_user("ann")
    link(app, connection, provider, person, "sub-ann")
    provider.person(sub="sub-ann")
    return person


def link(app, connection, provider, person, sub):
    sso.link_identity(app, connection, person.id, UserInfo(provider.issuer, sub))


def rows(model):
    session().rollback()
    with unscoped("tests look at every tenant"):
        return list(session().scalars(select(model).order_by(model.id)))


def reasons(audit_rows, action="SSO_FAILED"):
    return [row.details.get("reason") for row in audit_rows(action)]


def is_signed_in(client):
    return client.get("/account").status_code == 200


def refused(answer, status=400):
    """Hold that an answer is the page of a failed trip, with a way to go on."""
    assert answer.status_code == status, answer.text
    assert "Location" not in answer.headers
    assert "Try again" in answer.text
    assert "Other ways to sign in" in answer.text or "Back to your account" in answer.text
    return True


# ---------------------------------------------------------------- the trip


def test_g1_a_button_leads_to_the_provider_and_back_to_a_session(client, provider, ann, audit_rows):
    page = client.get("/auth/login").text
    assert 'href="/auth/sso/peer/login"' in page
    assert "Continue with Peer" in page
    answer = sso.sign_in_through(client, provider)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")
    assert is_signed_in(client)
    (row,) = rows(IAMAuthSession)
    assert (row.user_id, row.amr, row.acr) == (ann.id, ["fed"], "aal1")
    assert [item.action for item in audit_rows() if item.action.startswith(("SSO", "LOGIN"))] == [
        "SSO_STARTED", "LOGIN_SUCCEEDED",
    ]  # fmt: skip


def test_g1_the_default_connection_is_the_only_one_or_the_one_that_is_marked(
    app, client, provider, connection
):
    place = client.get("/auth/sso/login").headers["Location"]
    assert place.startswith(provider.at("authorize"))
    with LyingProvider() as other:
        sso.make_connection(app, other.url, slug="second", name="Second")
        choice = client.get("/auth/sso/login?next=/account/sessions")
        assert choice.location == "/auth/login?next=/account/sessions"
        sso.change_connection(app, connection, is_default=True)
        place = client.get("/auth/sso/login").headers["Location"]
    assert place.startswith(provider.at("authorize"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example"},
        {"Forwarded": "host=evil.example"},
        {"X-Forwarded-Proto": "gopher", "X-Forwarded-Prefix": "/evil"},
    ],
)
def test_at_090_the_redirect_uri_comes_from_settings(client, provider, connection, headers):
    """A spoofed header must not have the code sent elsewhere."""
    answer = client.get("/auth/sso/peer/login", headers=headers)
    if answer.status_code == 303:
        asked = sso.query_of(answer.headers["Location"])
        assert asked["redirect_uri"] == f"http://localhost{CALLBACK}"
    else:
        assert answer.status_code == 400
    assert "evil" not in str(answer.headers)


def test_g2_the_request_carries_state_nonce_and_s256_and_keeps_none_of_them(
    client, provider, connection
):
    asked = sso.query_of(sso.start(client))
    assert asked["response_type"] == "code"
    assert asked["redirect_uri"] == f"http://localhost{CALLBACK}"
    assert asked["code_challenge_method"] == "S256"
    (row,) = rows(IAMSsoFlow)
    assert row.state_digest == token_digest(asked["state"])
    assert row.nonce_digest == token_digest(asked["nonce"])
    stored = " ".join(str(value) for value in vars(row).values())
    for secret in ("state", "nonce", "code_challenge"):
        assert len(asked[secret]) == 43
        assert asked[secret] not in stored
    assert "code_verifier" not in asked


def test_at_180_each_trip_has_a_verifier_of_its_own_that_only_the_server_knows(
    client, provider, ann
):
    first, second = sso.start(client), sso.start(client)
    for name in ("state", "nonce", "code_challenge"):
        assert sso.query_of(first)[name] != sso.query_of(second)[name]
    sso.leave_and_return(client, provider, second)
    verifier = provider.last("token").form["code_verifier"]
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert challenge == sso.query_of(second)["code_challenge"]
    assert verifier not in second


def test_next_and_remember_are_honoured_as_for_other_ways_in(client, provider, ann):
    query = {"next": "/account/sessions", "remember": "1"}
    answer = sso.sign_in_through(client, provider, query=query)
    assert answer.headers["Location"] == "/account/sessions"
    (row,) = rows(IAMAuthSession)
    assert row.remember
    assert client.get_cookie("iam_session").max_age is not None


@pytest.mark.parametrize("row", NEXT_ROWS)
def test_at_154_to_at_164_next_leads_nowhere_else(client, provider, ann, row):
    for url in CORPUS[row]:
        answer = client.get("/auth/sso/peer/login", query_string={"next": url})
        assert answer.status_code in {303, 400}
        if answer.status_code == 400:
            continue
        assert answer.headers["Location"].startswith(f"{provider.at('authorize')}?")
        assert "evil" not in answer.headers["Location"]
        assert rows(IAMSsoFlow)[-1].next_url is None
        back = sso.leave_and_return(client, provider, answer.headers["Location"])
        assert back.headers["Location"] == "/account"
        gone = client.get("/auth/sso/peer/login", query_string={"next": url})
        assert gone.headers["Location"] == "/account"
        client.delete_cookie("iam_session")


def test_who_is_signed_in_already_is_not_sent_away(client, provider, ann, sign_in):
    sign_in(client, ann)
    answer = client.get("/auth/sso/peer/login", query_string={"next": "/account/security"})
    assert answer.headers["Location"] == "/account/security"
    assert rows(IAMSsoFlow) == []


def test_a_flood_of_trips_does_not_fill_the_table(client, provider, ann):
    urls = [sso.start(client) for _ in range(services_sso_flow.MOST_LIVE + 5)]
    assert len(rows(IAMSsoFlow)) == services_sso_flow.MOST_LIVE
    assert refused(sso.leave_and_return(client, provider, urls[0]))
    assert sso.leave_and_return(client, provider, urls[-1]).status_code == 303


def test_an_unknown_or_disabled_connection_is_not_there(app, client, provider, connection):
    url = sso.start(client)
    sso.change_connection(app, connection, enabled=False)
    assert "Continue with Peer" not in client.get("/auth/login").text
    for path in ("/auth/sso/peer/login", "/auth/sso/nothing/login", "/auth/sso/nothing/callback"):
        assert client.get(path).status_code == 404
    answer = sso.leave_and_return(client, provider, url)
    assert answer.status_code == 404
    assert provider.requests["token"] == 0


# ---------------------------------------------------------------- what binds an answer


def test_at_176_a_callback_without_a_state_of_ours_is_refused(client, provider, ann, audit_rows):
    callback = sso.path_of(provider.authorize(sso.start(client)))
    code = sso.query_of(callback)["code"]
    for query in ({"code": code}, {"code": code, "state": ""}, {"code": code, "state": "x" * 43}):
        assert refused(client.get(CALLBACK, query_string=query))
    assert provider.requests["token"] == 0
    assert not is_signed_in(client)
    assert reasons(audit_rows) == ["state_unknown"] * 3


def test_at_176_another_browser_cannot_end_the_trip(app, client, provider, ann, audit_rows):
    """Login CSRF: the attacker's own answer, in the victim's browser; and the reverse."""
    callback = sso.path_of(provider.authorize(sso.start(client)))
    victim = app.test_client()
    victim.get("/auth/login")
    assert refused(victim.get(callback))
    assert refused(app.test_client().get(callback))
    assert provider.requests["token"] == 0
    assert reasons(audit_rows) == ["other_browser"] * 2
    assert client.get(callback).headers["Location"] == "/account"  # and it was not used up


def test_at_178_a_callback_is_good_once(client, provider, ann, audit_rows):
    callback = sso.path_of(provider.authorize(sso.start(client)))
    assert client.get(callback).status_code == 303
    assert refused(client.get(callback))
    assert provider.requests["token"] == 1
    assert reasons(audit_rows) == ["state_used"]
    assert is_signed_in(client)


def test_at_178_a_refused_answer_uses_the_trip_up_too(client, provider, ann, audit_rows):
    """The state is committed as used before anything else is looked at."""
    callback = sso.path_of(provider.authorize(sso.start(client)))
    state = sso.query_of(callback)["state"]
    assert refused(client.get(CALLBACK, query_string={"state": state, "error": "access_denied"}))
    assert refused(client.get(callback))
    assert reasons(audit_rows) == ["sso.cancelled", "state_used"]
    assert provider.requests["token"] == 0


def test_at_178_a_trip_ends_in_time(client, provider, ann, audit_rows):
    callback = sso.path_of(provider.authorize(sso.start(client)))
    minutes = SsoSettings.current().SSO_FLOW_MINUTES
    with clock.travel(timedelta(minutes=minutes, seconds=1)):
        assert refused(client.get(callback))
    assert reasons(audit_rows) == ["state_expired"]


def test_at_179_a_nonce_that_is_wrong_or_of_another_trip_is_refused(
    client, provider, ann, audit_rows
):
    other = sso.query_of(sso.start(client))["nonce"]
    for nonce in (ABSENT, "x" * 43, other):
        provider.lies.claims = {"nonce": nonce}
        assert refused(sso.sign_in_through(client, provider))
    assert set(reasons(audit_rows)) == {"id_token_nonce"}
    assert not is_signed_in(client)


def test_at_181_the_answer_of_another_provider_is_refused(app, client, ann, provider, audit_rows):
    """Mix-up: a code of A at the callback of B, and B's answer that names A."""
    with LyingProvider() as evil:
        sso.make_connection(app, evil.url, slug="evil", name="Evil")
        callback = sso.path_of(provider.authorize(sso.start(client)))
        query = sso.query_of(callback)
        assert refused(client.get("/auth/sso/evil/callback", query_string=query))
        started = sso.query_of(sso.start(client, "evil"))
        mixed = {**query, "state": started["state"]}
        assert refused(client.get("/auth/sso/evil/callback", query_string=mixed))
        assert evil.requests["token"] == provider.requests["token"] == 0
    assert reasons(audit_rows) == ["other_connection", "iss"]


@pytest.mark.parametrize("iss", [ABSENT, "", "https://evil.example", "{}/", "{}x"])
def test_at_181_iss_is_there_and_exact(client, provider, ann, iss, audit_rows):
    told = iss if iss is ABSENT else iss.format(provider.issuer)
    provider.lies.authorize = {"iss": told}
    assert refused(sso.sign_in_through(client, provider))
    assert provider.requests["token"] == 0
    assert reasons(audit_rows) == ["iss_missing" if iss is ABSENT else "iss"]


def test_at_201_a_code_counts_once_whoever_brings_it(app, client, provider, ann, audit_rows):
    callback = sso.path_of(provider.authorize(sso.start(client)))
    assert client.get(callback).status_code == 303
    thief = app.test_client()
    state = sso.query_of(sso.start(thief))["state"]
    stolen = {**sso.query_of(callback), "state": state}
    assert refused(thief.get(CALLBACK, query_string=stolen))
    assert reasons(audit_rows) == ["invalid_grant"]


@pytest.mark.parametrize("pkce", [True, False])
def test_at_202_a_stolen_code_is_of_no_use_in_another_trip(
    app, client, provider, ann, audit_rows, pkce
):
    """The code is the victim's by PKCE, and by the nonce where a provider forgets that."""
    stolen = sso.query_of(provider.authorize(sso.start(client)))
    thief = app.test_client()
    asked = sso.query_of(sso.start(thief))
    if not pkce:
        provider._grants[stolen["code"]].challenge = asked["code_challenge"]
    assert refused(thief.get(CALLBACK, query_string={**stolen, "state": asked["state"]}))
    assert not is_signed_in(thief)
    assert reasons(audit_rows) == ["invalid_grant" if pkce else "id_token_nonce"]


@pytest.mark.parametrize("name", ["access_token", "id_token", "token_type", "response"])
def test_at_205_tokens_in_the_address_are_refused(client, provider, ann, name, audit_rows):
    provider.lies.authorize = {name: "x"}
    assert refused(sso.sign_in_through(client, provider))
    assert provider.requests["token"] == 0
    assert reasons(audit_rows) == ["response_type"]


def test_at_205_an_answer_that_comes_in_another_mode_is_refused(
    app, client, provider, ann, audit_rows
):
    asked = sso.start(client)
    assert "response_mode" not in sso.query_of(asked)
    posted = provider.authorize_post(f"{asked}&response_mode=form_post")
    answer = app.test_client().post(CALLBACK, data=posted.fields)
    assert answer.status_code == 303
    assert refused(client.get(answer.headers["Location"]))
    assert provider.requests["token"] == 0
    assert reasons(audit_rows) == ["code_missing"]


def test_parameters_that_come_twice_or_are_too_long_are_refused(client, provider, ann, audit_rows):
    callback = sso.path_of(provider.authorize(sso.start(client)))
    state = sso.query_of(callback)["state"]
    assert client.get(f"{callback}&state={state}").status_code == 400
    assert client.get(f"{callback}&code=x").status_code == 400
    for name, length in (("state", 129), ("code", 4097), ("iss", 501), ("error", 129)):
        query = {**sso.query_of(callback), name: "x" * length}
        assert refused(client.get(CALLBACK, query_string=query))
    assert reasons(audit_rows) == ["too_long"] * 4
    assert client.get(callback).status_code == 303


def test_a_code_is_asked_for_before_the_provider_is(client, provider, ann, audit_rows):
    provider.lies.authorize = {"code": ABSENT}
    assert refused(sso.sign_in_through(client, provider))
    assert reasons(audit_rows) == ["code_missing"]
    assert provider.requests["token"] == 0


# ---------------------------------------------------------------- bad weather


@pytest.mark.parametrize(
    "error", ["access_denied", "user_cancelled", "login_required", "consent_required"]
)
def test_who_cancels_is_told_so(client, provider, ann, error, audit_rows):
    provider.lies.authorize = {**CANCELLED, "error": error, "error_description": "<b>no</b>"}
    answer = sso.sign_in_through(client, provider, query={"next": "/account/sessions"})
    assert refused(answer)
    assert "cancelled" in answer.text
    assert "<b>no" not in answer.text  # AT-153
    assert "/auth/sso/peer/login?next=/account/sessions" in answer.text
    assert "/auth/login?next=/account/sessions" in answer.text
    assert reasons(audit_rows) == ["sso.cancelled"]


def test_another_error_is_no_cancelling(client, provider, ann, audit_rows):
    provider.lies.authorize = {**CANCELLED, "error": "unauthorized_client"}
    assert refused(sso.sign_in_through(client, provider))
    provider.lies.authorize = UNAVAILABLE
    assert refused(sso.sign_in_through(client, provider), 503)
    assert reasons(audit_rows) == ["provider_error", "temporarily_unavailable"]


BAD_ANSWERS = {
    "html": (loopback.HTML, 503),
    "not JSON": (loopback.NOT_JSON, 503),
    "empty": (loopback.EMPTY, 503),
    "broken": (loopback.BROKEN, 503),
    "huge": (loopback.HUGE, 503),
    "deep": (loopback.DEEP, 503),
    "dropped": (loopback.DROPPED, 503),
    "hanging": (loopback.HANGING, 503),
    "a list": (Answer(200, []), 503),
    "a refusal": (loopback.oauth_error("invalid_grant"), 400),
}


@pytest.mark.parametrize("endpoint", ["discovery", "token", "jwks"])
@pytest.mark.parametrize("name", sorted(set(BAD_ANSWERS) - {"a refusal"}))
def test_a_provider_that_is_down_slow_or_talks_nonsense_is_a_page(
    app, client, provider, ann, audit_rows, endpoint, name
):
    bad, status = BAD_ANSWERS[name]
    provider.answers[endpoint] = bad
    with changed(app, SsoSettings, SSO_TIMEOUT_SECONDS=1):
        answer = client.get("/auth/sso/peer/login")
        if endpoint != "discovery":
            answer = sso.leave_and_return(client, provider, answer.headers["Location"])
    assert refused(answer, status)
    assert answer.headers["Retry-After"]
    assert len(audit_rows("SSO_FAILED")) == 1
    assert not is_signed_in(client)
    provider.tell_the_truth()


def test_a_provider_that_is_gone_is_a_page(client, provider, ann, audit_rows):
    callback = sso.path_of(provider.authorize(sso.start(client)))
    provider.stop()
    answer = client.get(callback)
    assert refused(answer, 503)
    assert reasons(audit_rows) == ["unreachable"]


def test_a_refused_code_and_a_wrong_key_are_pages(client, provider, ann, audit_rows):
    provider.answers["token"] = loopback.oauth_error("invalid_grant")
    assert refused(sso.sign_in_through(client, provider))
    provider.tell_the_truth()
    provider.lies.signature = lambda data: bytes(len(data))
    assert refused(sso.sign_in_through(client, provider))
    assert reasons(audit_rows) == ["invalid_grant", "id_token_signature"]


def test_a_clock_that_is_off_by_a_minute_is_forgiven_and_no_more(client, provider, ann):
    url = sso.start(client)
    with clock.travel(timedelta(seconds=-55)):
        callback = sso.path_of(provider.authorize(url))
    assert client.get(callback).status_code == 303
    client.delete_cookie("iam_session")
    at = int(clock.now().timestamp())
    provider.lies.claims = {"iat": at + 90, "exp": at + 300}
    assert refused(sso.sign_in_through(client, provider))


def test_nothing_of_a_trip_stays_in_the_audit_trail_or_on_the_page(
    client, provider, ann, audit_rows, caplog
):
    callback = sso.path_of(provider.authorize(sso.start(client)))
    asked = sso.query_of(callback)
    provider.lies.claims = {"aud": "another"}
    answer = client.get(callback)
    secrets = [asked["code"], asked["state"], provider.client_secret]
    secrets += [provider.last("token").form["code_verifier"]]
    told = " ".join(f"{row.details} {row.error} {row.changes}" for row in audit_rows())
    for secret in secrets:
        assert secret not in answer.text
        assert secret not in told
        assert secret not in caplog.text
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_programs_get_a_problem_document(client, provider, connection):
    answer = client.get(f"{CALLBACK}?state=x", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.get_json()["type"]) == (400, "urn:iam:sso.refused")


# ---------------------------------------------------------------- the gate decides


def test_a_suspended_account_is_told_as_little_as_any_other_refusal(
    client, provider, ann, audit_rows
):
    callback = sso.path_of(provider.authorize(sso.start(client)))
    change(ann, status="suspended")
    answer = client.get(callback)
    assert refused(answer)
    assert "could not be completed" in answer.text
    assert [row.details["reason"] for row in audit_rows("LOGIN_FAILED")] == ["account_status"]
    assert rows(IAMAuthSession) == []


def test_a_refused_sign_in_changes_nothing_and_says_nothing_happened(
    app, client, provider, connection, audit_rows, monkeypatch
):
    """What was recorded on the way to the gate did not happen: it is not kept as evidence."""

    class Closed(Hooks):
        def may_sign_in(self, user):
            raise Forbidden

    sso.change_connection(app, connection, jit="open")
    monkeypatch.setattr(app.extensions["iam"], "hooks", Closed())
    person = {"sub": "new", "email": "new@example.com", "email_verified": True}
    answer = sso.sign_in_through(client, provider, **person)
    assert refused(answer, 403)
    assert rows(IAMUserIdentity) == rows(IAMAuthSession) == []
    assert audit_rows("SSO_ACCOUNT_CREATED") == audit_rows("IDENTITY_LINKED") == []
    assert [row.error for row in audit_rows("LOGIN_FAILED")] == ["auth.forbidden"]


def test_j2_the_limit_of_sessions_holds(app, client, provider, ann, audit_rows):
    policies = {"end_user": {"max_sessions": 1}}
    with changed(app, AuthSettings, SESSION_LIMIT_ACTION="refuse", IAM_SESSION_POLICIES=policies):
        assert sso.sign_in_through(client, provider).status_code == 303
        answer = sso.sign_in_through(app.test_client(), provider)
    assert refused(answer, 401)
    assert "too many devices" in answer.text
    assert [row.details["reason"] for row in audit_rows("LOGIN_FAILED")] == ["session_limit"]


@pytest.mark.parametrize(
    ("trusted", "claims", "done"),
    [
        (False, {"amr": ["pwd", "otp", "mfa"], "acr": "gold"}, False),
        (True, {"amr": ["mfa"]}, True),
        (True, {"amr": ["pwd", "otp"]}, True),
        (True, {"amr": ["hwk", "fpt"]}, True),
        (True, {"amr": ["pwd"]}, False),
        (True, {"amr": ["sms", "otp"]}, False),
        (True, {"amr": ["otp"]}, False),
        (True, {"acr": "gold"}, True),
        (True, {"acr": "silver"}, False),
        (True, {}, False),
    ],
)
def test_at_200_a_providers_factors_count_where_it_is_trusted_and_says_so(
    app, client, provider, connection, make_user, trusted, claims, done
):
    options = {"mfa_acr": "gold platinum"}
    sso.change_connection(app, connection, trusts_mfa=trusted, options=options)
    person = make_user("ann", mfa="totp", actor_type="tenant_admin", roles=["tenant_admin"])
    link(app, connection, provider, person, "sub-ann")
    answer = sso.sign_in_through(client, provider, sub="sub-ann", **claims)
    assert answer.headers["Location"] == ("/account" if done else "/auth/mfa/verify")
    (row,) = rows(IAMAuthSession)
    assert (row.amr, row.acr) == ((["fed", "mfa"], "aal2") if done else (["fed"], "aal1"))


def test_a_second_step_keeps_the_session_of_the_trip(app, client, provider, connection, make_user):
    """The row that logout goes by names the session, whose token changes and whose id stays."""
    person = make_user("ann", mfa="totp")
    link(app, connection, provider, person, "sub-ann")
    sso.sign_in_through(client, provider, sub="sub-ann")
    answer = post(client, "/auth/mfa/verify", {"code": totp_code(person.totp_secret)})
    assert answer.headers["Location"] == "/account"
    (through,), (row,) = rows(IAMSsoSession), rows(IAMAuthSession)
    assert through.session_id == row.id
    assert row.state == "active"


def test_at_200_a_sign_in_is_as_old_as_the_provider_says(client, provider, ann):
    """A provider that let somebody through without asking gives no fresh proof."""
    then = int((clock.now() - timedelta(hours=2)).timestamp())
    sso.sign_in_through(client, provider, sub="sub-ann", auth_time=then)
    change(ann, password_hash=None)
    (row,) = rows(IAMAuthSession)
    assert int(row.auth_time.timestamp()) == then
    assert "/auth/step-up" in client.get("/account/email").headers["Location"]


def test_a_connection_that_was_disabled_meanwhile_lets_nobody_in(
    app, client, provider, ann, audit_rows
):
    """Between the look at the connection and the session: the row is held and asked again."""
    connection = sso.value_of_slug(app)
    callback = sso.path_of(provider.authorize(sso.start(client)))

    def disable(answer):
        sso.change_connection(app, connection, enabled=False)
        return answer

    provider.answers["token"] = disable
    assert refused(client.get(callback))
    assert reasons(audit_rows) == ["connection_disabled"]
    assert rows(IAMAuthSession) == []


# ---------------------------------------------------------------- e-mail first


@pytest.fixture
def domain(app, connection):
    sso.add_domain(app, "corp.example", connection)


def test_g4_an_address_leads_to_the_connection_of_its_domain(
    client, provider, domain, ann, audit_rows
):
    page = client.get("/auth/login", query_string={"next": "/account/sessions"}).text
    assert "Work e-mail" in page
    form = {"email": "Ann@CORP.example", "next": "/account/sessions"}
    answer = post(client, "/auth/sso/discover", form, page="/auth/login")
    assert answer.status_code == 200  # no redirect: the policy for forms would refuse it
    assert "Location" not in answer.headers
    url = sso.refresh_of(answer.text)
    assert sso.query_of(url)["login_hint"] == "Ann@CORP.example"
    back = sso.leave_and_return(client, provider, url)
    assert back.headers["Location"] == "/account/sessions"


def test_at_154_next_of_the_address_form_leads_nowhere_else(client, provider, domain):
    for url in ("//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)"):
        form = {"email": "ann@corp.example", "next": url}
        assert post(client, "/auth/sso/discover", form, page="/auth/login").status_code == 200
        assert rows(IAMSsoFlow)[-1].next_url is None


def test_g4_an_unknown_domain_is_told_the_same_with_and_without_an_account(
    client, domain, make_user
):
    make_user("bob", email="bob@elsewhere.example")
    said = []
    for email in ("bob@elsewhere.example", "zoe@elsewhere.example", "x@corp.example.evil.example"):
        answer = post(client, "/auth/sso/discover", {"email": email}, page="/auth/login")
        assert answer.status_code == 422
        said.append(answer.text.replace(email, "").replace(csrf_of(answer.text), ""))
    assert len(set(said)) == 1
    assert "Use another way" in said[0]
    assert 'name="password"' in said[0]


@pytest.mark.parametrize(
    "email",
    ["", "@corp.example", "ann", "ann@", "a" * 300 + "@corp.example", "a\u202e@corp.example"],
)
def test_g4_what_is_no_address_leads_nowhere(client, domain, email):
    answer = post(client, "/auth/sso/discover", {"email": email}, page="/auth/login")
    assert answer.status_code in {400, 422}
    assert rows(IAMSsoFlow) == []


def test_g4_an_unproved_domain_and_one_of_another_tenant_lead_nowhere(
    app, client, provider, connection, other_tenant
):
    sso.add_domain(app, "unproved.example", connection, verified=False)
    theirs = sso.make_connection(app, provider.url, tenant_id=other_tenant)
    sso.add_domain(app, "theirs.example", theirs)
    assert "Work e-mail" not in client.get("/auth/login").text
    for email in ("a@unproved.example", "a@theirs.example"):
        answer = post(client, "/auth/sso/discover", {"email": email}, page="/auth/login")
        assert answer.status_code == 422
        assert "Use another way" in answer.text


def test_the_sign_in_page_renders_while_the_database_is_away(app, client, connection, monkeypatch):
    from sqlalchemy.exc import OperationalError

    from app.auth.sso import services_connections

    def away():
        raise OperationalError("select", {}, Exception("gone away"))

    monkeypatch.setattr(services_connections, "offered", away)
    answer = client.get("/auth/login")
    assert answer.status_code == 200
    assert "Continue with" not in answer.text


# ---------------------------------------------------------------- form post


@pytest.fixture
def posting(app, provider, connection, monkeypatch):
    """Let the generic provider ask for a form post, as Apple does."""
    from app.auth.providers import providers

    oidc = providers().get("oidc")
    honest = oidc.authorize_params
    monkeypatch.setattr(
        type(oidc), "authorize_params",
        lambda _self, connection: {**honest(connection), "response_mode": "form_post"},
    )  # fmt: skip
    return connection


def posted(provider, client):
    page = provider.authorize_post(sso.start(client))
    assert urlsplit(page.action).path == CALLBACK
    return page.fields


def test_g1_a_posted_answer_comes_without_cookies_and_is_taken_up_by_the_browser(
    app, client, provider, posting, ann
):
    fields = posted(provider, client)
    elsewhere = app.test_client()
    headers = {"Origin": provider.url, "Sec-Fetch-Site": "cross-site"}
    answer = elsewhere.post(CALLBACK, data=fields, headers=headers)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"{CALLBACK}?state={fields['state']}"
    assert "Set-Cookie" not in answer.headers  # it would replace the browser's own
    assert provider.requests["token"] == 0
    assert refused(elsewhere.get(answer.headers["Location"]))
    assert client.get(answer.headers["Location"]).headers["Location"] == "/account"


def test_a_posted_answer_of_a_test_is_kept_before_the_connection_is_enabled(
    app, client, provider, posting, ann, sign_in, tenant, actor
):
    sso.change_connection(app, posting, enabled=False)
    sign_in(client, ann)
    (row,) = rows(IAMAuthSession)
    browser = services_devices.read_cookie(client.get_cookie("iam_device").value).digest
    with tenant_scope(tenant):
        url = services_sso.begin(
            posting, purpose="test", browser=browser, next_url="/admin", user_id=ann.id,
            session_id=row.id, actor=actor,
        )  # fmt: skip
    page = provider.authorize_post(url)
    answer = client.get(app.test_client().post(CALLBACK, data=page.fields).headers["Location"])
    flow = rows(IAMSsoFlow)[-1]
    assert answer.headers["Location"] == f"/admin?test={flow.id}"
    with tenant_scope(tenant):
        report = services_sso_flow.report_of(flow.id, row.id)
        assert (report["steps"], report["failed"]) == (list(services_sso.STEPS), None)
        assert report["person"]["subject"] == "sub-ann"
        assert services_sso_flow.report_of(flow.id, ann.id) is None
    assert rows(IAMSsoSession) == []


def test_a_posted_answer_counts_once_and_the_first_one(app, client, provider, posting, ann):
    fields = posted(provider, client)
    elsewhere = app.test_client()
    elsewhere.post(CALLBACK, data=fields)
    answer = elsewhere.post(CALLBACK, data={**fields, "code": "attackers"})
    assert client.get(answer.headers["Location"]).headers["Location"] == "/account"
    assert provider.last("token").form["code"] == fields["code"]


def test_a_posted_answer_is_kept_encrypted(app, client, provider, posting, ann):
    fields = posted(provider, client)
    app.test_client().post(CALLBACK, data=fields)
    (row,) = rows(IAMSsoFlow)
    assert row.answer
    assert fields["code"] not in row.answer


def test_at_205_a_code_in_the_address_is_refused_where_a_form_post_was_asked_for(
    app, client, provider, posting, ann, audit_rows
):
    fields = posted(provider, client)
    assert refused(client.get(CALLBACK, query_string=fields))
    fields = posted(provider, client)
    app.test_client().post(CALLBACK, data=fields)
    assert refused(client.get(CALLBACK, query_string=fields))
    assert reasons(audit_rows) == ["response_mode"] * 2
    assert provider.requests["token"] == 0


def test_a_post_of_nonsense_changes_nothing(app, client, provider, posting, ann):
    elsewhere = app.test_client()
    for data in ({}, {"state": "x"}, {"state": "x" * 200, "code": "x"}, {"code": "y" * 5000}):
        answer = elsewhere.post(CALLBACK, data=data)
        assert answer.status_code == 303
        assert answer.headers["Location"].startswith(f"{CALLBACK}?state=")
        assert refused(client.get(answer.headers["Location"]))
    twice = "state=a&state=b"
    kind = "application/x-www-form-urlencoded"
    assert elsewhere.post(CALLBACK, data=twice, content_type=kind).status_code == 400


# ---------------------------------------------------------------- fresh proof


@pytest.fixture
def stale(client, provider, ann):
    """Return a session through the provider that is too old for anything sensitive."""
    sso.sign_in_through(client, provider, sub="sub-ann")
    change(ann, password_hash=None)
    with clock.travel(LATER):
        yield client


def asking(client, query=STEP_UP):
    return client.get("/auth/step-up", query_string=query)


def step_up(client):
    page = asking(client)
    assert "Confirm with Peer" in page.text, page.text
    data = {**STEP_UP, "csrf_token": csrf_of(page.text)}
    answer = client.post("/auth/sso/peer/step-up", data=data)
    assert answer.status_code == 200, answer.text
    return sso.refresh_of(answer.text)


def is_fresh(client):
    return client.get("/account/email").status_code == 200


def test_f1_who_has_nothing_else_confirms_through_the_provider(stale, provider, ann, audit_rows):
    assert not is_fresh(stale)
    before = stale.get_cookie("iam_session").value
    url = step_up(stale)
    asked = sso.query_of(url)
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    answer = sso.leave_and_return(stale, provider, url)
    assert answer.headers["Location"] == "/account/email"
    assert is_fresh(stale)
    assert stale.get_cookie("iam_session").value != before
    (row,) = audit_rows("STEP_UP_SUCCEEDED")
    assert (row.details["method"], row.details["acr"]) == ("fed", "aal1")


def test_at_066_another_accounts_identity_is_no_proof(
    app, stale, provider, connection, make_user, audit_rows
):
    link(app, connection, provider, make_user("bob"), "sub-bob")
    url = step_up(stale)
    for sub in ("sub-bob", "nobody"):
        provider.person(sub=sub)
        answer = sso.leave_and_return(stale, provider, url)
        assert refused(answer)
        assert "not the one linked to yours here" in answer.text
        url = step_up(stale)
    assert reasons(audit_rows) == ["other_identity"] * 2
    assert len(audit_rows("STEP_UP_FAILED")) == 2
    assert not is_fresh(stale)


def test_at_066_the_answer_belongs_to_the_session_that_set_out(
    app, stale, provider, ann, audit_rows, make_user, sign_in
):
    """The same browser, meanwhile another session: of somebody else, or none."""
    callback = sso.path_of(provider.authorize(step_up(stale)))
    again = sso.path_of(provider.authorize(step_up(stale)))
    post(stale, "/auth/logout", page="/account")
    assert refused(stale.get(callback))
    sign_in(stale, make_user("bob"))
    assert refused(stale.get(again))
    assert reasons(audit_rows) == ["session_gone", "other_session"]
    assert audit_rows("STEP_UP_SUCCEEDED") == []
    assert provider.requests["token"] == 1  # of the sign-in


@pytest.mark.parametrize("when", [ABSENT, -90, -3600, 3600, True, "now"])
def test_at_200_auth_time_must_be_there_and_on_the_trip(stale, provider, ann, when, audit_rows):
    at = int(clock.now().timestamp())
    told = at + when if isinstance(when, int) and when is not True else when
    provider.lies.claims = {"auth_time": told}
    assert refused(sso.leave_and_return(stale, provider, step_up(stale)))
    assert reasons(audit_rows) == ["id_token_auth_time"]
    assert not is_fresh(stale)


def test_at_200_a_long_look_at_the_providers_page_is_no_reason_to_refuse(stale, provider, ann):
    """What counts is the time since the person set out, not since they signed in there."""
    url = step_up(stale)
    provider.lies.claims = {"auth_time": int(clock.now().timestamp())}
    with clock.travel(timedelta(minutes=5)):  # they read what the provider asks of them
        answer = sso.leave_and_return(stale, provider, url)
        assert answer.headers["Location"] == "/account/email"


def test_at_200_a_provider_that_ignores_the_question_gives_no_proof(
    stale, connection, provider, ann, tenant, actor, audit_rows
):
    """Whatever its plug-in made of `max_age`: the time is looked at here again."""
    step_up(stale)
    (row,) = [row for row in rows(IAMSsoFlow) if row.purpose == "step_up"]
    at = row.created_at
    person = services_session_lookup.find(stale.get_cookie("iam_session").value, None)
    trip = Trip(
        connection.id, "step_up", row.browser_digest, None, False, person.user_id,
        person.session_id, SECURITY,
    )  # fmt: skip
    flow = Flow(row.id, trip, b"", "", at)
    skew = timedelta(seconds=SsoSettings.current().SSO_CLOCK_SKEW_SECONDS)
    with tenant_scope(tenant):
        for auth_time in (None, at - skew - LATER, at + skew + LATER):
            info = UserInfo(provider.issuer, "sub-ann", auth_time=auth_time)
            with pytest.raises(SsoRefused) as refusal:
                services_sso_step_up.prove(connection, flow, info, person, actor=actor)
            assert refusal.value.reason == "not_fresh"
        info = UserInfo(provider.issuer, "sub-ann", auth_time=at)
        assert services_sso_step_up.prove(connection, flow, info, person, actor=actor).complete


def test_f1_a_purpose_that_wants_two_factors_is_met_by_a_trusted_provider_only(
    app, stale, provider, connection, ann, audit_rows
):
    admin = {"purpose": "admin.users", "next": "/account"}
    page = asking(stale, admin)
    assert page.status_code == 303  # add a factor first
    token = csrf_of(asking(stale).text)
    answer = stale.post("/auth/sso/peer/step-up", data={**admin, "csrf_token": token})
    assert answer.status_code == 404
    sso.change_connection(app, connection, trusts_mfa=True)
    for amr, done in ((["pwd"], False), (["pwd", "otp"], True)):
        provider.person(sub="sub-ann", amr=amr)
        answer = stale.post("/auth/sso/peer/step-up", data={**admin, "csrf_token": token})
        back = sso.leave_and_return(stale, provider, sso.refresh_of(answer.text))
        assert back.status_code == (303 if done else 400)
    assert reasons(audit_rows) == ["too_weak"]
    (row,) = audit_rows("STEP_UP_SUCCEEDED")
    assert row.details["acr"] == "aal2"


def test_f1_who_has_a_factor_or_a_password_shows_that(app, client, provider, ann, make_user):
    sso.sign_in_through(client, provider, sub="sub-ann")
    token = csrf_of(client.get("/account").text)
    with clock.travel(LATER):
        assert "Confirm with Peer" not in asking(client).text
        data = {"purpose": SECURITY, "csrf_token": token}
        assert client.post("/auth/sso/peer/step-up", data=data).status_code == 404


@pytest.mark.parametrize("kind", ["github", "facebook", "apple"])
def test_f1_providers_that_tell_no_time_are_not_offered(app, stale, connection, kind):
    sso.change_connection(app, connection, provider=kind)
    page = asking(stale)
    assert "Confirm with" not in page.text
    assert page.status_code == 303


# ---------------------------------------------------------------- linking and testing


def test_at_143_a_trip_to_link_ends_in_the_session_that_began_it(
    app, client, provider, connection, make_user, sign_in, audit_rows
):
    person = make_user("ann")
    sign_in(client, person)
    provider.person(sub="new")
    form = {"connection": "peer"}
    page = "/account/security"
    urls = []
    for _ in range(3):
        answer = post(client, "/account/security/identities/link", form, page=page)
        assert answer.status_code == 200
        urls.append(sso.refresh_of(answer.text))
    post(client, "/auth/logout", page="/account")
    assert refused(sso.leave_and_return(client, provider, urls[0]))
    sign_in(client, make_user("bob"))
    assert refused(sso.leave_and_return(client, provider, urls[1]))
    client.delete_cookie("iam_session")
    sign_in(client, person)
    assert refused(sso.leave_and_return(client, provider, urls[2]))  # a session of the same person
    assert rows(IAMUserIdentity) == []
    assert reasons(audit_rows) == ["session_gone", "other_session", "other_session"]


def test_g3_a_trip_to_link_adds_the_identity(client, provider, connection, make_user, sign_in):
    person = make_user("ann")
    sign_in(client, person)
    provider.person(sub="new")
    form, page = {"connection": "peer"}, "/account/security"
    answer = post(client, "/account/security/identities/link", form, page=page)
    back = sso.leave_and_return(client, provider, sso.refresh_of(answer.text))
    assert back.headers["Location"] == "/account/security"
    (row,) = rows(IAMUserIdentity)
    assert (row.user_id, row.subject) == (person.id, "new")


def test_g3_an_identity_waits_for_its_accounts_owner(app, client, provider, ann, make_user, tenant):
    """In this browser, for a while, once; and encrypted."""
    make_user("bob", email="bob@example.com")
    answer = sso.sign_in_through(
        client, provider, sub="new", email="bob@example.com", email_verified=True, name="Bob Secret"
    )
    assert answer.headers["Location"] == "/auth/sso/link"
    assert not is_signed_in(client)
    (row,) = rows(IAMSsoFlow)
    assert "Secret" not in row.answer
    browser = row.browser_digest
    with tenant_scope(tenant):
        found = services_sso_flow.pending_of(browser)
        assert (found.info.subject, found.info.name) == ("new", "Bob Secret")
        assert services_sso_flow.pending_of(b"x" * 32) is None
        with clock.travel(timedelta(minutes=SsoSettings.current().SSO_LINK_MINUTES, seconds=1)):
            assert services_sso_flow.pending_of(browser) is None
        with transaction():
            take = services_sso_flow.take_pending
            assert take(found.flow_id, browser, load(ann.id).id) is None
            assert take(found.flow_id, b"x" * 32, found.user_id) is None
            assert take(found.flow_id, browser, found.user_id) is not None
            assert take(found.flow_id, browser, found.user_id) is None
