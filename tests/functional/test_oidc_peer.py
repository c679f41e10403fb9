"""Sign-in with an OpenID provider that nobody here wrote (G1, G5): the whole trip over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from app.auth.models import IAMAuthSession, IAMUserAccount, IAMUserIdentity
from app.auth.sso import services_role_rules
from app.auth.sso.connection import Connection
from app.auth.sso.userinfo import UserInfo
from app.authz import services_assignments
from app.authz.models import IAMRole
from app.core import clock
from app.core.actor import Actor
from app.core.db import session, transaction
from tests.conftest import post
from tests.support.oidc_peer import SOURCE, OidcPeer, Visitor
from tests.support.served import Served
from tests.support.sso import link_identity, path_of, query_of, start
from tests.support.sso_peer import connect

REFRESH = re.compile(r'<meta http-equiv="refresh" content="0;url=([^"]+)"')
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
HOUR = timedelta(hours=1)


@pytest.fixture
def visitor(oidc_peer: OidcPeer) -> Iterator[Visitor]:
    """Return a browser at the provider that keeps its cookies."""
    with Visitor(oidc_peer) as found:
        yield found


@pytest.fixture
def ann(oidc_peer: OidcPeer) -> str:
    """Return somebody at the provider."""
    return oidc_peer.account("ann")


def come_back(client: FlaskClient, callback: str) -> Any:
    """Return what our callback answers at the address that the provider sent a browser to."""
    return client.get(path_of(callback))


def sign_in(client: FlaskClient, peer: OidcPeer, name: str) -> Any:
    """Sign in by the button, as somebody who is new at the provider's pages."""
    return come_back(client, peer.sign_in(start(client), name))


def people() -> list[IAMUserAccount]:
    """Return the accounts of this tenant."""
    session().rollback()
    return list(session().scalars(sa.select(IAMUserAccount)))


def roles() -> list[str]:
    """Return the roles of the one account there is."""
    (user,) = people()
    return sorted(held.role.name for held in services_assignments.roles_of(user))


def signed_in(client: FlaskClient) -> bool:
    """Return whether a browser has a full session."""
    return bool(client.get("/account").status_code == 200)


def add_rule(connection: Connection, claim: str, value: str, role: str, actor: Actor) -> None:
    """Let a claim's value give a role."""
    with transaction():
        found = session().scalars(sa.select(IAMRole).where(IAMRole.name == role)).one()
        services_role_rules.add_rule(
            connection.id, claim, value, found, actor_grants=None, actor=actor
        )


def leads_to(answer: Any) -> str:
    """Return where the page after a form sends the browser."""
    found = REFRESH.search(answer.text)
    assert found, answer.text
    return unescape(found[1])


def browser_of(served: Served) -> httpx.Client:
    """Return a browser at a served app, which leaves redirects alone."""
    return httpx.Client(base_url=served.url, trust_env=False)


def test_g1_the_first_sign_in_makes_an_account_and_the_second_finds_it(
    app, client, scoped, oidc_peer
):
    connect(app, oidc_peer, jit="open")
    ann = oidc_peer.account("ann", email="ann@partner.example", name="Ann Bell")
    answer = sign_in(client, oidc_peer, ann)
    assert answer.status_code == 303, answer.text
    assert signed_in(client)
    (user,) = people()
    assert (user.email, user.email_verified) == ("ann@partner.example", True)
    identity = session().scalars(sa.select(IAMUserIdentity)).one()
    assert (identity.issuer, identity.subject) == (oidc_peer.issuer, "sub-ann")

    other = app.test_client()
    oidc_peer.account("ann", email="renamed@partner.example")
    assert sign_in(other, oidc_peer, ann).status_code == 303
    assert signed_in(other)
    assert [found.id for found in people()] == [user.id]


def test_g1_tokens_signed_with_an_elliptic_curve_are_taken(app, client, scoped, oidc_peer, ann):
    connect(app, oidc_peer, jit="open", registered={"id_token_signed_response_alg": "ES256"})
    assert sign_in(client, oidc_peer, ann).status_code == 303
    assert signed_in(client)


def test_g4_what_userinfo_says_of_a_person_is_taken_over(app, client, scoped, oidc_peer):
    connect(app, oidc_peer, jit="open")
    bob = oidc_peer.account("bob", given_name="Bob", family_name="Stone", locale="de")
    sign_in(client, oidc_peer, bob)
    (user,) = people()
    assert (user.first_name, user.last_name) == ("Bob", "Stone")


def test_g4_groups_give_and_take_a_role_at_every_sign_in(app, scoped, actor, oidc_peer):
    scopes = ["openid", "email", "profile", "groups"]
    connection = connect(app, oidc_peer, jit="open", scopes=scopes)
    add_rule(connection, "groups", "support", "viewer", actor)
    ann = oidc_peer.account("ann", groups=["staff", "support"])
    sign_in(app.test_client(), oidc_peer, ann)
    given = roles()
    assert "viewer" in given
    oidc_peer.account("ann", groups=["staff"])
    sign_in(app.test_client(), oidc_peer, ann)
    assert roles() == [name for name in given if name != "viewer"]


@pytest.mark.parametrize("trusts", [True, False])
def test_g4_a_second_factor_there_counts_here_only_where_that_is_trusted(
    app, client, scoped, oidc_peer, make_user, trusts
):
    connection = connect(app, oidc_peer, trusts_mfa=trusts)
    person = make_user("ann", mfa="totp")
    link_identity(app, connection, person.id, UserInfo(oidc_peer.issuer, "sub-ann"))
    answer = sign_in(client, oidc_peer, oidc_peer.account("ann", amr=["pwd", "otp"]))
    assert signed_in(client) == trusts
    assert answer.location.endswith("/auth/mfa/verify") != trusts


def test_g1_a_person_who_cancels_is_told_what_to_do_next(
    app, client, scoped, oidc_peer, audit_rows
):
    connect(app, oidc_peer, jit="open")
    callback = oidc_peer.cancel(start(client))
    assert query_of(callback)["error"] == "access_denied"
    answer = come_back(client, callback)
    assert answer.status_code == 400
    assert "cancelled" in answer.text
    assert 'href="/auth/sso/peer/login' in answer.text
    assert 'href="/auth/login' in answer.text
    (row,) = audit_rows("SSO_FAILED")
    assert row.error == "sso.cancelled"
    assert not signed_in(client)


def test_g1_a_provider_that_stops_meanwhile_is_said_in_words(app, client, scoped, audit_rows):
    with OidcPeer() as peer:
        connect(app, peer, jit="open")
        callback = peer.sign_in(start(client), peer.account("ann"))
        peer.stop()
        answer = come_back(client, callback)
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert 'href="/auth/sso/peer/login' in answer.text
    assert answer.headers["Retry-After"]
    assert audit_rows("SSO_FAILED")
    assert people() == []


def test_g1_a_secret_that_the_provider_refuses_ends_on_a_page(
    app, client, scoped, oidc_peer, ann, audit_rows
):
    connect(app, oidc_peer, jit="open", client_secret="not-what-was-agreed")
    answer = sign_in(client, oidc_peer, ann)
    assert answer.status_code in {400, 503}
    assert "<h1" in answer.text
    assert "not-what-was-agreed" not in answer.text
    assert audit_rows("SSO_FAILED")
    assert people() == []


def test_at_178_an_answer_counts_once(app, client, scoped, oidc_peer, ann):
    connect(app, oidc_peer, jit="open")
    callback = oidc_peer.sign_in(start(client), ann)
    assert come_back(client, callback).status_code == 303
    assert come_back(app.test_client(), callback).status_code == 400
    assert come_back(client, callback).status_code == 400


def test_at_202_a_code_of_another_trip_is_refused_by_the_provider_too(
    app, client, scoped, oidc_peer, ann, audit_rows
):
    connect(app, oidc_peer, jit="open")
    theirs = query_of(oidc_peer.sign_in(start(app.test_client()), ann))
    ours = query_of(oidc_peer.sign_in(start(client), oidc_peer.account("eve")))
    mixed = {**ours, "code": theirs["code"]}
    answer = client.get("/auth/sso/peer/callback", query_string=mixed)
    assert answer.status_code == 400
    assert people() == []
    assert "invalid_grant" in oidc_peer.log()


def test_at_200_fresh_proof_is_a_new_sign_in_at_the_provider(
    app, client, scoped, oidc_peer, ann, visitor
):
    connect(app, oidc_peer, jit="open")
    come_back(client, visitor.sign_in(start(client), ann))
    with transaction():
        session().execute(sa.update(IAMAuthSession).values(auth_time=clock.now() - HOUR))
    away = client.get("/account/security/passkey").location
    page = client.get(away).text
    url = leads_to(client.post("/auth/sso/peer/step-up", data=dict(HIDDEN.findall(page))))
    assert not visitor.is_signed_in(url)
    answer = come_back(client, visitor.sign_in(url, ann))
    assert answer.location == "/account/security/passkey"
    assert client.get(answer.location).status_code == 200


def test_g5_signing_out_here_signs_out_there(app, client, scoped, oidc_peer, ann, visitor):
    connect(app, oidc_peer, jit="open", provider_logout=True)
    come_back(client, visitor.sign_in(start(client), ann))
    leading = post(client, "/auth/logout", page="/account")
    assert not signed_in(client)
    assert visitor.is_signed_in(start(client))
    after = visitor.sign_out(leads_to(leading))
    assert path_of(after).startswith("/auth/signed-out?")
    assert client.get(path_of(after)).status_code == 200
    assert not visitor.is_signed_in(start(client))


def test_g5_signing_out_there_ends_the_session_here(
    served, scoped, oidc_peer, ann, visitor, audit_rows
):
    connect(served.app, oidc_peer, jit="open")
    oidc_peer.account("bob")
    with browser_of(served) as hers, browser_of(served) as his:
        for browser, there, name in ((hers, visitor, ann), (his, oidc_peer, "bob")):
            away = browser.get("/auth/sso/peer/login").headers["location"]
            assert browser.get(there.sign_in(away, name)).status_code == 303
            assert browser.get("/account").status_code == 200
        visitor.sign_out(f"{oidc_peer.issuer}/session/end")
        assert hers.get("/account").status_code == 303
        assert his.get("/account").status_code == 200
    (row,) = audit_rows("SSO_LOGOUT_RECEIVED")
    assert row.details["count"] == 1


def test_the_lock_file_holds_digests_and_names_no_registry():
    found = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    packages = [entry for path, entry in found.items() if path]
    assert packages
    assert all("integrity" in entry and "resolved" not in entry for entry in packages)
