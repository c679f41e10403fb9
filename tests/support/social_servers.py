"""Loopback stand-ins for GitHub, Facebook, Apple, Microsoft Entra ID and Google.

Each follows its published API where it leaves OpenID Connect, checks what the real one
checks, and lies like `LyingProvider`. A connection gets `server.endpoints` (and, where the
provider has discovery, `server.discovery_url`) in place of the public addresses.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from app.core import clock
from tests.support.loopback import Answer, Refused, Request, oauth_error
from tests.support.lying_provider import Grant, LyingProvider, changed

SIX_MONTHS: Final = 15_777_000
CONSUMERS: Final = "9188040d-6c67-4c5b-b112-36a304b66dad"
A_TENANT: Final = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"


class GitHubServer(LyingProvider):
    """GitHub's OAuth apps: no OpenID, errors with HTTP 200, e-mail by its own API.

    `person(sub="583231", login="octocat", email=…)`; `emails=[…]` in place of the one address,
    `public_email` for the profile's. Served below `/api/v3` too, as GitHub Enterprise does.
    """

    PATHS: ClassVar[Mapping[str, str]] = {
        "authorize": "/login/oauth/authorize",
        "token": "/login/oauth/access_token",
        "userinfo": "/user",
        "emails": "/user/emails",
    }
    CODES: ClassVar[Mapping[str, str]] = {
        "another redirect_uri": "redirect_uri_mismatch",
        "unknown or old code": "bad_verification_code",
        "used code": "bad_verification_code",
        "wrong code_verifier": "bad_verification_code",
    }
    secret_methods = ("client_secret_post",)
    requires_openid = False
    requires_pkce = False

    @property
    def issuer(self) -> str:
        """Return who GitHub says that it is, in each authorization response (RFC 9207)."""
        return f"{self.url}/login/oauth"

    def endpoint(self, request: Request) -> str | None:
        """Return the endpoint's name, of github.com or of an Enterprise server."""
        names = {path: name for name, path in self.PATHS.items()}
        return names.get(request.path.removeprefix("/api/v3"))

    def on_token(self, request: Request) -> Answer:
        """Redeem a code; form-encoded unless JSON is asked for, HTTP 200 whatever happens."""
        form = request.form
        as_json = "application/json" in request.headers.get("accept", "")
        try:
            told = self._tokens(form)
        except Refused as refusal:
            told = dict(refusal.answer.body)
        body = changed(told, self.lies.token)
        if as_json:
            return Answer(200, body)
        kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        return Answer(200, urlencode(body), kind)

    def _tokens(self, form: Mapping[str, str]) -> dict[str, Any]:
        shown = (form.get("client_id"), form.get("client_secret"))
        if shown != (self.client_id, self.client_secret):
            raise Refused(oauth_error("incorrect_client_credentials"))
        try:
            grant = self.redeemed(form)
        except Refused as refusal:
            cause = str(refusal.answer.body["error_description"])
            raise Refused(oauth_error(self.CODES[cause], cause)) from None
        access = self.granted(grant, "gho_" + secrets.token_hex(20))
        scope = ",".join(sorted(grant.scopes))
        return {"access_token": access, "scope": scope, "token_type": "bearer"}

    def held(self, request: Request) -> Grant:
        """Return the grant of the bearer's token. Raises Refused in GitHub's words."""
        if not request.headers.get("user-agent"):
            raise Refused(Answer(403, "Request forbidden by administrative rules."))
        try:
            return super().held(request)
        except Refused:
            raise Refused(Answer(401, {"message": "Bad credentials", "status": "401"})) from None

    def userinfo(self, grant: Grant) -> dict[str, Any]:
        """Return the profile (`GET /user`)."""
        person = grant.person
        return {
            "login": person.get("login", "octocat"),
            "id": int(person["sub"]),
            "node_id": "MDQ6VXNlcjU4MzIzMQ==",
            "avatar_url": "https://avatars.example/u/1?v=4",
            "type": "User",
            "name": person.get("name"),
            "company": person.get("company"),
            "email": person.get("public_email"),
        }

    def on_emails(self, request: Request) -> Answer:
        """List the addresses (`GET /user/emails`), for the scope `user:email` alone."""
        grant = self.held(request)
        if not grant.scopes & {"user", "user:email"}:
            raise Refused(Answer(404, {"message": "Not Found", "status": "404"}))
        return Answer(200, grant.person.get("emails", _one_email(grant.person)))


def _one_email(person: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "email" not in person:
        return []
    verified = person.get("email_verified", False)
    about = {"primary": True, "verified": verified, "visibility": "private"}
    return [{"email": person["email"], **about}]


class FacebookServer(LyingProvider):
    """Facebook Login and the Graph API, with or without a version in the path.

    `proof_required` is the app's setting "Require app secret". `lies.userinfo` changes `/me`,
    `debug` what `/debug_token` says.
    """

    PATHS: ClassVar[Mapping[str, str]] = {
        "authorize": "/v23.0/dialog/oauth",
        "token": "/v23.0/oauth/access_token",
        "userinfo": "/v23.0/me",
        "debug": "/v23.0/debug_token",
    }
    FIELDS: ClassVar[frozenset[str]] = frozenset(
        {"id", "name", "first_name", "last_name", "middle_name", "email", "picture", "short_name"}
    )
    requires_openid = False
    requires_pkce = False
    names_itself = False

    def __init__(
        self, *, client_id: str = "1234567890", client_secret: str = "app-secret-do-not-leak"
    ) -> None:
        super().__init__(client_id=client_id, client_secret=client_secret)
        self.proof_required = True
        self.debug: dict[str, Any] = {}

    def endpoint(self, request: Request) -> str | None:
        """Return the endpoint's name; the version is the caller's choice."""
        names = {path.removeprefix("/v23.0"): name for name, path in self.PATHS.items()}
        return names.get(re.sub(r"^/v\d+\.\d+(?=/)", "", request.path))

    def _response_error(self, code: int, message: str, status: int = 400) -> Refused:
        error = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A1"}
        return Refused(Answer(status, {"error": error}))

    def on_token(self, request: Request) -> Answer:
        """Redeem a code, by query or by form."""
        asked = request.query if request.method == "GET" else request.form
        if asked.get("client_id") != self.client_id:
            raise self._response_error(101, "Error validating application.")
        if asked.get("client_secret") != self.client_secret:
            raise self._response_error(1, "Error validating client secret.")
        try:
            grant = self.redeemed(asked)
        except Refused as refusal:
            raise self._response_error(100, str(refusal.answer.body["error_description"])) from None
        access = self.granted(grant, "EAAB" + secrets.token_hex(40))
        honest = {"access_token": access, "token_type": "bearer", "expires_in": 5_183_944}
        return Answer(200, changed(honest, self.lies.token))

    def on_userinfo(self, request: Request) -> Answer:
        """Answer `/me` with the fields asked for, proof of the app secret checked."""
        asked = request.query
        token = asked.get("access_token") or request.bearer
        grant = self.of_token(token)
        if grant is None:
            raise self._response_error(190, "Invalid OAuth access token.", 401)
        proof = hmac.new(self.client_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        shown = asked.get("appsecret_proof")
        if shown is None and self.proof_required:
            raise self._response_error(100, "API calls require an appsecret_proof argument")
        if shown not in (None, proof):
            raise self._response_error(100, "Invalid appsecret_proof provided in the API argument")
        # `picture.type(large)` and `friends{name}` are the field and what is wanted of it.
        names = re.sub(r"\(.*?\)|\{.*?\}", "", asked.get("fields", "id,name"))
        fields = {name.partition(".")[0] for name in names.split(",")}
        if not fields <= self.FIELDS:
            raise self._response_error(100, "Tried accessing nonexisting field")
        return Answer(200, changed(self._profile(grant, fields | {"id"}), self.lies.userinfo))

    def _profile(self, grant: Grant, fields: set[str]) -> dict[str, Any]:
        person = grant.person
        known = {
            **person,
            "id": person["sub"],
            "name": person.get("name", "Jane Doe"),
            "picture": {"data": {"url": "https://picture.example/1", "is_silhouette": False}},
        }
        if "email" not in grant.scopes:
            known.pop("email", None)
        return {name: value for name, value in known.items() if name in fields}

    def on_debug(self, request: Request) -> Answer:
        """Say which app and person a token belongs to, to that app alone."""
        asked = request.query
        app_token = f"{self.client_id}|{self.client_secret}"
        if (asked.get("access_token") or request.bearer) != app_token:
            raise self._response_error(190, "Invalid OAuth access token.")
        token = asked.get("input_token", "")
        grant = self.of_token(token)
        if grant is None:
            error = {"code": 190, "message": "The access token could not be decrypted"}
            return Answer(200, {"data": {"error": error, "is_valid": False, "scopes": []}})
        honest = {
            "app_id": self.client_id,
            "type": "USER",
            "application": "Tests",
            "expires_at": int(grant.at.timestamp()) + 5_183_944,
            "is_valid": True,
            "scopes": sorted(grant.scopes),
            "user_id": grant.person["sub"],
        }
        return Answer(200, {"data": changed(honest, self.debug)})


class AppleServer(LyingProvider):
    """Sign in with Apple for the web: a signed client secret, form_post, the name only once.

    `private_key` is the PEM that the developer's console would hand out for `key_id`. The
    first authorization of a person posts `user`; `name` is ("Jane", "Doe") unless given.
    """

    PATHS: ClassVar[Mapping[str, str]] = {
        "discovery": "/.well-known/openid-configuration",
        "authorize": "/auth/authorize",
        "token": "/auth/token",
        "jwks": "/auth/keys",
    }
    secret_methods = ("client_secret_post",)
    requires_openid = False
    requires_pkce = False
    names_itself = False

    def __init__(self, *, client_id: str = "org.example.sign-in") -> None:
        super().__init__(client_id=client_id, client_secret="")
        self.team_id = "A1B2C3D4E5"
        self.key_id = "KEY1234567"
        self.audience = "https://appleid.apple.com"
        self.client_key = ECKey.generate_key("P-256")
        self.known: set[str] = set()

    @property
    def private_key(self) -> str:
        """Return the client's key, PKCS #8."""
        return bytes(self.client_key.as_pem(private=True)).decode()

    def on_authorize(self, request: Request) -> Answer:
        """Answer by form_post, which the scopes name and email demand."""
        asked = request.query
        wants = set(asked.get("scope", "").split()) & {"name", "email"}
        if wants and asked.get("response_mode") != "form_post":
            words = "response_mode must be form_post when name or email scope is requested."
            raise Refused(oauth_error("invalid_request", words))
        return super().on_authorize(request)

    def beside_the_code(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Return `user`, the first time and where the name was asked for."""
        person = self.signed_in
        if person is None or person["sub"] in self.known:
            return {}
        self.known.add(person["sub"])
        scopes = asked.get("scope", "").split()
        given, family = person.get("name", ("Jane", "Doe"))
        name = {"name": {"firstName": given, "lastName": family}} if "name" in scopes else {}
        email = {"email": person.get("email")} if "email" in scopes else {}
        return {"user": json.dumps({**name, **email})} if name or email else {}

    def authenticate(self, request: Request, form: Mapping[str, str]) -> None:
        """Check the client secret: a JWT that the client's key signed. Raises Refused."""
        now = clock.now().timestamp()
        try:
            token = jwt.decode(form.get("client_secret", ""), self.client_key, ["ES256"])
        except (JoseError, ValueError):
            raise Refused(oauth_error("invalid_client", "unreadable")) from None
        claims = token.claims
        said = (token.header.get("kid"), claims.get("iss"), claims.get("sub"), claims.get("aud"))
        if said != (self.key_id, self.team_id, self.client_id, self.audience):
            raise Refused(oauth_error("invalid_client", "other claims"))
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int) or not isinstance(expires, int):
            raise Refused(oauth_error("invalid_client", "no times"))
        if issued > now + 60 or not now < expires <= now + SIX_MONTHS:
            raise Refused(oauth_error("invalid_client", "wrong times"))
        if form.get("client_id") != self.client_id:
            raise Refused(oauth_error("invalid_client", "another client_id"))

    def id_claims(self, grant: Grant, access_token: str | None) -> dict[str, Any]:
        """Return Apple's claims: never a name; `is_private_email` where it is a relay."""
        claims = super().id_claims(grant, access_token)
        email = str(claims.get("email", ""))
        relay = {"is_private_email": True} if email.endswith("@privaterelay.appleid.com") else {}
        kept = {name: value for name, value in claims.items() if name not in ("name", "sid")}
        return {**kept, "nonce_supported": True, **relay}


class EntraServer(LyingProvider):
    """Microsoft Entra ID v2.0: many tenants behind one discovery with a templated issuer.

    `person(tid=…, oid=…, xms_edov=…)`. The authority is `organizations` unless `authority`
    names another; a tenant's own authority refuses people of others.
    """

    PATHS: ClassVar[Mapping[str, str]] = {
        "discovery": "/{tenant}/v2.0/.well-known/openid-configuration",
        "authorize": "/{tenant}/oauth2/v2.0/authorize",
        "token": "/{tenant}/oauth2/v2.0/token",
        "jwks": "/{tenant}/discovery/v2.0/keys",
        "userinfo": "/oidc/userinfo",
        "end_session": "/{tenant}/oauth2/v2.0/logout",
    }
    SHARED: ClassVar[frozenset[str]] = frozenset({"common", "organizations", "consumers"})
    requires_pkce = False
    names_itself = False
    authority = "organizations"

    @property
    def issuer(self) -> str:
        """Return the issuer of the authority, which is a template where it has many tenants."""
        several = self.authority in {"common", "organizations"}
        return self.issuer_of("{tenantid}" if several else self._tenant(self.authority))

    def issuer_of(self, tenant: str) -> str:
        """Return the issuer of a tenant's tokens."""
        return f"{self.url}/{tenant}/v2.0"

    def at(self, endpoint: str) -> str:
        """Return an address below the authority."""
        return self.url + self.PATHS[endpoint].replace("{tenant}", self.authority)

    def endpoint(self, request: Request) -> str | None:
        """Return the endpoint's name below any authority."""
        for name, path in self.PATHS.items():
            if re.fullmatch(re.escape(path).replace(r"\{tenant\}", "[^/]+"), request.path):
                return name
        return None

    def person(
        self,
        sub: str = "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
        email: str | None = None,
        email_verified: bool | None = None,
        **claims: Any,
    ) -> dict[str, Any]:
        """Let a person of tenant `tid` with the object id `oid` sign in; none is verified here."""
        ids = {"tid": A_TENANT, "oid": str(uuid.uuid5(uuid.NAMESPACE_OID, sub)), "name": "Jane Doe"}
        return super().person(sub, email, **{"preferred_username": email, **ids, **claims})

    def discovery(self) -> dict[str, Any]:
        """Return the document of the authority that was asked."""
        return {
            **super().discovery(),
            "id_token_signing_alg_values_supported": ["RS256"],
            "subject_types_supported": ["pairwise"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "token_endpoint_auth_methods_supported": [
                "client_secret_post",
                "private_key_jwt",
                "client_secret_basic",
            ],
            "request_uri_parameter_supported": False,
            "tenant_region_scope": None,
        }

    def on_jwks(self, request: Request) -> Answer:
        """Answer the keys as Entra does: without `alg`, each with the issuer it signs for."""
        keys = []
        for key in (self.key, *self.old_keys):
            public = key.as_dict(private=False)
            public.pop("alg")
            keys.append({**public, "x5t": key.kid, "issuer": self.issuer_of("{tenantid}")})
        return Answer(200, changed({"keys": keys}, self.lies.jwks))

    def on_authorize(self, request: Request) -> Answer:
        """Refuse people of another tenant at a tenant's own authority (AADSTS50020)."""
        asked = request.path.split("/")[1]
        theirs = self.signed_in["tid"] if self.signed_in else asked
        if asked not in {"common", "organizations"} and self._tenant(asked) != theirs:
            raise Refused(Answer(400, "<!doctype html><p>AADSTS50020: no such user here."))
        return super().on_authorize(request)

    def id_claims(self, grant: Grant, access_token: str | None) -> dict[str, Any]:
        """Return a v2.0 ID token's claims; the token endpoint gives no `at_hash`."""
        claims = super().id_claims(grant, None)
        claims.pop("email_verified", None)
        return {
            **claims,
            "iss": self.issuer_of(grant.person["tid"]),
            "nbf": claims["iat"],
            "ver": "2.0",
            "uti": secrets.token_urlsafe(16),
        }

    def on_userinfo(self, request: Request) -> Answer:
        """Answer what Microsoft Graph's UserInfo has: no tenant and no object id."""
        said = self.userinfo(self.held(request))
        names = ("sub", "name", "given_name", "family_name", "email", "picture")
        honest = {name: said[name] for name in names if name in said}
        return Answer(200, changed(honest, self.lies.userinfo))

    def _tenant(self, authority: str) -> str:
        return CONSUMERS if authority == "consumers" else authority


class GoogleServer(LyingProvider):
    """Google: `hd` names the Workspace domain of an account; the request's `hd` is a wish.

    `person(hd="example.org")` is of a Workspace, without it a consumer's account.
    """

    PATHS: ClassVar[Mapping[str, str]] = {
        "discovery": "/.well-known/openid-configuration",
        "authorize": "/o/oauth2/v2/auth",
        "token": "/token",
        "jwks": "/oauth2/v3/certs",
        "userinfo": "/v1/userinfo",
    }
    requires_pkce = False

    def id_claims(self, grant: Grant, access_token: str | None) -> dict[str, Any]:
        """Return Google's claims: `azp` always, nothing about the session."""
        claims = super().id_claims(grant, access_token)
        kept = {k: v for k, v in claims.items() if k not in ("sid", "auth_time", "amr", "acr")}
        return {**kept, "azp": grant.client_id}
