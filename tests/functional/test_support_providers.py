"""The stand-ins keep the published behaviour, and each lie is told: one that cannot lie proves
nothing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey, KeySet, OctKey

from app.core import clock, http
from app.core.errors import UpstreamFailed
from tests.support import loopback
from tests.support.loopback import Answer, gzipped, redirect_to, slow
from tests.support.lying_provider import (
    ABSENT,
    CANCELLED,
    LOGOUT_EVENT,
    LyingProvider,
    duplicate_kid,
    new_kid,
    new_rsa_key,
    no_keys,
    oct_key,
    use_enc,
    wrong_alg,
)
from tests.support.social_servers import (
    A_TENANT,
    CONSUMERS,
    AppleServer,
    EntraServer,
    FacebookServer,
    GitHubServer,
    GoogleServer,
)

VERIFIER = "a-verifier-of-forty-three-characters-or-more-0123"
CALLBACK = "http://localhost/auth/sso/oidc/callback"


def challenge_of(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def authorization_url(provider: LyingProvider, **changes: str | None) -> str:
    asked: dict[str, str | None] = {
        "client_id": provider.client_id,
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "scope": "openid email profile",
        "state": "the-state",
        "nonce": "the-nonce",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
        **changes,
    }
    told = {name: value for name, value in asked.items() if value is not None}
    return f"{provider.at('authorize')}?{urlencode(told)}"


def answered(callback: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(callback).query).items()}


def form(url: str, fields: dict[str, str], **headers: str) -> http.Response:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    content = urlencode(fields).encode()
    return http.fetch("POST", url, headers={**kind, **headers}, content=content, allow_private=True)


def redeem(provider: LyingProvider, code: str, /, **changes: str | None) -> http.Response:
    accept = changes.pop("accept", None) or "*/*"
    fields: dict[str, str | None] = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
        "client_id": provider.client_id,
        "client_secret": provider.client_secret,
        **changes,
    }
    told = {name: value for name, value in fields.items() if value is not None}
    return form(provider.at("token"), told, Accept=accept)


def fetch(url: str, **headers: str) -> http.Response:
    return http.fetch("GET", url, headers=headers, allow_private=True, timeout=3)


def signed_in(provider: LyingProvider) -> dict[str, Any]:
    code = answered(provider.authorize(authorization_url(provider)))["code"]
    tokens: dict[str, Any] = redeem(provider, code).json()
    return tokens


def keys_of(provider: LyingProvider) -> KeySet:
    return KeySet.import_key_set(fetch(provider.at("jwks")).json())


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    header, payload, signature = (
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")
    )
    return json.loads(header), json.loads(payload), signature


# -------------------------------------------------------------------- the truth


def test_an_honest_trip(lying_provider: LyingProvider) -> None:
    provider = lying_provider
    provider.person(
        sub="ann", email="ann@example.org", email_verified=True, name="Ann", amr=["mfa"], acr="2"
    )
    found = fetch(provider.discovery_url).json()
    assert found["issuer"] == provider.issuer
    told = answered(provider.authorize(authorization_url(provider)))
    assert (told["state"], told["iss"]) == ("the-state", provider.issuer)
    tokens = redeem(provider, told["code"]).json()
    claims = jwt.decode(tokens["id_token"], keys_of(provider), algorithms=["RS256"]).claims
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    assert claims["at_hash"] == base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    assert (claims["sub"], claims["aud"], claims["nonce"]) == ("ann", "our-client", "the-nonce")
    assert (claims["amr"], claims["acr"]) == (["mfa"], "2")
    assert {"sid", "auth_time", "email"} <= set(claims)
    bearer = f"Bearer {tokens['access_token']}"
    info = fetch(provider.at("userinfo"), Authorization=bearer).json()
    assert info == {"sub": "ann", "email": "ann@example.org", "email_verified": True, "name": "Ann"}
    counted = {"discovery": 1, "authorize": 1, "token": 1, "jwks": 1, "userinfo": 1}
    assert provider.requests == counted
    ended = (
        provider.at("end_session")
        + "?"
        + urlencode(
            {
                "id_token_hint": tokens["id_token"],
                "post_logout_redirect_uri": "http://localhost/",
                "state": "bye",
            }
        )
    )
    assert provider.authorize(ended) == "http://localhost/?state=bye"
    assert provider.logouts[0]["id_token_hint"] == tokens["id_token"]
    assert answered(provider.authorize(authorization_url(provider)))["error"] == "login_required"


def test_basic_authentication_and_scopes(lying_provider: LyingProvider) -> None:
    provider = lying_provider
    code = answered(provider.authorize(authorization_url(provider, scope="openid")))["code"]
    pair = base64.b64encode(f"{provider.client_id}:{provider.client_secret}".encode()).decode()
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    tokens = form(provider.at("token"), fields, Authorization=f"Basic {pair}").json()
    assert "email" not in parts(tokens["id_token"])[1]
    both = {**fields, "client_secret": provider.client_secret}
    refused = form(provider.at("token"), both, Authorization=f"Basic {pair}")
    assert refused.json()["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_secret": None}, 401, "invalid_client"),
        ({"code_verifier": "another"}, 400, "invalid_grant"),
        ({"code_verifier": None}, 400, "invalid_grant"),
        ({"redirect_uri": "http://localhost/else"}, 400, "invalid_grant"),
        ({"code": "made-up"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_a_wrong_redemption_is_refused(
    lying_provider: LyingProvider, changes: dict[str, str | None], status: int, error: str
) -> None:
    code = answered(lying_provider.authorize(authorization_url(lying_provider)))["code"]
    refused = redeem(lying_provider, code, **changes)
    assert (refused.status, refused.json()["error"]) == (status, error)


def test_a_code_is_used_once_and_grows_old(lying_provider: LyingProvider) -> None:
    code = answered(lying_provider.authorize(authorization_url(lying_provider)))["code"]
    access = redeem(lying_provider, code).json()["access_token"]
    assert redeem(lying_provider, code).json()["error"] == "invalid_grant"
    userinfo = lying_provider.at("userinfo")
    assert fetch(userinfo, Authorization=f"Bearer {access}").status == 401  # revoked with it
    assert fetch(userinfo).status == 401
    code = answered(lying_provider.authorize(authorization_url(lying_provider)))["code"]
    with clock.travel(timedelta(minutes=2)):
        assert redeem(lying_provider, code).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "email"}, "invalid_scope"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
    ],
)
def test_a_wrong_authorization_is_refused(
    lying_provider: LyingProvider, changes: dict[str, str | None], error: str
) -> None:
    told = answered(lying_provider.authorize(authorization_url(lying_provider, **changes)))
    assert told["error"] == error
    assert "code" not in told


def test_a_stranger_is_not_redirected(lying_provider: LyingProvider) -> None:
    lying_provider.redirect_uris = {CALLBACK}
    lying_provider.authorize(authorization_url(lying_provider))
    for changes in ({"client_id": "x"}, {"redirect_uri": CALLBACK + "/"}, {"redirect_uri": None}):
        with pytest.raises(AssertionError, match="Unknown client"):
            lying_provider.authorize(authorization_url(lying_provider, **changes))


def test_a_parameter_comes_once(lying_provider: LyingProvider) -> None:
    url = authorization_url(lying_provider) + "&state=second"
    with pytest.raises(AssertionError, match="came twice"):
        lying_provider.authorize(url)


def test_times_follow_the_clock(lying_provider: LyingProvider) -> None:
    before = lying_provider.id_token()
    with clock.travel(timedelta(days=3)):
        later = lying_provider.id_token()
    three_days = 3 * 86400
    assert 0 <= parts(later)[1]["iat"] - parts(before)[1]["iat"] - three_days <= 5
    assert parts(later)[1]["auth_time"] == parts(before)[1]["auth_time"]


def test_a_fresh_sign_in_where_one_is_asked_for(lying_provider: LyingProvider) -> None:
    signed_in(lying_provider)
    with clock.travel(timedelta(hours=1)):
        now = int(clock.now().timestamp())
        for changes, fresh in (
            ({}, False),
            ({"max_age": "7200"}, False),
            ({"max_age": "60"}, True),
        ):
            url = authorization_url(lying_provider, **changes)
            code = answered(lying_provider.authorize(url))["code"]
            claims = parts(redeem(lying_provider, code).json()["id_token"])[1]
            assert (claims["auth_time"] >= now) is fresh


def test_form_post(lying_provider: LyingProvider) -> None:
    posted = lying_provider.authorize_post(
        authorization_url(lying_provider, response_mode="form_post")
    )
    assert posted.action == CALLBACK
    assert set(posted.fields) == {"code", "state", "iss"}


def test_a_logout_token(lying_provider: LyingProvider) -> None:
    token = lying_provider.logout_token(sub="ann", sid="s-1")
    found = jwt.decode(token, keys_of(lying_provider), algorithms=["RS256"])
    assert found.header["typ"] == "logout+jwt"
    assert found.claims["events"] == {LOGOUT_EVENT: {}}
    assert (found.claims["sub"], found.claims["sid"]) == ("ann", "s-1")
    lying_provider.lies.logout = {"nonce": "n", "events": ABSENT}
    claims = parts(lying_provider.logout_token(sub="ann"))[1]
    assert claims["nonce"] == "n"
    assert not {"events", "sid"} & set(claims)


# -------------------------------------------------------------------- lies of tokens


def test_lies_of_claims_and_header(lying_provider: LyingProvider) -> None:
    lying_provider.lies.claims = {"iss": "https://evil.example", "nonce": ABSENT}
    lying_provider.lies.header = lambda header: {**header, "crit": ["exp"], "typ": 5}
    header, claims, _ = parts(signed_in(lying_provider)["id_token"])
    assert claims["iss"] == "https://evil.example"
    assert "nonce" not in claims
    assert (header["crit"], header["typ"]) == (["exp"], 5)
    lying_provider.tell_the_truth()
    assert parts(signed_in(lying_provider)["id_token"])[1]["nonce"] == "the-nonce"


def test_lies_of_keys_and_algorithms(lying_provider: LyingProvider) -> None:
    provider, keys = lying_provider, keys_of(lying_provider)
    algorithms = ["RS256", "ES256", "HS256", "none"]
    provider.lies.key = new_rsa_key()
    with pytest.raises(BadSignatureError):
        jwt.decode(provider.id_token(), keys, algorithms=algorithms)
    provider.tell_the_truth()
    for alg in ("RS256", "ES256", "PS256"):
        provider.lies.alg = alg
        provider.lies.header = {"kid": ABSENT}
        key = provider.ec_key if alg == "ES256" else provider.key
        pair = type(key).import_key({**key.as_dict(private=False), "alg": alg})
        assert jwt.decode(provider.id_token(), pair, algorithms=[alg]).header["alg"] == alg
    provider.tell_the_truth()
    provider.lies.alg = "none"
    assert parts(provider.id_token())[2] == b""
    provider.lies.alg = "XX999"
    assert parts(provider.id_token())[0]["alg"] == "XX999"
    provider.lies.alg = "HS256"
    secret = OctKey.import_key(provider.client_secret)
    assert jwt.decode(provider.id_token(), secret, algorithms=["HS256"])
    provider.lies.key = provider.public_pem()
    text, _, signature = provider.id_token().rpartition(".")
    expected = base64.urlsafe_b64encode(hmac.digest(provider.public_pem(), text.encode(), "sha256"))
    assert signature == expected.rstrip(b"=").decode()


def test_lies_of_bytes(lying_provider: LyingProvider) -> None:
    lying_provider.lies.payload = lambda payload: payload[:-1] + b', "sub": "somebody else"}'
    lying_provider.lies.signature = lambda signature: signature[:-1]
    token = lying_provider.id_token()
    assert parts(token)[1]["sub"] == "somebody else"
    assert len(parts(token)[2]) == 255


def test_a_kid_flood_and_a_rotation(lying_provider: LyingProvider) -> None:
    lying_provider.lies.header = new_kid
    kids = {parts(lying_provider.id_token())[0]["kid"] for _ in range(5)}
    known = {key["kid"] for key in fetch(lying_provider.at("jwks")).json()["keys"]}
    assert len(kids) == 5
    assert not kids & known
    lying_provider.tell_the_truth()
    before = lying_provider.id_token()
    lying_provider.rotate()
    jwt.decode(before, keys_of(lying_provider))
    jwt.decode(lying_provider.id_token(), keys_of(lying_provider))
    old = lying_provider.key.kid
    lying_provider.rotate(keep=False)
    assert old not in {key["kid"] for key in fetch(lying_provider.at("jwks")).json()["keys"]}


# -------------------------------------------------------------------- lies of documents


@pytest.mark.parametrize(
    ("lie", "holds"),
    [
        (oct_key, lambda keys: {key["kty"] for key in keys} == {"oct"}),
        (use_enc, lambda keys: {key["use"] for key in keys} == {"enc"}),
        (wrong_alg, lambda keys: {key["alg"] for key in keys} == {"PS512", "ES512"}),
        (duplicate_kid, lambda keys: len({key["kid"] for key in keys}) < len(keys)),
        (no_keys, lambda keys: keys == []),
    ],
)
def test_lies_of_keys(
    lying_provider: LyingProvider, lie: Any, holds: Callable[[list[Any]], bool]
) -> None:
    lying_provider.lies.jwks = lie
    assert holds(fetch(lying_provider.at("jwks")).json()["keys"])


def test_lies_of_discovery_userinfo_and_tokens(lying_provider: LyingProvider) -> None:
    provider = lying_provider
    provider.lies.discovery = {"issuer": "https://evil.example", "jwks_uri": ABSENT}
    found = fetch(provider.discovery_url).json()
    assert found["issuer"] == "https://evil.example"
    assert "jwks_uri" not in found
    provider.lies.token = {"token_type": "mac", "id_token": ABSENT, "expires_in": "soon"}
    tokens = signed_in(provider)
    assert (tokens["token_type"], tokens["expires_in"]) == ("mac", "soon")
    assert "id_token" not in tokens
    provider.lies.userinfo = lambda honest: [honest]
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert isinstance(fetch(provider.at("userinfo"), **bearer).json(), list)
    provider.answers["userinfo"] = lambda _: Answer(
        200, provider.sign({"sub": "x"}), {"Content-Type": "application/jwt"}
    )
    assert fetch(provider.at("userinfo"), **bearer).headers["content-type"] == "application/jwt"


def test_lies_of_the_authorization_response(lying_provider: LyingProvider) -> None:
    provider = lying_provider
    provider.lies.authorize = CANCELLED
    told = answered(provider.authorize(authorization_url(provider)))
    assert told["error"] == "access_denied"
    assert "code" not in told
    provider.lies.authorize = {"iss": "https://evil.example", "state": "another"}
    told = answered(provider.authorize(authorization_url(provider)))
    assert (told["iss"], told["state"]) == ("https://evil.example", "another")
    provider.lies.authorize = {"iss": ABSENT}
    assert "iss" not in answered(provider.authorize(authorization_url(provider)))


# -------------------------------------------------------------------- lies of HTTP


def test_answers_that_are_none(lying_provider: LyingProvider) -> None:
    provider, url = lying_provider, lying_provider.discovery_url
    for answer in (loopback.HTML, loopback.NOT_JSON, loopback.EMPTY, loopback.DEEP):
        provider.answers["discovery"] = answer
        with pytest.raises(UpstreamFailed):
            fetch(url).json()
    for answer in (loopback.HUGE, loopback.DROPPED, slow, loopback.HANGING):
        provider.answers["discovery"] = answer
        with pytest.raises(UpstreamFailed):
            http.fetch("GET", url, allow_private=True, timeout=0.5)
    provider.answers["discovery"] = gzipped
    response, body = provider.get(url)
    assert response.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(body))["issuer"] == provider.issuer
    provider.answers["discovery"] = loopback.BROKEN
    assert fetch(url).status == 500
    provider.answers["discovery"] = redirect_to("http://169.254.169.254/")
    assert fetch(url).headers["location"] == "http://169.254.169.254/"
    provider.tell_the_truth()
    assert fetch(url).status == 200
    assert fetch(provider.url + "/nothing").status == 404
    provider.stop()
    with pytest.raises(UpstreamFailed):
        fetch(url)


def test_an_answer_in_place_leaves_the_code_alone(lying_provider: LyingProvider) -> None:
    code = answered(lying_provider.authorize(authorization_url(lying_provider)))["code"]
    lying_provider.answers["token"] = loopback.BROKEN
    assert redeem(lying_provider, code).status == 500
    lying_provider.tell_the_truth()
    assert redeem(lying_provider, code).status == 200
    assert lying_provider.requests["token"] == 2


# -------------------------------------------------------------------- GitHub


@pytest.fixture
def github() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        yield server


def github_tokens(github: GitHubServer, scope: str = "read:user user:email") -> dict[str, Any]:
    code = answered(github.authorize(authorization_url(github, scope=scope)))["code"]
    tokens: dict[str, Any] = redeem(github, code, **JSON).json()
    return tokens


JSON = {"accept": "application/json"}


def test_github_says_who_and_which_addresses(github: GitHubServer) -> None:
    github.person(sub="583231", email="ann@example.org", email_verified=True, login="ann")
    tokens = github_tokens(github)
    assert set(tokens) == {"access_token", "scope", "token_type"}
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    user = fetch(github.at("userinfo"), **bearer).json()
    assert (user["id"], user["login"], user["email"]) == (583231, "ann", None)
    found = fetch(github.at("emails"), **bearer).json()
    about = {"primary": True, "verified": True, "visibility": "private"}
    assert found == [{"email": "ann@example.org", **about}]
    assert fetch(github.url + "/api/v3/user", **bearer).json() == user


def test_github_answers_forms_and_errors_with_200(github: GitHubServer) -> None:
    code = answered(github.authorize(authorization_url(github)))["code"]
    wrong = redeem(github, code, client_secret="wrong", **JSON)
    assert (wrong.status, wrong.json()["error"]) == (200, "incorrect_client_credentials")
    wrong = redeem(github, code, redirect_uri="http://localhost/else", **JSON)
    assert (wrong.status, wrong.json()["error"]) == (200, "redirect_uri_mismatch")
    wrong = redeem(github, code, code_verifier="wrong", **JSON)
    assert (wrong.status, wrong.json()["error"]) == (200, "bad_verification_code")
    right = redeem(github, code)
    assert parse_qs(right.content.decode())["token_type"] == ["bearer"]
    again = redeem(github, code)
    assert parse_qs(again.content.decode())["error"] == ["bad_verification_code"]


def test_github_refuses_strangers(github: GitHubServer) -> None:
    assert fetch(github.at("userinfo")).status == 401
    tokens = github_tokens(github, scope="read:user")
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert fetch(github.at("emails"), **bearer).status == 404
    response, _ = github.get(github.at("userinfo"), bearer)  # without a User-Agent
    assert response.status == 403
    told = answered(github.authorize(authorization_url(github)))
    assert told["iss"] == github.url + "/login/oauth"


# -------------------------------------------------------------------- Facebook


@pytest.fixture
def facebook() -> Iterator[FacebookServer]:
    with FacebookServer() as server:
        yield server


def test_facebook_says_who(facebook: FacebookServer) -> None:
    facebook.person(sub="10215241773831025", email="ann@example.org", name="Ann")
    code = answered(facebook.authorize(authorization_url(facebook, scope="email")))["code"]
    access = redeem(facebook, code).json()["access_token"]
    proof = hmac.new(facebook.client_secret.encode(), access.encode(), "sha256").hexdigest()
    asked = {
        "fields": "id,name,email,picture.type(large)",
        "access_token": access,
        "appsecret_proof": proof,
    }
    me = fetch(f"{facebook.at('userinfo')}?{urlencode(asked)}").json()
    assert me.pop("picture")["data"]["url"].startswith("https://")
    assert me == {"id": "10215241773831025", "name": "Ann", "email": "ann@example.org"}
    asked["fields"] = "id,name,email"
    for changes in ({"appsecret_proof": "0" * 64}, {"access_token": "EAABwrong"}):
        refused = fetch(f"{facebook.at('userinfo')}?{urlencode({**asked, **changes})}")
        assert refused.json()["error"]["type"] == "OAuthException"
    without = {name: value for name, value in asked.items() if name != "appsecret_proof"}
    unversioned = facebook.url + "/me?"
    assert fetch(unversioned + urlencode(without)).status == 400
    facebook.proof_required = False
    assert fetch(unversioned + urlencode(without)).json() == me


def test_facebook_debugs_tokens_for_its_app(facebook: FacebookServer) -> None:
    facebook.person(sub="7")
    code = answered(facebook.authorize(authorization_url(facebook, scope="email")))["code"]
    access = redeem(facebook, code).json()["access_token"]
    app_token = f"{facebook.client_id}|{facebook.client_secret}"

    def debug(token: str, by: str) -> http.Response:
        asked = urlencode({"input_token": token, "access_token": by})
        return fetch(f"{facebook.at('debug')}?{asked}")

    data = debug(access, app_token).json()["data"]
    assert (data["app_id"], data["user_id"], data["is_valid"]) == (facebook.client_id, "7", True)
    assert debug("EAABwrong", app_token).json()["data"]["is_valid"] is False
    assert debug(access, "another|app").status == 400
    facebook.debug = {"app_id": "999"}
    assert debug(access, app_token).json()["data"]["app_id"] == "999"
    refused = redeem(facebook, code, client_secret="wrong")
    assert (refused.status, refused.json()["error"]["code"]) == (400, 1)


# -------------------------------------------------------------------- Apple


@pytest.fixture
def apple() -> Iterator[AppleServer]:
    with AppleServer() as server:
        yield server


def apple_secret(apple: AppleServer, header: dict[str, Any] | None = None, **changes: Any) -> str:
    now = int(clock.now().timestamp())
    claims = {
        "iss": apple.team_id,
        "sub": apple.client_id,
        "aud": apple.audience,
        "iat": now,
        "exp": now + 300,
        **changes,
    }
    told = {name: value for name, value in claims.items() if value is not None}
    key = {"alg": "ES256", "kid": apple.key_id}
    return jwt.encode({**key, **(header or {})}, told, apple.client_key)


def apple_code(apple: AppleServer) -> dict[str, str]:
    asked = authorization_url(apple, scope="name email", response_mode="form_post")
    return apple.authorize_post(asked).fields


def test_apple_signs_in(apple: AppleServer) -> None:
    apple.person(sub="000.a.1", email="x@privaterelay.appleid.com", email_verified=True)
    fields = apple_code(apple)
    name = {"firstName": "Jane", "lastName": "Doe"}
    assert json.loads(fields["user"]) == {"name": name, "email": "x@privaterelay.appleid.com"}
    tokens = redeem(apple, fields["code"], client_secret=apple_secret(apple)).json()
    claims = jwt.decode(tokens["id_token"], keys_of(apple), algorithms=["RS256"]).claims
    assert (claims["aud"], claims["is_private_email"]) == (apple.client_id, True)
    assert "name" not in claims
    assert "user" not in apple_code(apple)  # the first time only
    with pytest.raises(AssertionError, match="must be form_post"):
        apple.authorize(authorization_url(apple, scope="name email"))


@pytest.mark.parametrize(
    ("header", "changes"),
    [
        ({"kid": "ANOTHER123"}, {}),
        ({}, {"iss": "ANOTHER123"}),
        ({}, {"sub": "org.example.another"}),
        ({}, {"aud": "https://apple.example"}),
        ({}, {"exp": None}),
        ({}, {"exp": 1}),
        ({}, {"exp": 4_000_000_000}),
        ({}, {"iat": 4_000_000_000}),
    ],
)
def test_apple_checks_the_client_secret(
    apple: AppleServer, header: dict[str, Any], changes: dict[str, Any]
) -> None:
    code = apple_code(apple)["code"]
    wrong = redeem(apple, code, client_secret=apple_secret(apple, header, **changes))
    assert (wrong.status, wrong.json()["error"]) == (400, "invalid_client")
    assert redeem(apple, code, client_secret=apple_secret(apple)).status == 200


def test_apple_checks_who_signed_the_client_secret(apple: AppleServer) -> None:
    code, right = apple_code(apple)["code"], apple_secret(apple)
    assert redeem(apple, code, client_secret="not a token").json()["error"] == "invalid_client"
    assert redeem(apple, code, client_secret=right, client_id="x").status == 400
    key, apple.client_key = apple.client_key, ECKey.generate_key("P-256")
    forged, apple.client_key = apple_secret(apple), key
    assert redeem(apple, code, client_secret=forged).json()["error"] == "invalid_client"
    assert redeem(apple, code, client_secret=right).status == 200


# -------------------------------------------------------------------- Entra ID and Google


@pytest.fixture
def entra() -> Iterator[EntraServer]:
    with EntraServer() as server:
        yield server


def test_entra_has_one_template_for_many_issuers(entra: EntraServer) -> None:
    entra.person(email="ann@example.org", oid="11111111-2222-3333-4444-555555555555", xms_edov=True)
    found = fetch(entra.discovery_url).json()
    assert found["issuer"] == entra.url + "/{tenantid}/v2.0"
    claims = parts(signed_in(entra)["id_token"])[1]
    assert claims["iss"] == f"{entra.url}/{A_TENANT}/v2.0"
    assert (claims["tid"], claims["xms_edov"], claims["ver"]) == (A_TENANT, True, "2.0")
    assert not {"email_verified", "at_hash"} & set(claims)
    assert not {"alg"} & set(fetch(entra.at("jwks")).json()["keys"][0])
    bearer = f"Bearer {signed_in(entra)['access_token']}"
    info = fetch(entra.at("userinfo"), Authorization=bearer).json()
    assert set(info) == {"sub", "name", "email"}


def test_entra_keeps_tenants_apart(entra: EntraServer) -> None:
    entra.authority = A_TENANT
    assert fetch(entra.discovery_url).json()["issuer"] == f"{entra.url}/{A_TENANT}/v2.0"
    entra.person(tid="other-tenant")
    with pytest.raises(AssertionError, match="AADSTS50020"):
        entra.authorize(authorization_url(entra))
    entra.authority = "consumers"
    assert CONSUMERS in fetch(entra.discovery_url).json()["issuer"]


def test_google_names_the_workspace() -> None:
    with GoogleServer() as google:
        google.person(sub="1", email="ann@example.org", email_verified=True, hd="example.org")
        claims = parts(signed_in(google)["id_token"])[1]
        assert (claims["hd"], claims["azp"]) == ("example.org", google.client_id)
        assert "sid" not in claims
        google.person(sub="2", email="bob@gmail.example", email_verified=True)
        code = answered(google.authorize(authorization_url(google, hd="example.org")))["code"]
        claims = parts(redeem(google, code).json()["id_token"])[1]
        assert "hd" not in claims  # the request's hd is a wish


@pytest.mark.parametrize("kind", [LyingProvider, AppleServer, EntraServer, GoogleServer])
def test_discovery_names_what_answers(kind: type[LyingProvider]) -> None:
    with kind() as server:
        found = fetch(server.discovery_url).json()
        assert {name: found[name] for name in server.endpoints} == server.endpoints
        assert {name for name in found if name.endswith("_endpoint")} <= set(server.endpoints)
        for name, url in server.endpoints.items():
            assert name == "issuer" or fetch(url).status != 404


def test_endpoints_for_connections(github: GitHubServer, entra: EntraServer) -> None:
    assert github.endpoints == {
        "issuer": github.url + "/login/oauth",
        "authorization_endpoint": github.url + "/login/oauth/authorize",
        "token_endpoint": github.url + "/login/oauth/access_token",
        "userinfo_endpoint": github.url + "/user",
        "emails_endpoint": github.url + "/user/emails",
    }
    assert entra.endpoints["token_endpoint"] == entra.url + "/organizations/oauth2/v2.0/token"
