"""An OpenID provider on loopback that keeps the published behaviour, and lies on command.

    with LyingProvider() as provider:
        provider.person(sub="ann", email="ann@example.org", email_verified=True)
        callback = provider.authorize(url)          # what the person's browser does
        provider.lies.claims = {"aud": "another"}   # the next tokens lie

`lies` changes what tokens and documents say, `answers` (see `loopback`) how HTTP answers.
Both take effect at once and last until `tell_the_truth()`. Times follow `app.core.clock`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from html.parser import HTMLParser
from typing import Any, ClassVar, Final
from urllib.parse import unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from joserfc.jws import JWSRegistry

from app.core import clock
from tests.support.loopback import Answer, LoopbackServer, Refused, Request, oauth_error

CODE_SECONDS: Final = 60
TOKEN_SECONDS: Final = 300
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
SCOPE_CLAIMS: Final = {
    "email": {"email", "email_verified"},
    "profile": {
        "name",
        "given_name",
        "family_name",
        "preferred_username",
        "picture",
        "locale",
        "zoneinfo",
        "updated_at",
    },
    "phone": {"phone_number", "phone_number_verified"},
    "address": {"address"},
}
_SCOPED = set().union(*SCOPE_CLAIMS.values())
_OF_SIGN_IN = {"auth_time", "amr", "acr", "sid"}


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""The value of a member that a lie takes away."""

Change = Mapping[str, Any] | Callable[[dict[str, Any]], Any] | None
"""Members to change or take away, or a function from the honest object to the told one."""


def changed(honest: dict[str, Any], change: Change) -> Any:
    """Return the told object for an honest one."""
    if change is None:
        return honest
    if callable(change):
        return change(dict(honest))
    merged = {**honest, **change}
    return {name: value for name, value in merged.items() if value is not ABSENT}


@dataclass
class Lies:
    """What is told in place of the truth; None is the truth.

    `alg` is what tokens are signed with (`none` and unknown names too), `key` with which
    key: a joserfc key, or bytes for HS256 (the client secret unless given). A `header` that
    names another alg or kid leaves the signature as it was. `payload` and `signature` change
    bytes.
    """

    claims: Change = None
    header: Change = None
    alg: str | None = None
    key: RSAKey | ECKey | bytes | None = None
    payload: Callable[[bytes], bytes] | None = None
    signature: Callable[[bytes], bytes] | None = None
    jwks: Change = None
    discovery: Change = None
    authorize: Change = None
    token: Change = None
    userinfo: Change = None
    logout: Change = None


CANCELLED: Final = {"error": "access_denied", "code": ABSENT}
"""`lies.authorize`: the person said no."""
UNAVAILABLE: Final = {"error": "temporarily_unavailable", "code": ABSENT}


def oct_key(jwks: dict[str, Any]) -> dict[str, Any]:
    """`lies.jwks`: each key is announced as a shared secret."""
    secret = _b64(b"a secret that everybody can read")
    return {"keys": [{"kty": "oct", "kid": key["kid"], "k": secret} for key in jwks["keys"]]}


def use_enc(jwks: dict[str, Any]) -> dict[str, Any]:
    """`lies.jwks`: the keys are for encryption."""
    return {"keys": [{**key, "use": "enc"} for key in jwks["keys"]]}


def wrong_alg(jwks: dict[str, Any]) -> dict[str, Any]:
    """`lies.jwks`: the keys belong to another algorithm of the same family."""
    other = {"RSA": "PS512", "EC": "ES512"}
    return {"keys": [{**key, "alg": other[key["kty"]]} for key in jwks["keys"]]}


def duplicate_kid(jwks: dict[str, Any]) -> dict[str, Any]:
    """`lies.jwks`: a stranger's key carries the same kid, before and after the real one."""
    strangers = [
        {**new_rsa_key().as_dict(private=False), "kid": key["kid"]} for key in jwks["keys"]
    ]
    return {"keys": [*strangers, *jwks["keys"], *strangers]}


def no_keys(jwks: dict[str, Any]) -> dict[str, Any]:
    """`lies.jwks`: there are none."""
    return {"keys": []}


def new_kid(header: dict[str, Any]) -> dict[str, Any]:
    """`lies.header`: each token names another key that nobody knows (a kid flood)."""
    return {**header, "kid": secrets.token_hex(8)}


def new_rsa_key() -> RSAKey:
    """Return a fresh key whose kid is its thumbprint."""
    return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)


@dataclass
class Grant:
    """What a code stands for."""

    client_id: str
    redirect_uri: str
    scopes: frozenset[str]
    nonce: str | None
    challenge: str | None
    person: dict[str, Any]
    at: datetime
    used: bool = False
    access_token: str | None = None


@dataclass(frozen=True)
class Posted:
    """A form that the provider's page posts to us (`response_mode=form_post`)."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class LyingProvider(LoopbackServer):
    """See the module. `seen` holds the requests, `logouts` the parameters of end_session."""

    PATHS: ClassVar[Mapping[str, str]] = {
        "discovery": "/.well-known/openid-configuration",
        "authorize": "/authorize",
        "token": "/token",
        "jwks": "/jwks",
        "userinfo": "/userinfo",
        "end_session": "/end_session",
    }
    secret_methods: tuple[str, ...] = ("client_secret_basic", "client_secret_post")
    requires_openid = True
    requires_pkce = True
    names_itself = True  # RFC 9207

    def __init__(
        self, *, client_id: str = "our-client", client_secret: str = "our-secret-do-not-leak"
    ) -> None:
        super().__init__()
        self.client_id = client_id
        self.client_secret = client_secret
        self.redirect_uris: set[str] | None = None  # None: every address
        self.lean_id_token = False  # True: e-mail and profile in userinfo only
        self.alg = "RS256"
        self.key = new_rsa_key()
        self.ec_key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
        self.old_keys: list[RSAKey] = []
        self.lies = Lies()
        self.logouts: list[dict[str, str]] = []
        self._grants: dict[str, Grant] = {}
        self._access: dict[str, Grant] = {}
        self._person: dict[str, Any] | None = None
        self.person(sub="248289761001", email="jane@example.org", email_verified=True)

    # ---------------------------------------------------------------- what a test says

    @property
    def issuer(self) -> str:
        """Return the issuer identifier."""
        return self.url

    @property
    def discovery_url(self) -> str:
        """Return where the discovery document is."""
        return self.at("discovery")

    @property
    def endpoints(self) -> dict[str, str]:
        """Return the addresses for a connection that does without discovery."""
        names = {
            "authorization_endpoint": "authorize",
            "token_endpoint": "token",
            "userinfo_endpoint": "userinfo",
            "jwks_uri": "jwks",
            "end_session_endpoint": "end_session",
            "emails_endpoint": "emails",
        }
        found = {name: self.at(path) for name, path in names.items() if path in self.PATHS}
        return {"issuer": self.issuer, **found}

    def at(self, endpoint: str) -> str:
        """Return the address of an endpoint by its name in `PATHS`."""
        return self.url + self.PATHS[endpoint]

    def tell_the_truth(self) -> None:
        """End every lie."""
        self.lies = Lies()
        self.answers.clear()

    def person(
        self,
        sub: str = "248289761001",
        email: str | None = None,
        email_verified: bool | None = None,
        **claims: Any,
    ) -> dict[str, Any]:
        """Let a person sign in at the provider now; they are who authorizes from here on.

        `auth_time`, `amr`, `acr` and `sid` are of the sign-in: ID token only.
        """
        said = {"sub": sub, "email": email, "email_verified": email_verified, **claims}
        self._person = {
            "auth_time": int(clock.now().timestamp()),
            "sid": secrets.token_hex(16),
            **{name: value for name, value in said.items() if value is not None},
        }
        return self._person

    @property
    def signed_in(self) -> dict[str, Any] | None:
        """Return who is signed in at the provider."""
        return self._person

    def nobody(self) -> None:
        """Sign everybody out: the next authorization answers `login_required`."""
        self._person = None

    def authorize(self, url: str) -> str:
        """Do what the person's browser does with an authorization URL; return the callback."""
        response, body = self.get(url)
        assert response.status in (302, 303), body.decode()
        return str(response.headers["Location"])

    def authorize_post(self, url: str) -> Posted:
        """Do the same where the answer is posted by a page (`response_mode=form_post`)."""
        response, body = self.get(url)
        assert response.status == 200, body.decode()
        return _Form(body.decode()).posted()

    def rotate(self, *, keep: bool = True) -> RSAKey:
        """Sign with a new key from now on; the old one stays published where `keep`."""
        self.old_keys = [*self.old_keys, self.key] if keep else []
        self.key = new_rsa_key()
        return self.key

    def public_pem(self) -> bytes:
        """Return the public signing key, which some take for an HMAC secret."""
        return bytes(self.key.as_pem(private=False))

    def id_token(
        self, *, nonce: str | None = None, access_token: str | None = None, **more: Any
    ) -> str:
        """Return an ID token for our client without a flow, with the lies of the moment."""
        assert self._person is not None, "nobody is signed in"
        scopes = frozenset(SCOPE_CLAIMS) | {"openid"}
        at = clock.now()
        grant = Grant(self.client_id, "", scopes, nonce, None, {**self._person, **more}, at)
        return self.sign(changed(self.id_claims(grant, access_token), self.lies.claims))

    def logout_token(self, *, sub: str | None = None, sid: str | None = None) -> str:
        """Return a logout token (Back-Channel Logout 1.0, 2.4), with `lies.logout`."""
        at = int(clock.now().timestamp())
        honest: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.client_id,
            "iat": at,
            "exp": at + 120,
            "jti": secrets.token_hex(16),
            "events": {LOGOUT_EVENT: {}},
            **({"sub": sub} if sub else {}),
            **({"sid": sid} if sid else {}),
        }
        return self.sign(changed(honest, self.lies.logout), typ="logout+jwt")

    def sign(self, claims: Any, *, typ: str = "JWT") -> str:
        """Return a compact JWS over claims, with the lies about header, key and bytes."""
        alg = self.lies.alg or self.alg
        kid = self.ec_key.kid if alg.startswith("ES") else self.key.kid
        header = changed({"alg": alg, "typ": typ, "kid": kid}, self.lies.header)
        payload = json.dumps(claims).encode()
        if self.lies.payload:
            payload = self.lies.payload(payload)
        text = f"{_b64(json.dumps(header).encode())}.{_b64(payload)}"
        signature = self._signature(alg, text.encode())
        if self.lies.signature:
            signature = self.lies.signature(signature)
        return f"{text}.{_b64(signature)}"

    # ---------------------------------------------------------------- endpoints

    def endpoint(self, request: Request) -> str | None:
        """Return the endpoint's name."""
        names = {path: name for name, path in self.PATHS.items()}
        return names.get(request.path)

    def honest(self, endpoint: str, request: Request) -> Answer:
        """Answer as the specifications say, `lies` apart."""
        answer: Answer = getattr(self, f"on_{endpoint}")(request)
        return answer

    def on_discovery(self, request: Request) -> Answer:
        """Answer the discovery document (OpenID Connect Discovery 1.0, 4.2)."""
        return Answer(200, changed(self.discovery(), self.lies.discovery))

    def discovery(self) -> dict[str, Any]:
        """Return the honest discovery document."""
        return {
            **self.endpoints,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "form_post"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "token_endpoint_auth_methods_supported": list(self.secret_methods),
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", *SCOPE_CLAIMS],
            "authorization_response_iss_parameter_supported": self.names_itself,
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
        }

    def on_jwks(self, request: Request) -> Answer:
        """Answer the public keys."""
        keys: list[RSAKey | ECKey] = [self.key, self.ec_key, *self.old_keys]
        honest = {"keys": [key.as_dict(private=False) for key in keys]}
        return Answer(200, changed(honest, self.lies.jwks))

    def on_authorize(self, request: Request) -> Answer:
        """Answer an authorization request for the person who is signed in (Core 3.1.2)."""
        asked = request.query if request.method == "GET" else request.form
        uri = asked.get("redirect_uri", "")
        known = self.redirect_uris is None or uri in self.redirect_uris
        if asked.get("client_id") != self.client_id or not uri or not known:
            raise Refused(Answer(400, "<!doctype html><p>Unknown client or redirect_uri."))
        try:
            told = {"code": self._code(asked)}
        except Refused as refusal:
            told = dict(refusal.answer.body)
        if "state" in asked:
            told["state"] = asked["state"]
        if self.names_itself:
            told["iss"] = self.issuer
        told.update(self.beside_the_code(asked))
        return _response(uri, changed(told, self.lies.authorize), asked.get("response_mode"))

    def beside_the_code(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Return what this provider adds to an authorization response."""
        return {}

    def on_token(self, request: Request) -> Answer:
        """Redeem a code, once (RFC 6749, 4.1.3; RFC 7636, 4.6)."""
        form = request.form
        self.authenticate(request, form)
        if form.get("grant_type") != "authorization_code":
            raise Refused(oauth_error("unsupported_grant_type"))
        grant = self.redeemed(form)
        access = self.granted(grant, secrets.token_urlsafe(32))
        honest = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": " ".join(sorted(grant.scopes)),
            "id_token": self.sign(changed(self.id_claims(grant, access), self.lies.claims)),
        }
        return Answer(200, changed(honest, self.lies.token))

    def on_userinfo(self, request: Request) -> Answer:
        """Answer the claims of the access token's person (Core 5.3)."""
        grant = self.held(request)
        return Answer(200, changed(self.userinfo(grant), self.lies.userinfo))

    def on_end_session(self, request: Request) -> Answer:
        """End the person's session and send them back (RP-Initiated Logout 1.0)."""
        asked = request.query if request.method == "GET" else request.form
        hint = asked.get("id_token_hint")
        if hint is not None:
            self._check_hint(hint)
        self.logouts.append(asked)
        self._person = None
        back = asked.get("post_logout_redirect_uri")
        if back is None:
            return Answer(200, "<!doctype html><p>You are signed out.")
        return _response(back, {"state": asked["state"]} if "state" in asked else {}, None)

    # ---------------------------------------------------------------- what they rest on

    def authenticate(self, request: Request, form: Mapping[str, str]) -> None:
        """Check who redeems, by exactly one method (RFC 6749, 2.3.1). Raises Refused."""
        basic = request.headers.get("authorization", "")
        posted = form.get("client_secret")
        if basic and posted is not None:
            raise Refused(oauth_error("invalid_request", "two ways of authentication"))
        method = "client_secret_basic" if basic else "client_secret_post"
        shown = _basic(basic) if basic else (form.get("client_id", ""), posted or "")
        right = shown == (self.client_id, self.client_secret)
        if method not in self.secret_methods or not right:
            answer = oauth_error("invalid_client", status=401)
            raise Refused(Answer(401, answer.body, {"WWW-Authenticate": 'Basic realm="token"'}))

    def held(self, request: Request) -> Grant:
        """Return the grant of the access token that a request bears. Raises Refused."""
        grant = self.of_token(request.bearer)
        if grant is None:
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise Refused(Answer(401, {"error": "invalid_token"}, challenge))
        return grant

    def granted(self, grant: Grant, access_token: str) -> str:
        """Give an access token for a grant and return it."""
        grant.access_token = access_token
        self._access[access_token] = grant
        return access_token

    def of_token(self, access_token: str) -> Grant | None:
        """Return the grant of an access token that still works."""
        grant = self._access.get(access_token)
        old = grant is not None and (clock.now() - grant.at).total_seconds() > TOKEN_SECONDS
        return None if old else grant

    def userinfo(self, grant: Grant) -> dict[str, Any]:
        """Return the claims that the scopes of a grant give."""
        allowed = set().union(*(SCOPE_CLAIMS.get(scope, set()) for scope in grant.scopes))
        return {
            name: value
            for name, value in grant.person.items()
            if name not in _OF_SIGN_IN and (name not in _SCOPED or name in allowed)
        }

    def id_claims(self, grant: Grant, access_token: str | None) -> dict[str, Any]:
        """Return the honest claims of an ID token (Core 2 and 3.1.3.6)."""
        at = int(clock.now().timestamp())
        about = {"sub": grant.person["sub"]} if self.lean_id_token else self.userinfo(grant)
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": grant.client_id,
            "iat": at,
            "exp": at + TOKEN_SECONDS,
            **about,
            **{name: grant.person[name] for name in _OF_SIGN_IN if name in grant.person},
        }
        if grant.nonce is not None:
            claims["nonce"] = grant.nonce
        if access_token is not None:
            half = hashlib.sha256(access_token.encode()).digest()[:16]
            claims["at_hash"] = _b64(half)
        return claims

    def _code(self, asked: Mapping[str, str]) -> str:
        scopes = frozenset(asked.get("scope", "").split())
        if asked.get("response_type") != "code":
            raise Refused(oauth_error("unsupported_response_type"))
        if self.requires_openid and "openid" not in scopes:
            raise Refused(oauth_error("invalid_scope"))
        challenge = asked.get("code_challenge")
        plain = challenge is not None and asked.get("code_challenge_method") != "S256"
        if plain or (challenge is None and self.requires_pkce):
            raise Refused(oauth_error("invalid_request", "PKCE with S256 is required"))
        person = self.fresh_person(asked)
        code = secrets.token_urlsafe(24)
        nonce, at = asked.get("nonce"), clock.now()
        self._grants[code] = Grant(
            self.client_id, asked["redirect_uri"], scopes, nonce, challenge, person, at
        )
        return code

    def fresh_person(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return who is signed in, again where the request wants that (Core 3.1.2.1)."""
        if self._person is None:
            raise Refused(oauth_error("login_required"))
        now = int(clock.now().timestamp())
        age = now - int(self._person["auth_time"])
        if asked.get("prompt") == "login" or age > int(asked.get("max_age", age)):
            self._person["auth_time"] = now
        return dict(self._person)

    def redeemed(self, form: Mapping[str, str]) -> Grant:
        """Return the grant of a code and use it up. Raises Refused."""
        grant = self._grants.get(form.get("code", ""))
        if grant is None or (clock.now() - grant.at).total_seconds() > CODE_SECONDS:
            raise Refused(oauth_error("invalid_grant", "unknown or old code"))
        if grant.used:  # RFC 6749, 4.1.2: what it gave is revoked
            self._access.pop(grant.access_token or "", None)
            raise Refused(oauth_error("invalid_grant", "used code"))
        if form.get("redirect_uri") != grant.redirect_uri:
            raise Refused(oauth_error("invalid_grant", "another redirect_uri"))
        verifier = form.get("code_verifier")
        right = _s256(verifier) if verifier is not None else None
        if right != grant.challenge:
            raise Refused(oauth_error("invalid_grant", "wrong code_verifier"))
        grant.used = True
        return grant

    def _check_hint(self, hint: str) -> None:
        try:
            token = jwt.decode(hint, KeySet([self.key, self.ec_key, *self.old_keys]))
        except (JoseError, ValueError):
            raise Refused(Answer(400, "<!doctype html><p>Wrong id_token_hint.")) from None
        if token.claims.get("aud") != self.client_id:
            raise Refused(Answer(400, "<!doctype html><p>Somebody else's id_token_hint."))

    def _signature(self, alg: str, text: bytes) -> bytes:
        if alg == "none":
            return b""
        if alg.startswith("HS"):
            key = self.lies.key if isinstance(self.lies.key, bytes) else self.client_secret.encode()
            return hmac.digest(key, text, f"sha{alg[2:]}")
        if alg not in JWSRegistry.algorithms:
            return bytes(64)
        own = self.ec_key if alg.startswith("ES") else self.key
        return bytes(JWSRegistry.algorithms[alg].sign(text, self.lies.key or own))


def _response(uri: str, told: Any, mode: str | None) -> Answer:
    if mode == "form_post":
        fields = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(str(value))}">'
            for name, value in told.items()
        )
        page = f'<!doctype html><title>Submit</title><form method="post" action="{escape(uri)}">'
        return Answer(200, f"{page}{fields}<button>Continue</button></form>")
    if not told:
        return Answer(302, b"", {"Location": uri})
    joint = "&" if urlsplit(uri).query else "?"
    return Answer(302, b"", {"Location": f"{uri}{joint}{urlencode(told)}"})


class _Form(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self._action = ""
        self._fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._action = found["action"]
        elif tag == "input":
            self._fields[found["name"]] = found["value"]

    def posted(self) -> Posted:
        """Return the page's form. Raises AssertionError where it has none."""
        assert self._action, "the page posts nothing"
        return Posted(self._action, self._fields)


def _basic(header: str) -> tuple[str, str]:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, secret = base64.b64decode(text, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote_plus(name), unquote_plus(secret)


def _s256(verifier: str) -> str:
    return _b64(hashlib.sha256(verifier.encode()).digest())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
