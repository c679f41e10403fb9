"""Accounts made in wait for their victim (AT-210 to AT-215), over HTTP with a real provider.

Sudhodanan and Paverd, "Pre-hijacked Accounts" (USENIX Security 2022): an attacker makes or
uses an account with somebody else's address, and waits for them to come.
"""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from app.auth.accounts import services_accounts
from app.auth.models import (
    IAMActionToken,
    IAMMfaMethod,
    IAMSsoFlow,
    IAMUserAccount,
    IAMUserIdentity,
    IAMUserRole,
    IAMWebauthnCredential,
)
from app.auth.sso import services_identities, services_role_rules
from app.auth.sso.userinfo import UserInfo
from app.authz import services_rbac as rbac
from app.core.db import session, transaction
from tests.conftest import PASSWORD, csrf_of, post
from tests.support import passkeys, sso
from tests.support.authenticator import Authenticator
from tests.support.lying_provider import LyingProvider
from tests.support.mailbox import code_to, link_to, messages
from tests.support.people import load, rows_of
from tests.support.recovery import change

VICTIM = "victim@example.com"
NEW_PASSWORD = "violet ladder under seven moons"
SECURITY = "/account/security"
PENDING = "pending_verification"


@pytest.fixture
def provider():
    with LyingProvider() as found:
        yield found


@pytest.fixture
def connection(app, scoped, provider):
    found = sso.make_connection(app, provider.url, jit="open")
    session().rollback()
    return found


@pytest.fixture
def planted(scoped, make_user):
    """Return an account with the victim's address that the attacker has the password of."""
    return make_user("planted", email=VICTIM, email_verified=False)


@pytest.fixture
def attacker(app, planted, sign_in):
    """Return the attacker's browser, signed in to it."""
    browser = app.test_client()
    sign_in(browser, planted)
    return browser


def arrive(app, provider, sub="victim", email=VICTIM, **said):
    """Sign in through the provider in a new browser; return that browser and the answer."""
    browser = app.test_client()
    said.setdefault("email_verified", True)
    return browser, sso.sign_in_through(browser, provider, sub=sub, email=email, **said)


def reset_password(app):
    """Take the account over by mail, as the victim; return their browser, signed in."""
    browser = app.test_client()
    post(browser, "/auth/password/forgot", {"username": VICTIM})
    form = {"password": NEW_PASSWORD, "password_confirm": NEW_PASSWORD}
    answer = post(browser, link_to(VICTIM, "/auth/password/reset/"), form)
    assert answer.status_code == 303, answer.text
    answer = post(browser, "/auth/login", {"username": VICTIM, "password": NEW_PASSWORD})
    assert answer.status_code == 303, answer.text
    return browser


def is_inside(browser):
    return browser.get("/account").status_code == 200


def accounts():
    session().rollback()
    return {user.username: user for user in session().scalars(select(IAMUserAccount))}


# ---------------------------------------------------------------- class 1: classic-federated merge


def test_at_210_an_account_nobody_verified_gives_way_and_is_not_merged(
    app, provider, connection, make_user, actor, audit_rows
):
    waiting = make_user(
        "planted", email=VICTIM, email_verified=False, status=PENDING, mfa="totp", roles=["editor"]
    )
    attacker = app.test_client()
    post(attacker, "/auth/login", {"username": "planted", "password": PASSWORD})
    browser, answer = arrive(app, provider)
    assert answer.status_code == 303
    assert is_inside(browser)
    victim = accounts()["victim"]
    assert victim.id != waiting.id
    assert (victim.email, victim.email_verified, victim.password_hash) == (VICTIM, True, None)
    assert rbac.roles_of(victim) == []
    assert rows_of(IAMMfaMethod) == []
    assert load(waiting.id).status == "erased"
    assert load(waiting.id).email is None
    (row,) = audit_rows("USER_DELETED")
    assert (row.resource_id, row.details["by"]) == (waiting.id, "sso:peer")
    data = {"username": VICTIM, "password": PASSWORD}
    assert post(app.test_client(), "/auth/login", data).status_code == 401
    assert attacker.get("/auth/verify").status_code == 303


def test_at_210_an_account_in_use_is_not_merged_either(app, provider, connection, attacker):
    browser, answer = arrive(app, provider)
    assert answer.headers["Location"] == "/auth/sso/link"
    assert not is_inside(browser)
    assert rows_of(IAMUserIdentity) == []
    assert is_inside(attacker)
    assert accounts()["planted"].email_verified is False


def test_at_210_nobody_gives_way_where_nobody_would_come_in(app, provider, connection, make_user):
    waiting = make_user("planted", email=VICTIM, email_verified=False, status=PENDING)
    sso.change_connection(app, connection, jit="off")
    session().rollback()
    _browser, answer = arrive(app, provider)
    assert answer.status_code == 403
    assert load(waiting.id).status == PENDING


def test_at_210_nobody_gives_way_to_an_unproved_address(app, provider, connection, make_user):
    waiting = make_user("planted", email=VICTIM, email_verified=False, status=PENDING)
    arrive(app, provider, email_verified=False)
    assert (load(waiting.id).status, load(waiting.id).email) == (PENDING, VICTIM)


# ---------------------------------------------------------------- class 2: unexpired session


def test_at_211_every_session_ends_with_a_reset(app, attacker, planted):
    assert is_inside(attacker)
    victim = reset_password(app)
    assert is_inside(victim)
    assert not is_inside(attacker)


def test_at_211_every_other_session_ends_with_the_first_verification(app, attacker, planted,
                                                                     sign_in):  # fmt: skip
    owner = app.test_client()
    sign_in(owner, planted)
    post(owner, "/account/email", {"email": VICTIM})
    assert post(owner, "/account/email", {"code": code_to(VICTIM)}).status_code == 303
    assert load(planted.id).email_verified is True
    assert is_inside(owner)
    assert not is_inside(attacker)


def test_at_211_sign_ins_under_way_end_too(app, make_user):
    make_user("planted", email=VICTIM, email_verified=False, status=PENDING)
    attacker, owner = app.test_client(), app.test_client()
    form = {"username": "planted", "password": PASSWORD}
    for browser in (attacker, owner):
        assert "/verify" in post(browser, "/auth/login", form).headers["Location"]
    post(owner, "/auth/verify/send", page="/auth/verify")
    assert post(owner, "/auth/verify", {"code": code_to(VICTIM)}).status_code == 303
    assert is_inside(owner)
    assert attacker.get("/auth/verify").headers["Location"].startswith("/auth/login")


# ---------------------------------------------------------------- class 3: trojan identifier


def test_at_212_nothing_can_be_planted_before_the_address_is_proved(
    app, attacker, provider, connection
):
    answer = post(attacker, f"{SECURITY}/identities/link", {"connection": "peer"}, page=SECURITY)
    assert "confirm your e-mail address first" in attacker.get(answer.headers["Location"]).text
    asked = passkeys.send(attacker, "register/options")
    assert asked.status_code == 403
    assert asked.get_json()["type"] == "urn:iam:account.email_unverified"
    phone = post(attacker, "/account/phone", {"phone_number": "+12025550123"})
    assert phone.status_code == 422
    post(attacker, f"{SECURITY}/totp", {"action": "start"}, page=SECURITY)
    for table in (IAMUserIdentity, IAMWebauthnCredential, IAMMfaMethod, IAMSsoFlow):
        assert rows_of(table) == []
    assert accounts()["planted"].phone_number is None


@pytest.mark.parametrize("proof", ["reset", "page", "sign-in"])
def test_at_212_what_was_planted_all_the_same_goes_with_the_first_proof(
    app, provider, connection, planted, sign_in, actor, audit_rows, proof
):
    """Linked while it had another address, say, which an administrator has changed since."""
    change(planted, email=None, email_canonical=None)
    with transaction():
        said = UserInfo(issuer=provider.issuer, subject="attacker")
        services_identities.link(
            load(planted.id), said, connection, linked_by="account", actor=actor
        )
    change(planted, email=VICTIM, email_canonical=VICTIM)
    trojan = app.test_client()
    sso.sign_in_through(trojan, provider, sub="attacker")
    assert is_inside(trojan)
    prove(app, planted, sign_in, proof)
    assert rows_of(IAMUserIdentity) == []
    assert not is_inside(trojan)
    assert [row.details["reason"] for row in audit_rows("IDENTITY_UNLINKED")] == ["address proved"]
    assert any("A way to sign in was removed" in item["subject"] for item in messages(VICTIM))
    again, _answer = arrive(app, provider, sub="attacker", email="attacker@evil.example")
    assert accounts()["attacker"].id != planted.id
    assert is_inside(again)


def prove(app, planted, sign_in, how):
    if how == "reset":
        reset_password(app)
        return
    owner = app.test_client()
    if how == "page":
        sign_in(owner, planted)
        post(owner, "/account/email", {"email": VICTIM})
        assert post(owner, "/account/email", {"code": code_to(VICTIM)}).status_code == 303
        return
    change(planted, status=PENDING)
    post(owner, "/auth/login", {"username": "planted", "password": PASSWORD})
    post(owner, "/auth/verify/send", page="/auth/verify")
    assert post(owner, "/auth/verify", {"code": code_to(VICTIM)}).status_code == 303


def test_at_212_a_reset_of_a_proved_address_leaves_its_owners_identities(
    app, provider, connection, make_user, actor
):
    ann = make_user("ann", email=VICTIM)
    with transaction():
        said = UserInfo(issuer=provider.issuer, subject="own")
        services_identities.link(load(ann.id), said, connection, linked_by="account", actor=actor)
    reset_password(app)
    assert len(rows_of(IAMUserIdentity)) == 1


def test_at_212_a_passkey_of_the_discarded_account_opens_nothing(
    app, provider, connection, make_user, sign_in, scoped
):
    waiting, device = make_user("planted", email=VICTIM), Authenticator()
    attacker = app.test_client()
    sign_in(attacker, waiting)
    assert passkeys.register(attacker, device).status_code == 200
    change(waiting, status=PENDING, email_verified=False, last_login_at=None)
    browser, _answer = arrive(app, provider)
    assert is_inside(browser)
    assert passkeys.sign_in(app.test_client(), device).status_code == 401


def test_at_212_an_identity_added_with_a_changed_address_locks_the_disputed_account(
    app, provider, connection, make_user, sign_in, actor
):
    """Whose mailbox it was before cannot tell whose identity that is: an administrator looks."""
    owner, thief = make_user("ann", email=VICTIM), app.test_client()
    sign_in(thief, owner)
    post(thief, "/account/email", {"email": "thief@evil.example"})
    post(thief, "/account/email", {"code": code_to("thief@evil.example")})
    with transaction():
        said = UserInfo(issuer=provider.issuer, subject="thief")
        services_identities.link(load(owner.id), said, connection, linked_by="account", actor=actor)
    post(app.test_client(), link_to(VICTIM, "/auth/email/undo/"))
    assert load(owner.id).status == "locked"
    assert not is_inside(thief)
    trojan, _answer = arrive(app, provider, sub="thief", email="thief@evil.example")
    assert not is_inside(trojan)


# ---------------------------------------------------------------- class 4: unexpired e-mail change


def test_at_213_a_pending_change_of_address_dies_with_a_reset(app, attacker, planted):
    post(attacker, "/account/email", {"email": "attacker@evil.example"})
    code = code_to("attacker@evil.example")
    token = csrf_of(attacker.get("/account/email").text)
    reset_password(app)
    attacker.post("/account/email", data={"code": code, "csrf_token": token})
    assert accounts()["planted"].email == VICTIM
    assert rows_of(IAMActionToken) == [] or all(
        row.consumed_at is not None for row in rows_of(IAMActionToken)
    )


def test_at_213_it_dies_with_the_first_verification(app, attacker, planted, sign_in):
    post(attacker, "/account/email", {"email": "attacker@evil.example"})
    prove(app, planted, sign_in, "sign-in")
    assert [row for row in rows_of(IAMActionToken) if row.consumed_at is None] == []
    assert not is_inside(attacker)


def test_at_213_a_trip_to_link_an_identity_dies_too(app, provider, connection, planted, sign_in):
    """The same wait, by another road: an identity that comes back after the victim came."""
    change(planted, email_verified=True)
    browser = app.test_client()
    sign_in(browser, planted)
    page = post(browser, f"{SECURITY}/identities/link", {"connection": "peer"}, page=SECURITY)
    url = re.search(r'content="0;url=([^"]+)"', page.text).group(1).replace("&amp;", "&")
    change(planted, email_verified=False)
    reset_password(app)
    provider.person(sub="attacker", email="attacker@evil.example", email_verified=True)
    assert sso.leave_and_return(browser, provider, url).status_code == 400
    assert rows_of(IAMUserIdentity) == []


# ---------------------------------------------------------------- class 5: non-verifying provider


def test_at_214_a_provider_that_verifies_nothing_opens_nobodys_account(
    app, provider, connection, make_user
):
    victim = make_user("victim", email=VICTIM)
    for said in (False, None, "true", 1):
        browser, _answer = arrive(app, provider, sub=f"a-{said}", email_verified=said)
        assert "Nothing waits to be linked" in browser.get("/auth/sso/link").text
    identities = rows_of(IAMUserIdentity)
    assert victim.id not in {row.user_id for row in identities}
    assert [user.email for user in accounts().values()].count(VICTIM) == 1
    assert load(victim.id).email == VICTIM


def test_at_214_an_unproved_address_proves_its_mailbox_before_anything(app, provider, connection):
    attacker, answer = arrive(app, provider, sub="attacker", email_verified=False)
    assert "/auth/verify" in answer.headers["Location"]
    assert not is_inside(attacker)
    assert accounts()["victim"].status == PENDING
    owner, answer = arrive(app, provider, sub="owner")
    assert is_inside(owner)
    kept = [user for user in accounts().values() if user.email == VICTIM]
    assert len(kept) == 1
    assert [row.subject for row in rows_of(IAMUserIdentity)] == ["owner"]
    assert attacker.get("/auth/verify").status_code == 303
    assert not is_inside(attacker)


def test_at_214_who_reads_the_mailbox_goes_on_with_their_identity(app, provider, connection):
    owner, _answer = arrive(app, provider, email_verified=False)
    post(owner, "/auth/verify/send", page="/auth/verify")
    assert post(owner, "/auth/verify", {"code": code_to(VICTIM)}).status_code == 303
    assert is_inside(owner)
    (row,) = rows_of(IAMUserIdentity)
    assert (load(row.user_id).status, load(row.user_id).email_verified) == ("active", True)
    again, _answer = arrive(app, provider, email_verified=False)
    assert is_inside(again)


# ---------------------------------------------------------------- AT-215


def test_at_215_an_unverified_account_has_no_role_and_no_organization(
    app, provider, connection, actor
):
    sso.change_connection(app, connection, attributes={"organization": "org"})
    session().rollback()
    with transaction():
        services_role_rules.add_rule(
            connection.id, "groups", "staff", rbac.find_role("editor"),
            actor_grants=None, actor=actor,
        )  # fmt: skip
    said = {"groups": ["staff"], "org": "Acme"}
    browser, _answer = arrive(app, provider, email_verified=False, **said)
    assert rows_of(IAMUserRole) == []
    assert accounts()["victim"].parent_id is None
    post(browser, "/auth/verify/send", page="/auth/verify")
    post(browser, "/auth/verify", {"code": code_to(VICTIM)})
    assert is_inside(browser)
    arrive(app, provider, email_verified=False, **said)
    (row,) = rows_of(IAMUserRole)
    assert row.connection_id == connection.id


def test_at_215_an_invitation_is_nobodys_before_its_address_is_proved(
    app, provider, connection, actor
):
    with transaction():
        invited = services_accounts.create_user(
            username="victim", email=VICTIM, invite=False, roles=["viewer"],
            actor_grants=None, actor=actor,
        ).id  # fmt: skip
    arrive(app, provider, sub="attacker", email_verified=False)
    assert load(invited).status == "invited"
    browser, _answer = arrive(app, provider)
    assert is_inside(browser)
    assert load(invited).status == "active"
