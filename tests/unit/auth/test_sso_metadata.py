"""Discovery: whose document it is, how long it is kept, and what its addresses may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app.auth.sso.connection import Connection, Metadata
from app.auth.sso.errors_sso import SsoRefused, SsoUnavailable
from app.auth.sso.protocol.metadata import WELL_KNOWN, discover, forget
from app.core import clock
from tests.support.connections import a_connection
from tests.support.loopback import (
    BROKEN,
    DEEP,
    DROPPED,
    EMPTY,
    HTML,
    HUGE,
    NOT_JSON,
    Answer,
    gzipped,
    redirect_to,
)
from tests.support.lying_provider import ABSENT, LyingProvider


@pytest.fixture(scope="module")
def one_provider() -> Iterator[LyingProvider]:
    with LyingProvider() as provider:
        yield provider


@pytest.fixture
def provider(one_provider: LyingProvider, app: Flask) -> Iterator[LyingProvider]:
    one_provider.requests.clear()
    yield one_provider
    one_provider.tell_the_truth()


@pytest.fixture
def connection(provider: LyingProvider) -> Connection:
    return a_connection(provider)


def found(provider: LyingProvider, connection: Connection) -> Metadata:
    return discover(connection, provider.discovery_url)


def test_g1_a_document_tells_where_the_provider_answers(
    provider: LyingProvider, connection: Connection
) -> None:
    told = found(provider, connection)
    assert told.issuer == provider.issuer
    assert told.authorization_endpoint == provider.at("authorize")
    assert told.token_endpoint == provider.at("token")
    assert told.userinfo_endpoint == provider.at("userinfo")
    assert told.jwks_uri == provider.at("jwks")
    assert told.end_session_endpoint == provider.at("end_session")
    assert told.algorithms == ("RS256", "ES256")
    assert told.iss_parameter is True
    assert found(provider, connection) == told
    assert provider.requests["discovery"] == 1


@pytest.mark.parametrize(
    "issuer",
    [
        "https://another.example",
        "{}/x",
        "{}0",
        "x{}",
        "{}//",
        "",
        None,
        ABSENT,
        7,
        ["{}"],
        {"a": 1},
    ],
)
def test_at_183_a_document_of_another_issuer_is_refused_and_not_kept(
    provider: LyingProvider, connection: Connection, issuer: object
) -> None:
    told = issuer.replace("{}", provider.issuer) if isinstance(issuer, str) else issuer
    provider.lies.discovery = {"issuer": [provider.issuer] if told == ["{}"] else told}
    for times in (1, 2):
        with pytest.raises(SsoRefused) as refused:
            found(provider, connection)
        assert refused.value.reason == "discovery_issuer"
        assert provider.requests["discovery"] == times
    provider.tell_the_truth()
    assert found(provider, connection).issuer == provider.issuer


def test_at_183_a_document_that_changes_its_issuer_is_refused_though_an_old_one_is_kept(
    provider: LyingProvider, connection: Connection
) -> None:
    found(provider, connection)
    provider.lies.discovery = {"issuer": "https://another.example"}
    with clock.travel(timedelta(hours=2)), pytest.raises(SsoRefused):
        found(provider, connection)


def test_at_183_the_connection_may_name_the_issuer_exactly(
    provider: LyingProvider, connection: Connection
) -> None:
    provider.lies.discovery = {"issuer": "https://issuer.example"}
    named = replace(connection, endpoints={"issuer": "https://issuer.example"})
    assert found(provider, named).issuer == "https://issuer.example"
    other = replace(connection, endpoints={"issuer": "https://issuer.example/"})
    with pytest.raises(SsoRefused):
        found(provider, other)
    assert discover(connection, provider.discovery_url, issuer="https://issuer.example")


def test_g1_an_issuer_that_ends_in_a_slash_has_the_same_document(
    provider: LyingProvider, connection: Connection
) -> None:
    provider.lies.discovery = {"issuer": f"{provider.issuer}/"}
    assert found(provider, connection).issuer == f"{provider.issuer}/"


@pytest.mark.parametrize("path", ["", "/", "/openid-configuration", f"{WELL_KNOWN}/x", "?a=b"])
def test_at_183_an_address_that_implies_no_issuer_is_refused(
    provider: LyingProvider, connection: Connection, path: str
) -> None:
    with pytest.raises(SsoUnavailable) as refused:
        discover(connection, f"{provider.url}{path}")
    assert refused.value.reason == "discovery_url"
    assert not provider.requests


FAULTS = {
    "broken": BROKEN,
    "html": HTML,
    "not json": NOT_JSON,
    "deep": DEEP,
    "empty": EMPTY,
    "huge": HUGE,
    "dropped": DROPPED,
    "gzip": gzipped,
    "list": Answer(200, []),
    "number": Answer(200, 7),
    "twice": Answer(200, b'{"issuer": "a", "issuer": "b"}'),
    "two values": Answer(200, b'{}, "more": {}'),
    "not found": Answer(404, {"issuer": "x"}),
    "created": Answer(201, {"issuer": "x"}),
    "bytes": Answer(200, b"\xff\xfe{}"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_g1_bad_weather_is_unavailable_and_an_old_document_helps_for_a_day(
    provider: LyingProvider, connection: Connection, fault: str
) -> None:
    provider.answers["discovery"] = FAULTS[fault]
    with pytest.raises(SsoUnavailable):
        found(provider, connection)
    provider.answers.clear()
    asked = provider.requests["discovery"]
    with pytest.raises(SsoUnavailable):
        found(provider, connection)
    assert provider.requests["discovery"] == asked  # nobody waits for it just after
    with clock.travel(timedelta(seconds=11)):
        honest = found(provider, connection)
    provider.answers["discovery"] = FAULTS[fault]
    with clock.travel(timedelta(hours=23)):
        assert found(provider, connection) == honest
        asked = provider.requests["discovery"]
        assert found(provider, connection) == honest
        assert provider.requests["discovery"] == asked  # not asked again at each sign-in
    with clock.travel(timedelta(hours=24, minutes=1)), pytest.raises(SsoUnavailable):
        found(provider, connection)


def test_g1_a_document_is_fetched_again_after_an_hour(
    provider: LyingProvider, connection: Connection
) -> None:
    found(provider, connection)
    provider.lies.discovery = {"token_endpoint": f"{provider.url}/moved"}
    with clock.travel(timedelta(minutes=59)):
        assert found(provider, connection).token_endpoint == provider.at("token")
    with clock.travel(timedelta(minutes=61)):
        assert found(provider, connection).token_endpoint == f"{provider.url}/moved"


def test_g1_a_forgotten_document_is_fetched_again(
    provider: LyingProvider, connection: Connection
) -> None:
    other = a_connection(provider)
    found(provider, connection)
    found(provider, other)
    forget(connection.id)
    found(provider, connection)
    found(provider, other)
    assert provider.requests["discovery"] == 3


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize("value", [ABSENT, None, "", 7, [], {"a": 1}])
def test_g1_a_document_without_an_endpoint_is_unavailable(
    provider: LyingProvider, connection: Connection, name: str, value: object
) -> None:
    provider.lies.discovery = {name: value}
    with pytest.raises(SsoUnavailable):
        found(provider, connection)


BAD = [
    "javascript:alert(1)",
    "file:///etc/passwd",
    "ftp://files.example/x",
    "//there.example/x",
    "/x",
    "https://",
    "https://:443/x",
    "https://a:b@there.example/x",
    "https://there.example/x#y",
    "https://there.example:99999/x",
    "https://there.example:x/x",
    "https://there.example/a b",
    "https://there.example/\n",
    "https://there.exämple/",
    "https://[::1/x",
    "https://there.example/" + "x" * 3000,
    7,
    [],
    {},
    True,
]


@pytest.mark.parametrize(
    "name",
    [
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
    ],
)
@pytest.mark.parametrize("url", BAD, ids=lambda value: str(value)[:40])
def test_at_197_an_address_that_is_none_is_refused(
    provider: LyingProvider, connection: Connection, name: str, url: object
) -> None:
    provider.lies.discovery = {name: url}
    with pytest.raises(SsoUnavailable) as refused:
        found(provider, connection)
    assert refused.value.reason == "address"


@pytest.mark.parametrize("url", BAD, ids=lambda value: str(value)[:40])
def test_g5_a_bad_address_for_signing_out_keeps_nobody_from_signing_in(
    provider: LyingProvider, connection: Connection, url: object
) -> None:
    provider.lies.discovery = {"end_session_endpoint": url}
    assert found(provider, connection).end_session_endpoint is None


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
def test_at_197_plain_http_needs_permission(
    provider: LyingProvider, connection: Connection, name: str
) -> None:
    complete = {
        "issuer": "https://there.example",
        "authorization_endpoint": "https://there.example/a",
        "token_endpoint": "https://there.example/t",
        "jwks_uri": "https://there.example/k",
    }
    public = replace(connection, allow_private=False, endpoints=complete)
    assert discover(public, "").token_endpoint == "https://there.example/t"
    plain = replace(public, endpoints={**complete, name: "http://there.example/x"})
    with pytest.raises(SsoUnavailable):
        discover(plain, "")
    assert discover(replace(plain, allow_private=True), "")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "[::1]", "0x7f000001"]
)
def test_at_197_a_document_inside_is_not_fetched(connection: Connection, host: str) -> None:
    public = replace(connection, allow_private=False)
    with pytest.raises(SsoUnavailable):
        discover(public, f"https://{host}{WELL_KNOWN}")


def test_at_197_no_permission_reaches_a_metadata_service(connection: Connection) -> None:
    with pytest.raises(SsoUnavailable) as refused:
        discover(connection, f"http://169.254.169.254{WELL_KNOWN}")
    assert refused.value.reason == "address_refused"


def test_at_412_a_redirect_of_the_document_is_checked_again(
    provider: LyingProvider, connection: Connection
) -> None:
    provider.answers["discovery"] = redirect_to(f"http://169.254.169.254{WELL_KNOWN}")
    with pytest.raises(SsoUnavailable) as refused:
        found(provider, connection)
    assert refused.value.reason == "address_refused"


def test_g1_the_connections_own_addresses_win(
    provider: LyingProvider, connection: Connection
) -> None:
    own = replace(connection, endpoints={"token_endpoint": f"{provider.url}/own", "jwks_uri": ""})
    told = found(provider, own)
    assert told.token_endpoint == f"{provider.url}/own"
    assert told.jwks_uri == provider.at("jwks")


def test_g1_a_connection_that_has_every_address_fetches_none(provider: LyingProvider) -> None:
    own = a_connection(provider, endpoints=provider.endpoints)
    assert discover(own, "").token_endpoint == provider.at("token")
    assert not provider.requests


@pytest.mark.parametrize("value", [None, "RS256", {"RS256": 1}, [7, None], 7, ABSENT])
def test_g1_lists_of_wrong_types_are_empty(
    provider: LyingProvider, connection: Connection, value: object
) -> None:
    names = ("id_token_signing_alg_values_supported", "token_endpoint_auth_methods_supported")
    provider.lies.discovery = dict.fromkeys(names, value)
    told = found(provider, connection)
    assert told.algorithms == ()
    assert told.token_auth_methods == ("client_secret_basic",)


@pytest.mark.parametrize("value", ["true", 1, [True], None, ABSENT, False])
def test_at_181_only_true_is_a_promise_to_name_the_issuer(
    provider: LyingProvider, connection: Connection, value: Any
) -> None:
    provider.lies.discovery = {"authorization_response_iss_parameter_supported": value}
    assert found(provider, connection).iss_parameter is False
