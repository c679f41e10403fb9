"""What every identity provider must do, run over the registry.

A new provider joins by being registered; it needs a line in `OPTIONS` where its form
demands one. Each is attacked here without anybody writing a test for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask
from joserfc.jwk import ECKey

from app.auth.providers import Provider, providers
from app.auth.sso.connection import ENDPOINTS, Answer, Connection
from app.auth.sso.errors_sso import SsoRefused, SsoUnavailable
from app.core.crypto import token_digest
from tests.support.connections import Trip, a_connection
from tests.support.loopback import BROKEN, NOT_JSON
from tests.support.lying_provider import LyingProvider

TENANT = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "azure": {"tenants": TENANT},
    "apple": {"team_id": "A1B2C3D4E5", "key_id": "KEY1234567"},
}
COMPLETE = {name: f"https://there.example/{name}" for name in ENDPOINTS}
EVERY = [pytest.param(item, id=item.name) for item in providers()]
PEM = ECKey.generate_key("P-256").as_pem(private=True).decode()


def connection_of(provider: Provider, **values: Any) -> Connection:
    """Return a connection with every address its own: nothing is fetched to start."""
    known = {"provider": provider.name, "endpoints": COMPLETE, "client_secret": PEM}
    return a_connection(options=OPTIONS.get(provider.name, {}), **{**known, **values})


@pytest.mark.parametrize("provider", EVERY)
def test_g1_a_form_asks_for_all_that_the_provider_needs(provider: Provider) -> None:
    form = provider.form
    assert form.title
    assert form.secret_label
    assert form.scopes
    assert form.endpoints.keys() <= set(ENDPOINTS)
    assert all(url.startswith("https://") for url in form.endpoints.values())
    assert form.needs_discovery or form.discovery_url or form.endpoints.get("issuer")
    names = [option.name for option in form.options]
    assert len(set(names)) == len(names)
    assert all(option.label for option in form.options)
    required = {option.name for option in form.options if option.required}
    assert required == OPTIONS.get(provider.name, {}).keys()


def test_g1_the_issue_names_each_provider() -> None:
    assert providers().names() == ["oidc", "azure", "google", "github", "facebook", "apple"]


@pytest.mark.parametrize("provider", EVERY)
def test_at_177_no_provider_is_asked_without_state_nonce_and_pkce(
    app: Flask, provider: Provider
) -> None:
    trip = Trip(connection_of(provider))
    url = trip.url()
    assert url.startswith("https://there.example/authorization_endpoint?")
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    asked = dict(pairs)
    assert len(asked) == len(pairs)
    assert asked["state"] == trip.state
    assert asked["nonce"] == trip.nonce
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert trip.code_verifier not in url
    assert asked["scope"]
    assert PEM.splitlines()[1] not in url


@pytest.mark.parametrize("provider", EVERY)
def test_at_205_every_provider_is_asked_for_a_code(app: Flask, provider: Provider) -> None:
    asked = dict(parse_qsl(urlsplit(Trip(connection_of(provider)).url()).query))
    assert asked["response_type"] == "code"
    assert asked.get("response_mode", "query") in {"query", "form_post"}


@pytest.mark.parametrize("provider", EVERY)
def test_g1_every_address_is_a_setting(app: Flask, provider: Provider) -> None:
    told = provider.metadata(connection_of(provider))
    assert told.issuer == COMPLETE["issuer"]
    assert told.authorization_endpoint == COMPLETE["authorization_endpoint"]
    assert told.token_endpoint == COMPLETE["token_endpoint"]
    assert told.userinfo_endpoint == COMPLETE["userinfo_endpoint"]
    assert told.jwks_uri == COMPLETE["jwks_uri"]
    assert told.end_session_endpoint == COMPLETE["end_session_endpoint"]


@pytest.mark.parametrize("provider", EVERY)
@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "userinfo_endpoint"])
@pytest.mark.parametrize(
    "url", ["http://there.example/x", "javascript:alert(1)", "https://a@b/", "x"]
)
def test_at_197_no_provider_takes_an_address_that_is_none(
    app: Flask, provider: Provider, name: str, url: str
) -> None:
    with pytest.raises(SsoUnavailable):
        provider.metadata(connection_of(provider, endpoints={**COMPLETE, name: url}))


@pytest.mark.parametrize("provider", EVERY)
def test_at_197_no_provider_is_reached_inside_without_permission(
    app: Flask, provider: Provider
) -> None:
    inside = {name: f"https://127.0.0.1/{name}" for name in ENDPOINTS}
    connection = connection_of(provider, endpoints=inside)
    with pytest.raises(SsoUnavailable) as refused:
        Trip(connection).redeem("a-code")
    assert refused.value.reason == "address_refused"
    told = {"access_token": "t", "token_type": "Bearer", "id_token": token_like({"tid": TENANT})}
    with pytest.raises(SsoUnavailable) as refused:
        provider.identify(connection, Answer(told, token_digest("nonce")))
    assert refused.value.reason == "address_refused"


def token_like(claims: dict[str, Any]) -> str:
    from base64 import urlsafe_b64encode

    def part(value: object) -> str:
        return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256', 'kid': 'k'})}.{part(claims)}.c2ln"


@pytest.mark.parametrize("provider", EVERY)
def test_g2_no_secret_is_shown_by_what_describes_a_connection(
    app: Flask, provider: Provider
) -> None:
    connection = connection_of(provider)
    answer = Answer({"access_token": "the-access-token"}, b"the-nonce-digest")
    told = [connection, provider, provider.form, provider.metadata(connection), answer]
    text = repr(told) + repr(provider.authorize_params(connection))
    for secret in (PEM.splitlines()[1], "the-access-token", "the-nonce-digest"):
        assert secret not in text


@pytest.mark.parametrize("provider", EVERY)
@pytest.mark.parametrize(
    "tokens", [{}, {"access_token": None}, {"access_token": "t"}, {"id_token": 7}]
)
def test_g2_an_answer_without_what_says_who_it_was_is_refused(
    app: Flask, provider: Provider, tokens: dict[str, Any]
) -> None:
    with LyingProvider() as server:
        server.answers["other"] = NOT_JSON
        own = {name: f"{server.url}/{name}" for name in ENDPOINTS}
        connection = connection_of(provider, endpoints=own, allow_private=True)
        with pytest.raises((SsoRefused, SsoUnavailable)):
            provider.identify(connection, Answer(tokens, token_digest("nonce")))


@pytest.mark.parametrize("provider", EVERY)
def test_g1_a_provider_that_is_away_is_unavailable(app: Flask, provider: Provider) -> None:
    with LyingProvider() as server:
        server.answers["other"] = server.answers["token"] = server.answers["discovery"] = BROKEN
        own = {name: f"{server.url}/{name}" for name in ENDPOINTS}
        connection = connection_of(provider, endpoints=own, allow_private=True)
        with pytest.raises(SsoUnavailable):
            Trip(connection).redeem("a-code")
        id_token = token_like({"tid": TENANT})
        answer = Answer({"access_token": "t", "id_token": id_token}, token_digest("nonce"))
        with pytest.raises(SsoUnavailable):
            provider.identify(connection, answer)


@pytest.mark.parametrize("provider", EVERY)
def test_at_200_freshness_that_cannot_be_proved_is_refused(app: Flask, provider: Provider) -> None:
    with LyingProvider() as server:
        server.person(sub="1234")
        own = {name: f"{server.url}/{name}" for name in ENDPOINTS}
        own |= {"issuer": server.issuer, "jwks_uri": server.at("jwks")}
        connection = connection_of(
            provider, endpoints=own, allow_private=True, client_id=server.client_id
        )
        server.lies.claims = lambda honest: {
            **{name: value for name, value in honest.items() if name != "auth_time"},
            "tid": TENANT,
            "oid": TENANT,
            "name": "Ann",
            "email": "a@example.org",
        }
        id_token = server.id_token(nonce="nonce")
        tokens = {"access_token": "t", "id_token": id_token}
        answer = Answer(tokens, token_digest("nonce"), max_age=300)
        with pytest.raises(SsoRefused) as refused:
            provider.identify(connection, answer)
        assert refused.value.reason.endswith("auth_time")


@pytest.mark.parametrize("provider", EVERY)
def test_g1_a_connection_may_ask_for_other_scopes(app: Flask, provider: Provider) -> None:
    connection = replace(connection_of(provider), scopes=("one", "two"))
    asked = dict(parse_qsl(urlsplit(Trip(connection).url()).query))
    assert {"one", "two"} <= set(asked["scope"].split())


def test_g1_an_unknown_provider_is_not_made_up() -> None:
    assert "unheard-of" not in providers()
