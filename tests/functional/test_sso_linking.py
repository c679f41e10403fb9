"""Identities linked and unlinked by their owners, over HTTP, with a real provider (G3, G5)."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from app.auth.models import IAMSsoFlow, IAMUserIdentity, IAMWebauthnCredential
from app.auth.sign_in.settings_sign_in import SignInSettings
from app.auth.sso import services_identities
from app.auth.sso.userinfo import UserInfo
from app.core import clock
from app.core.db import session, transaction
from app.core.errors import Conflict
from tests.conftest import PASSWORD, csrf_of, post, totp_code
from tests.support import passkeys, sso
from tests.support.authenticator import Authenticator
from tests.support.lying_provider import LyingProvider
from tests.support.mailbox import messages
from tests.support.people import add_key, load, rows_of
from tests.support.recovery import change
from tests.support.settings import changed

ANN = "ann@example.com"
PAGE, SECURITY = "/auth/sso/link", "/account/security"
LINK = f"{SECURITY}/identities/link"
PASSWORD_PAGE = f"{SECURITY}/password"
SECRET = "quiet harbour violet lantern 17"
NEW_PASSWORD = {"password": SECRET, "password_confirm": SECRET}


@pytest.fixture
def provider():
    with LyingProvider() as found:
        found.person(sub="s-ann", email=ANN, email_verified=True)
        yield found


@pytest.fixture
def connection(app, scoped, provider):
    found = sso.make_connection(app, provider.url)
    session().rollback()  # the test's own session reads anew
    return found


@pytest.fixture
def ann(scoped, make_user):
    return make_user("ann")


@pytest.fixture
def waiting(client, connection, ann, provider):
    """Return a browser in which ann's identity waits for her own sign-in."""
    answer = sso.sign_in_through(client, provider)
    assert answer.headers["Location"] == PAGE
    return client


def switch(app, connection, **changes):
    """Change a connection, as an administrator would meanwhile."""
    sso.change_connection(app, connection, **changes)
    session().rollback()


def identities():
    return rows_of(IAMUserIdentity)


def flow_of(client):
    return re.search(r'name="flow" value="([^"]+)"', client.get(PAGE).text).group(1)


def confirm(client, **form):
    return post(client, PAGE, form or {"flow": flow_of(client)})


def begin_link(client, slug=sso.SLUG):
    """Press the button of the security page; return the address it leads to."""
    answer = post(client, LINK, {"connection": slug}, page=SECURITY)
    assert answer.status_code == 200, answer.text
    found = re.search(r'<a[^>]+class="[^"]*primary[^"]*" href="([^"]+)"', answer.text)
    assert found, answer.text
    return found.group(1).replace("&amp;", "&")


def give(connection, person, actor, subject="s-ann"):
    with transaction():
        said = UserInfo(issuer="https://idp.example", subject=subject, email=person.email)
        return services_identities.link(
            load(person.id), said, connection, linked_by="account", actor=actor
        ).id


def unlink(client, identity_id):
    return post(client, f"{SECURITY}/identities/{identity_id}/unlink", page=SECURITY)


# ---------------------------------------------------------------- an address that somebody has


def test_g3_the_owner_signs_in_and_confirms(waiting, ann, sign_in, provider, audit_rows):
    page = waiting.get(PAGE)
    assert page.status_code == 200
    assert "You already have an account here" in page.text
    assert "/auth/login?next=/auth/sso/link" in page.text.replace("%2F", "/")
    assert "<form" not in page.text
    assert sign_in(waiting, ann, next=PAGE).headers["Location"] == PAGE
    page = waiting.get(PAGE)
    assert "Link this account?" in page.text
    assert ANN in page.text
    assert identities() == []
    answer = confirm(waiting)
    assert answer.headers["Location"] == SECURITY
    (row,) = identities()
    assert (row.user_id, row.subject, row.linked_by) == (ann.id, "s-ann", "confirmed")
    assert "Another way to sign in was added" in messages(ANN)[0]["subject"]
    assert "Peer" in waiting.get(SECURITY).text
    assert "Nothing waits to be linked" in waiting.get(PAGE).text
    assert len(audit_rows("IDENTITY_LINK_OFFERED")) == 1
    fresh = waiting.application.test_client()
    assert sso.sign_in_through(fresh, provider).headers["Location"] != PAGE
    assert fresh.get("/account").status_code == 200


def test_g3_a_sign_in_alone_links_nothing(waiting, ann, sign_in):
    sign_in(waiting, ann, next=PAGE)
    for _look in range(2):
        waiting.get(PAGE)
        waiting.head(PAGE)
    assert identities() == []


def test_g3_somebody_else_is_refused_plainly(waiting, make_user, sign_in):
    sign_in(waiting, make_user("eve"), next=PAGE)
    page = waiting.get(PAGE)
    assert page.status_code == 403
    assert "another account" in page.text
    assert ANN not in page.text
    flow_id = session().scalar(select(IAMSsoFlow.id).where(IAMSsoFlow.purpose == "pending_link"))
    answer = post(waiting, PAGE, {"flow": str(flow_id)}, page=SECURITY)
    assert answer.status_code == 403
    assert identities() == []


def test_g3_a_sign_in_from_before_does_not_count(app, connection, ann, provider, sign_in):
    browser, other = app.test_client(), app.test_client()
    sso.sign_in_through(browser, provider)
    with clock.travel(timedelta(minutes=-3)):
        sign_in(other, ann)
    browser.set_cookie("iam_session", other.get_cookie("iam_session").value)
    page = browser.get(PAGE)
    assert "Is it you?" in page.text
    assert 'name="flow"' not in page.text
    where = re.search(r'href="(/auth/step-up[^"]+)"', page.text).group(1).replace("&amp;", "&")
    form = {"password": PASSWORD, "purpose": "account.security", "next": PAGE}
    assert post(browser, "/auth/step-up", form, page=where).headers["Location"] == PAGE
    assert confirm(browser).headers["Location"] == SECURITY
    assert len(identities()) == 1


def test_g3_a_stronger_factor_is_asked_for_where_there_is_one(
    client, connection, make_user, provider, sign_in
):
    bob = make_user("bob", mfa="totp")
    sso.sign_in_through(client, provider, sub="s-bob", email=bob.email, email_verified=True)
    data = {"username": "bob", "password": PASSWORD, "next": PAGE}
    assert "/auth/mfa/verify" in post(client, "/auth/login", data).headers["Location"]
    assert "You already have an account" in client.get(PAGE).text  # half signed in is not enough
    code = {"code": totp_code(bob.totp_secret)}
    assert post(client, "/auth/mfa/verify", code).headers["Location"] == PAGE
    assert confirm(client).headers["Location"] == SECURITY


def test_at_143_another_browser_has_no_part_in_it(app, waiting, ann, sign_in):
    thief = app.test_client()
    sign_in(thief, ann)
    assert "Nothing waits to be linked" in thief.get(PAGE).text
    sign_in(waiting, ann)
    flow = flow_of(waiting)
    assert post(thief, PAGE, {"flow": flow}, page=SECURITY).status_code == 404
    assert identities() == []


def test_at_143_only_what_the_page_showed_is_confirmed(waiting, ann, sign_in, provider):
    sign_in(waiting, ann)
    flow = flow_of(waiting)
    other = waiting.application.test_client()
    other.set_cookie("iam_device", waiting.get_cookie("iam_device").value)
    sso.sign_in_through(other, provider, sub="s-other", email=ANN, email_verified=True)
    answer = post(waiting, PAGE, {"flow": flow}, page=SECURITY)
    assert answer.status_code in {200, 404}
    assert identities() == []


@pytest.mark.parametrize("flow", ["01a1fe2f-b062-7deb-a302-bce02b620dd6", "nonsense", ""])
def test_at_143_nothing_else_is_confirmed_in_its_place(waiting, ann, sign_in, flow):
    sign_in(waiting, ann)
    assert confirm(waiting, flow=flow).status_code == 404
    assert identities() == []
    assert "Link this account?" in waiting.get(PAGE).text


def test_g3_what_waits_waits_ten_minutes_and_is_used_once(waiting, ann, sign_in):
    sign_in(waiting, ann)
    flow = flow_of(waiting)
    with clock.travel(timedelta(minutes=11)):
        assert "Nothing waits to be linked" in waiting.get(PAGE).text
    assert confirm(waiting, flow=flow).headers["Location"] == SECURITY
    assert post(waiting, PAGE, {"flow": flow}, page=SECURITY).status_code == 404


def test_g3_nothing_is_linked_through_a_connection_switched_off_meanwhile(
    app, waiting, ann, sign_in, connection
):
    sign_in(waiting, ann)
    flow = flow_of(waiting)
    switch(app, connection, enabled=False)
    assert "Nothing waits to be linked" in waiting.get(PAGE).text
    assert post(waiting, PAGE, {"flow": flow}, page=SECURITY).status_code == 404
    assert identities() == []


def test_at_212_no_account_is_linked_before_its_own_address_is_proved(waiting, ann, sign_in):
    change(ann, email_verified=False)
    sign_in(waiting, ann)
    answer = confirm(waiting)
    assert "confirm your e-mail address first" in waiting.get(answer.headers["Location"]).text
    assert identities() == []


def test_at_143_the_confirmation_is_a_form_of_ours(waiting, ann, sign_in):
    sign_in(waiting, ann)
    assert waiting.post(PAGE, data={"flow": flow_of(waiting)}).status_code == 403
    assert identities() == []


# ---------------------------------------------------------------- from the security page


def test_g5_a_signed_in_person_links_and_signs_in_by_it(client, connection, ann, provider, sign_in):
    sign_in(client, ann)
    assert "Linked accounts" in client.get(SECURITY).text
    provider.person(sub="s-private", email="private@example.org", email_verified=False)
    answer = sso.leave_and_return(client, provider, begin_link(client))
    assert answer.headers["Location"] == SECURITY
    (row,) = identities()
    assert (row.user_id, row.linked_by, row.email) == (ann.id, "account", "private@example.org")
    assert load(ann.id).email == ANN
    page = client.get(SECURITY).text
    assert "private@example.org" in page
    assert f'action="{LINK}"' not in page
    fresh = client.application.test_client()
    sso.sign_in_through(fresh, provider)
    assert fresh.get("/account").status_code == 200


def test_at_143_linking_cannot_be_begun_from_another_site(client, connection, ann, sign_in):
    sign_in(client, ann)
    assert client.get(LINK).status_code == 405
    assert client.get(f"{LINK}?connection=peer").status_code == 405
    assert client.post(LINK, data={"connection": "peer"}).status_code == 403
    token = csrf_of(client.get(SECURITY).text)
    foreign = {"Origin": "https://evil.example"}
    form = {"connection": "peer", "csrf_token": token}
    assert client.post(LINK, data=form, headers=foreign).status_code == 403
    flows = session().scalars(select(IAMSsoFlow).where(IAMSsoFlow.purpose == "link")).all()
    assert flows == []


def test_at_143_linking_needs_fresh_authentication(client, connection, ann, sign_in):
    sign_in(client, ann)
    with clock.travel(timedelta(minutes=11)):
        answer = post(client, LINK, {"connection": "peer"}, page=SECURITY)
        assert "/auth/step-up" in answer.headers["Location"]
        answer = post(client, f"{SECURITY}/identities/x/unlink", page=SECURITY)
        assert "/auth/step-up" in answer.headers["Location"]


def test_at_143_a_link_belongs_to_the_session_that_began_it(
    app, connection, ann, make_user, provider, sign_in
):
    thief, victim = app.test_client(), app.test_client()
    sign_in(thief, make_user("eve"))
    provider.person(sub="s-eve", email="eve@evil.example", email_verified=True)
    callback = sso.path_of(provider.authorize(begin_link(thief)))
    sign_in(victim, ann)
    assert victim.get(callback).status_code == 400
    assert identities() == []


def test_g5_an_identity_of_another_person_is_not_taken(
    client, connection, ann, make_user, provider, sign_in, actor
):
    bob = make_user("bob")
    said = UserInfo(issuer=provider.issuer, subject="s-ann")
    with transaction():
        services_identities.link(load(bob.id), said, connection, linked_by="account", actor=actor)
    sign_in(client, ann)
    answer = sso.leave_and_return(client, provider, begin_link(client))
    assert answer.status_code in {303, 409}
    assert [row.user_id for row in identities()] == [bob.id]


def test_at_212_an_unproved_address_links_nothing(client, connection, ann, sign_in, provider):
    sign_in(client, ann)
    url = begin_link(client)
    change(ann, email_verified=False)
    answer = post(client, LINK, {"connection": "peer"}, page=SECURITY, follow_redirects=True)
    assert "confirm your e-mail address first" in answer.text
    assert sso.leave_and_return(client, provider, url).status_code in {303, 403}
    assert identities() == []


def test_g5_an_unknown_connection_is_not_found(client, connection, ann, sign_in):
    sign_in(client, ann)
    assert post(client, LINK, {"connection": "nope"}, page=SECURITY).status_code == 404


# ---------------------------------------------------------------- unlinking


def test_g5_unlinking_is_told_and_audited(client, connection, ann, sign_in, actor, audit_rows):
    identity_id = give(connection, ann, actor)
    sign_in(client, ann)
    answer = unlink(client, identity_id)
    assert "no longer signs you in" in client.get(answer.headers["Location"]).text
    assert identities() == []
    assert "A way to sign in was removed" in messages(ANN)[0]["subject"]
    assert audit_rows("IDENTITY_UNLINKED")[0].details["reason"] == "account"


def test_g5_sessions_that_came_through_it_end(app, connection, ann, provider, sign_in, actor):
    elsewhere, here = app.test_client(), app.test_client()
    sign_in(here, ann)
    sso.leave_and_return(here, provider, begin_link(here))
    sso.sign_in_through(elsewhere, provider)
    assert elsewhere.get("/account").status_code == 200
    unlink(here, identities()[0].id)
    assert elsewhere.get("/account").status_code == 303
    assert here.get("/account").status_code == 200


def test_g5_ones_own_session_ends_too_where_it_came_through_it(
    client, connection, ann, provider, actor
):
    with transaction():
        said = UserInfo(issuer=provider.issuer, subject="s-ann")
        services_identities.link(load(ann.id), said, connection, linked_by="account", actor=actor)
    sso.sign_in_through(client, provider)
    answer = unlink(client, identities()[0].id)
    assert answer.headers["Location"] == "/auth/login"
    assert "please sign in again" in client.get("/auth/login").text
    assert client.get("/account").status_code == 303


def test_at_206_another_persons_identity_is_not_found(client, connection, ann, make_user, sign_in,
                                                      actor):  # fmt: skip
    identity_id = give(connection, make_user("bob"), actor)
    sign_in(client, ann)
    assert unlink(client, identity_id).status_code == 404
    assert len(identities()) == 1


@pytest.fixture
def only_sso(app, client, connection, provider):
    """Return a browser of somebody whose only way in is an identity."""
    switch(app, connection, jit="open")
    sso.sign_in_through(client, provider, sub="s-zoe", email="zoe@example.com", email_verified=True)
    assert client.get("/account").status_code == 200
    return client


def test_at_206_the_last_way_in_is_not_unlinked(only_sso, audit_rows):
    page = only_sso.get(SECURITY).text
    assert "your only way to sign in" in page
    assert "/unlink" not in page
    answer = unlink(only_sso, identities()[0].id)
    assert "only way to sign in" in only_sso.get(answer.headers["Location"]).text
    assert len(identities()) == 1
    assert audit_rows("IDENTITY_UNLINKED") == []


def test_b6_a_person_without_a_password_sets_the_first_after_fresh_proof(app, only_sso):
    page = only_sso.get(PASSWORD_PAGE).text
    assert "Set a password" in page
    assert 'name="current"' not in page
    elsewhere = app.test_client()
    assert sso.path_of(elsewhere.get(SECURITY).location).startswith("/auth/login")
    answer = post(only_sso, PASSWORD_PAGE, NEW_PASSWORD)
    assert answer.headers["Location"] == SECURITY
    assert "Your password is set" in only_sso.get(SECURITY).text
    signed = post(elsewhere, "/auth/login", {"username": "zoe", "password": SECRET})
    assert signed.headers["Location"] == "/account"
    assert 'name="current"' in only_sso.get(PASSWORD_PAGE).text


def test_b6_the_first_password_ends_other_sessions_and_is_told(app, only_sso, provider, audit_rows):
    other = app.test_client()
    sso.sign_in_through(other, provider)
    assert other.get("/account").status_code == 200
    post(only_sso, PASSWORD_PAGE, NEW_PASSWORD)
    assert other.get("/account").status_code == 303
    assert only_sso.get("/account").status_code == 200
    assert len(audit_rows("PASSWORD_CHANGED")) == 1
    assert any("password" in message["subject"].lower() for message in messages("zoe@example.com"))


def test_at_049_a_stale_session_sets_no_first_password(only_sso):
    token = csrf_of(only_sso.get(PASSWORD_PAGE).text)
    with clock.travel(timedelta(minutes=20)):
        answer = only_sso.post(PASSWORD_PAGE, data={**NEW_PASSWORD, "csrf_token": token})
        assert answer.location.startswith("/auth/step-up")
    assert load(identities()[0].user_id).password_hash is None


def test_b6_who_has_a_password_meanwhile_is_asked_for_it(only_sso):
    """A form from before has no field for the current one, and is no way round it."""
    token = csrf_of(only_sso.get(PASSWORD_PAGE).text)
    post(only_sso, PASSWORD_PAGE, NEW_PASSWORD)
    token = csrf_of(only_sso.get(PASSWORD_PAGE).text)
    other = {"password": "another good phrase 4711", "password_confirm": "another good phrase 4711"}
    answer = only_sso.post(PASSWORD_PAGE, data={**other, "csrf_token": token})
    assert answer.status_code == 422
    assert "Enter your current password" in answer.text


def test_b6_a_weak_first_password_is_refused(only_sso):
    weak = {"password": "password", "password_confirm": "password"}
    assert post(only_sso, PASSWORD_PAGE, weak).status_code == 422
    assert load(identities()[0].user_id).password_hash is None


def test_at_206_a_second_identity_counts_while_its_connection_does(app, only_sso, actor):
    zoe = identities()[0].user_id
    other = sso.make_connection(app, "http://127.0.0.1:9", slug="other")
    with transaction():
        said = UserInfo(issuer="https://other.example", subject="1")
        services_identities.link(load(zoe), said, other, linked_by="account", actor=actor)
    first = identities()[0].id
    switch(app, other, enabled=False)
    unlink(only_sso, first)
    assert len(identities()) == 2
    assert "Switched off" in only_sso.get(SECURITY).text
    switch(app, other, enabled=True)
    unlink(only_sso, first)
    assert len(identities()) == 1


def test_at_206_a_mailed_link_counts_where_the_tenant_has_it(app, only_sso):
    with changed(app, SignInSettings, SIGN_IN_LINK_ENABLED=True):
        unlink(only_sso, identities()[0].id)
    assert identities() == []


@pytest.mark.parametrize(
    ("values", "left"), [({}, 0), ({"user_verified": False}, 1), ({"discoverable": None}, 1)]
)
def test_at_206_a_passkey_counts_where_it_signs_in_alone(only_sso, actor, values, left):
    zoe, identity_id = load(identities()[0].user_id), identities()[0].id
    add_key(zoe, Authenticator(), actor)
    if values:
        session().execute(update(IAMWebauthnCredential).values(**values))
        session().commit()
    with suppress(Conflict), transaction():
        services_identities.unlink(load(zoe.id), identity_id, actor=actor)
    assert len(identities()) == left


def test_at_206_the_last_passkey_of_an_account_without_a_password_stays(
    app, only_sso, connection, actor
):
    zoe, device = load(identities()[0].user_id), Authenticator()
    key = add_key(zoe, device, actor)
    path = f"{SECURITY}/factors/{key}/remove"
    browser = app.test_client()
    passkeys.sign_in(browser, device)
    switch(app, connection, enabled=False)
    page = post(browser, path, page=SECURITY, follow_redirects=True)
    assert "only way to sign in" in page.text
    switch(app, connection, enabled=True)
    page = post(browser, path, page=SECURITY, follow_redirects=True)
    assert "The second step is removed" in page.text


def test_at_206_with_a_password_the_last_passkey_goes(client, ann, sign_in):
    sign_in(client, ann)
    assert passkeys.register(client, Authenticator()).status_code == 200
    page = client.get(SECURITY).text
    path = re.search(rf"{SECURITY}/factors/[0-9a-f-]+/remove", page).group(0)
    answer = post(client, path, page=SECURITY, follow_redirects=True)
    assert "The second step is removed" in answer.text


def test_g5_an_identity_is_shown_to_administrators_and_its_subject_to_nobody(
    client, connection, ann, make_user, sign_in, actor
):
    give(connection, ann, actor, subject="subject-of-ann")
    boss = make_user("boss", roles=["tenant_admin"], actor_type="tenant_admin", mfa="totp")
    sign_in(client, boss)
    page = client.get(f"/admin/users/{ann.id}").text
    assert "Linked accounts" in page
    assert "Peer" in page
    assert "subject-of-ann" not in page


def test_g5_there_is_an_end_to_how_many_are_linked(connection, ann, actor):
    for number in range(services_identities.MOST):
        give(connection, ann, actor, subject=f"s{number}")
    with pytest.raises(Conflict):
        give(connection, ann, actor, subject="one more")
