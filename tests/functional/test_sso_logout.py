"""Signing out on both sides: we tell the provider, the provider tells us (G5, AT-203)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from joserfc.jwk import RSAKey
from sqlalchemy import select

from app.auth.models import IAMAuthSession, IAMSsoLogoutToken, IAMSsoSession
from app.auth.sso import services_sso_sessions
from app.auth.sso.settings_sso import SsoSettings
from app.auth.sso.userinfo import UserInfo
from app.core import clock
from app.core.db import session, transaction
from app.core.scoping import tenant_scope, unscoped
from app.services_purge import purge_expired
from tests.conftest import post, totp_code
from tests.support import loopback, sso
from tests.support.lying_provider import ABSENT, LOGOUT_EVENT, LyingProvider
from tests.support.settings import changed

RECEIVER = "/auth/sso/peer/backchannel-logout"
SIGNED_OUT = "/auth/signed-out"


@pytest.fixture
def provider(lying_provider):
    return lying_provider


@pytest.fixture
def connection(app, provider):
    return sso.make_connection(app, provider.url, provider_logout=True)


@pytest.fixture
def ann(app, make_user, provider, connection):
    return linked(app, make_user, provider, connection, "ann")


def linked(app, make_user, provider, connection, name):
    person = make_user(name)
    sso.link_identity(app, connection, person.id, UserInfo(provider.issuer, f"sub-{name}"))
    return person


def enter(app, provider, name="ann", slug=sso.SLUG):
    """Return a browser in which somebody is signed in, and the provider's `sid` of that."""
    browser = app.test_client()
    sid = provider.person(sub=f"sub-{name}")["sid"]
    answer = sso.sign_in_through(browser, provider, slug=slug)
    assert answer.headers["Location"] == "/account", answer.text
    return browser, sid


def rows(model):
    session().rollback()
    with unscoped("tests look at every tenant"):
        return list(session().scalars(select(model).order_by(model.id)))


def is_signed_in(client):
    return client.get("/account").status_code == 200


def log_out(client):
    return post(client, "/auth/logout", page="/account")


def send(client, token, path=RECEIVER, **kw):
    return client.post(path, data={"logout_token": token}, **kw)


def refused(answer, status=400):
    assert answer.status_code == status
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.get_json()["error"]
    return True


# ---------------------------------------------------------------- we tell the provider


def test_g5_signing_out_leads_on_to_the_provider(app, provider, ann):
    browser, _sid = enter(app, provider)
    answer = log_out(browser)
    assert answer.status_code == 200  # no redirect: the policy for forms would refuse it
    assert not is_signed_in(browser)
    assert [row.state for row in rows(IAMAuthSession)] == ["revoked"]
    url = sso.refresh_of(answer.text)
    assert url.startswith(f"{provider.at('end_session')}?")
    asked = sso.query_of(url)
    assert asked["client_id"] == provider.client_id
    assert asked["post_logout_redirect_uri"] == f"http://localhost{SIGNED_OUT}"
    assert len(asked["state"]) == 43
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    response, _body = provider.get(url)
    place = sso.path_of(response.headers["Location"])
    assert browser.get(place).status_code == 200
    assert provider.logouts


def test_g5_the_id_token_is_kept_encrypted_and_only_where_it_is_needed(
    app, provider, ann, connection
):
    enter(app, provider)
    (row,) = rows(IAMSsoSession)
    assert row.id_token
    assert "." not in row.id_token
    sso.change_connection(app, connection, provider_logout=False)
    enter(app, provider)
    assert rows(IAMSsoSession)[-1].id_token is None


def test_g5_where_nobody_wants_it_signing_out_stays_here(app, client, provider, ann, connection):
    sso.change_connection(app, connection, provider_logout=False)
    browser, _sid = enter(app, provider)
    assert log_out(browser).headers["Location"] == SIGNED_OUT
    post(client, "/auth/login", {"username": "ann", "password": ann.password})
    assert log_out(client).headers["Location"] == SIGNED_OUT


def test_g5_a_session_that_got_a_second_step_is_ended_there_as_well(
    app, make_user, provider, connection
):
    person = make_user("bob", mfa="totp")
    sso.link_identity(app, connection, person.id, UserInfo(provider.issuer, "sub-bob"))
    browser = app.test_client()
    provider.person(sub="sub-bob")
    sso.sign_in_through(browser, provider)
    post(browser, "/auth/mfa/verify", {"code": totp_code(person.totp_secret)})
    assert sso.refresh_of(log_out(browser).text)


@pytest.mark.parametrize("weather", ["gone", "slow", "nonsense", "without a page", "disabled"])
def test_g5_a_provider_in_trouble_never_hinders_signing_out(
    app, provider, ann, connection, weather, clear_metadata
):
    browser, _sid = enter(app, provider)
    clear_metadata(connection)
    if weather == "gone":
        provider.stop()
    elif weather == "slow":
        provider.answers["discovery"] = loopback.HANGING
    elif weather == "nonsense":
        provider.answers["discovery"] = loopback.NOT_JSON
    elif weather == "without a page":
        provider.lies.discovery = {"end_session_endpoint": ABSENT}
    else:
        sso.change_connection(app, connection, enabled=False)
    with changed(app, SsoSettings, SSO_TIMEOUT_SECONDS=1):
        answer = log_out(browser)
    assert answer.headers["Location"] == SIGNED_OUT
    assert not is_signed_in(browser)
    assert [row.state for row in rows(IAMAuthSession)] == ["revoked"]


@pytest.mark.parametrize("name", ["id_token_hint", "post_logout_redirect_uri", "state"])
def test_g5_a_page_that_brings_our_parameters_is_not_gone_to(
    app, provider, ann, connection, name, clear_metadata
):
    """Of two values nobody could say which one the provider takes."""
    browser, _sid = enter(app, provider)
    clear_metadata(connection)
    place = f"{provider.at('end_session')}?{name}=theirs"
    provider.lies.discovery = {"end_session_endpoint": place}
    assert log_out(browser).headers["Location"] == SIGNED_OUT
    assert not is_signed_in(browser)


def test_no_transaction_is_open_while_a_provider_is_asked_about_a_logout(
    app, client, provider, ann, connection, clear_metadata
):
    """Anybody may send a logout token: a slow provider must not hold the database's pool."""
    token = provider.logout_token(sub="sub-ann")
    clear_metadata(connection)
    session().rollback()
    pool = app.extensions["sqlalchemy"].engine.pool
    before, held = pool.checkedout(), []

    def look(honest):
        held.append(pool.checkedout() - before)
        return honest

    provider.answers["discovery"] = provider.answers["jwks"] = look
    assert send(client, token).status_code == 200
    assert held == [0, 0]


@pytest.fixture
def clear_metadata():
    from app.auth.sso.protocol import metadata

    return lambda connection: metadata.forget(connection.id)


# ---------------------------------------------------------------- the provider tells us


def test_g5_a_logout_token_ends_the_session_that_it_names(app, client, provider, ann, audit_rows):
    first, sid = enter(app, provider)
    second, _other = enter(app, provider)
    answer = send(client, provider.logout_token(sub="sub-ann", sid=sid))
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert not is_signed_in(first)
    assert is_signed_in(second)
    (row,) = audit_rows("SSO_LOGOUT_RECEIVED")
    assert (row.details["count"], row.details["connection"]) == (1, "peer")
    assert "SESSION_REVOKED" in {item.action for item in audit_rows()}


def test_g5_a_subject_alone_ends_all_of_theirs_and_nobody_elses(
    app, client, provider, ann, make_user, connection
):
    linked(app, make_user, provider, connection, "bob")
    first, _sid = enter(app, provider)
    second, _sid = enter(app, provider)
    other, _sid = enter(app, provider, "bob")
    local = app.test_client()
    post(local, "/auth/login", {"username": "ann", "password": ann.password})
    assert send(client, provider.logout_token(sub="sub-ann")).status_code == 200
    assert [is_signed_in(browser) for browser in (first, second, other, local)] == [
        False, False, True, True,
    ]  # fmt: skip


def test_g5_a_session_id_and_a_subject_that_do_not_belong_together_end_nothing(
    app, client, provider, ann, make_user, connection
):
    linked(app, make_user, provider, connection, "bob")
    browser, sid = enter(app, provider)
    assert send(client, provider.logout_token(sub="sub-bob", sid=sid)).status_code == 200
    assert is_signed_in(browser)


def test_g5_a_pending_sign_in_ends_as_well(app, client, provider, make_user, connection):
    person = make_user("bob", mfa="totp")
    sso.link_identity(app, connection, person.id, UserInfo(provider.issuer, "sub-bob"))
    browser = app.test_client()
    provider.person(sub="sub-bob")
    sso.sign_in_through(browser, provider)
    assert send(client, provider.logout_token(sub="sub-bob")).status_code == 200
    assert [row.state for row in rows(IAMAuthSession)] == ["revoked"]
    assert browser.get("/auth/mfa/verify").headers["Location"].startswith("/auth/login")


def test_at_203_a_logout_token_counts_once(app, client, provider, ann, audit_rows):
    _first, sid = enter(app, provider)
    token = provider.logout_token(sid=sid)
    assert send(client, token).status_code == 200
    provider.person(sub="sub-ann", sid=sid)
    browser = app.test_client()
    sso.sign_in_through(browser, provider)
    assert refused(send(client, token))
    assert is_signed_in(browser)
    assert [row.details["reason"] for row in audit_rows("SSO_LOGOUT_REFUSED")] == [
        "logout_token_used"
    ]


LIES = {
    "unsigned": ({"alg": "none"}, {}, "form"),
    "a shared secret": ({"alg": "HS256"}, {}, "alg"),
    "wrong key": ({"key": "stranger"}, {}, "signature"),
    "an ID token's type": ({"header": {"typ": "JWT"}}, {}, "typ"),
    "no type": ({"header": {"typ": ABSENT}}, {}, "typ"),
    "a nonce": ({}, {"nonce": "x"}, "nonce"),
    "no events": ({}, {"events": ABSENT}, "events"),
    "another event": ({}, {"events": {"urn:other": {}}}, "events"),
    "an event that is no object": ({}, {"events": {LOGOUT_EVENT: True}}, "events"),
    "for another": ({}, {"aud": "another"}, "aud"),
    "by another": ({}, {"iss": "https://evil.example"}, "iss"),
    "no jti": ({}, {"jti": ABSENT}, "jti"),
    "nobody": ({}, {"sub": ABSENT, "sid": ABSENT}, "sub"),
    "expired": ({}, {"exp": 1, "iat": 1}, "exp"),
    "no exp": ({}, {"exp": ABSENT}, "exp"),
}


@pytest.mark.parametrize("name", sorted(LIES))
def test_at_203_a_bad_logout_token_ends_nothing(app, client, provider, ann, name, audit_rows):
    lies, claims, what = LIES[name]
    browser, sid = enter(app, provider)
    for attribute, value in lies.items():
        key = RSAKey.generate_key(2048)
        setattr(provider.lies, attribute, key if value == "stranger" else value)
    provider.lies.logout = claims
    assert refused(send(client, provider.logout_token(sub="sub-ann", sid=sid)))
    assert is_signed_in(browser)
    (row,) = audit_rows("SSO_LOGOUT_REFUSED")
    assert row.details["reason"] == f"logout_token_{what}"
    assert rows(IAMSsoLogoutToken) == []


def test_at_203_an_id_token_is_no_logout_token(app, client, provider, ann):
    browser, _sid = enter(app, provider)
    assert refused(send(client, provider.id_token()))
    assert is_signed_in(browser)


@pytest.mark.parametrize("data", [{}, {"logout_token": ""}, {"logout_token": "x"}, {"token": "x"}])
def test_at_203_nonsense_is_told_as_the_specification_says(client, connection, data):
    assert refused(client.post(RECEIVER, data=data))


def test_at_203_a_token_goes_to_the_connection_that_it_is_for(app, client, provider, ann):
    browser, sid = enter(app, provider)
    with LyingProvider() as evil:
        sso.make_connection(app, evil.url, slug="evil")
        token = evil.logout_token(sub="sub-ann", sid=sid)
        assert send(client, token, "/auth/sso/evil/backchannel-logout").status_code == 200
        evil.lies.logout = {"iss": provider.issuer}
        assert refused(send(client, evil.logout_token(sub="sub-ann", sid=sid)))
    assert refused(send(client, "x", "/auth/sso/nothing/backchannel-logout"))
    assert is_signed_in(browser)


def test_at_203_no_cookie_and_no_form_token_is_asked_for_and_none_is_set(
    app, provider, ann, connection
):
    _browser, sid = enter(app, provider)
    server = app.test_client()
    answer = send(server, provider.logout_token(sid=sid), headers={"Origin": provider.url})
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers


def test_a_provider_whose_keys_cannot_be_had_is_asked_to_come_again(
    app, client, provider, ann, connection, clear_metadata
):
    browser, sid = enter(app, provider)
    token = provider.logout_token(sid=sid)
    clear_metadata(connection)
    provider.answers["jwks"] = loopback.BROKEN
    assert refused(send(client, token), 503)
    provider.tell_the_truth()
    clear_metadata(connection)
    assert send(client, token).status_code == 200  # and it was not used up
    assert not is_signed_in(browser)


def test_used_logout_tokens_are_kept_as_long_as_they_would_count(app, client, provider, ann):
    _browser, sid = enter(app, provider)
    send(client, provider.logout_token(sid=sid))
    purge_expired()
    assert len(rows(IAMSsoLogoutToken)) == 1
    with clock.travel(timedelta(minutes=5)):
        purge_expired()
    assert rows(IAMSsoLogoutToken) == []


# ---------------------------------------------------------------- a connection ends


def test_g5_all_sessions_of_a_connection_end_together(
    app, provider, ann, make_user, connection, tenant, actor, audit_rows
):
    linked(app, make_user, provider, connection, "bob")
    first, _sid = enter(app, provider)
    second, _sid = enter(app, provider, "bob")
    local = app.test_client()
    post(local, "/auth/login", {"username": "ann", "password": ann.password})
    with tenant_scope(tenant), transaction():
        ended = services_sso_sessions.end_of_connection(connection.id, actor=actor)
        assert ended == 2
        again = services_sso_sessions.end_of_connection(connection.id, actor=actor)
        assert again == 0
    assert [is_signed_in(browser) for browser in (first, second, local)] == [False, False, True]
    (row,) = audit_rows("SESSION_REVOKED")
    assert (row.details["count"], row.details["reason"]) == (2, "connection_disabled")
