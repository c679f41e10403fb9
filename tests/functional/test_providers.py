"""Each identity provider against a local server that follows its published interface."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from joserfc.jwk import ECKey, RSAKey

from app.auth.providers.claims import email, person, text
from app.auth.sso.connection import Connection
from app.auth.sso.errors_sso import SsoRefused, SsoUnavailable
from app.auth.sso.protocol.metadata import discover
from app.auth.sso.userinfo import UserInfo
from tests.support.connections import Trip, a_connection
from tests.support.loopback import BROKEN, Answer
from tests.support.lying_provider import ABSENT, LyingProvider
from tests.support.social_servers import (
    A_TENANT,
    CONSUMERS,
    AppleServer,
    EntraServer,
    FacebookServer,
    GitHubServer,
    GoogleServer,
)

Server = TypeVar("Server", bound=LyingProvider)
OTHER_TENANT = "11111111-2222-3333-4444-555555555555"


def honest(server: Server) -> Server:
    """Return a server as it was when it started."""
    server.tell_the_truth()
    server.requests.clear()
    server.seen.clear()
    return server


def reason(trip: Trip, server: LyingProvider) -> str:
    with pytest.raises(SsoRefused) as refused:
        trip.sign_in(server)
    return refused.value.reason


def asked(trip: Trip) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(trip.url()).query))


# ---------------------------------------------------------------- generic OpenID Connect


@pytest.fixture(scope="module")
def oidc_server() -> Iterator[LyingProvider]:
    with LyingProvider() as server:
        yield server


# A curve that joserfc does not know, and says so by an error of its own kind.
BRAINPOOL = (
    ec.generate_private_key(ec.BrainpoolP256R1())
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    .decode()
)


@pytest.fixture
def oidc(oidc_server: LyingProvider, app: Flask) -> LyingProvider:
    server = honest(oidc_server)
    server.lean_id_token = False
    server.person(
        sub="ann",
        email="ann@example.org",
        email_verified=True,
        name="Ann Example",
        given_name="Ann",
        family_name="Example",
        preferred_username="ann",
        picture="https://pictures.example/ann.png",
        locale="de-AT",
        phone_number="+436641234567",
        organization="Example",
        amr=["pwd", "otp"],
        acr="gold",
        sid="session-1",
    )
    return server


def test_g1_any_openid_provider_says_who_signed_in(oidc: LyingProvider) -> None:
    scopes = ("openid", "email", "profile", "phone")
    who = Trip(a_connection(oidc, scopes=scopes)).sign_in(oidc)
    assert (who.issuer, who.subject) == (oidc.issuer, "ann")
    assert (who.email, who.email_verified) == ("ann@example.org", True)
    assert (who.name, who.given_name, who.family_name) == ("Ann Example", "Ann", "Example")
    assert (who.username, who.locale, who.organization) == ("ann", "de-AT", "Example")
    assert who.phone_number == "+436641234567"
    assert who.picture == "https://pictures.example/ann.png"
    assert (who.amr, who.acr, who.sid) == (("pwd", "otp"), "gold", "session-1")
    assert who.auth_time is not None
    assert not {"nonce", "at_hash"} & who.claims.keys()


def test_g4_groups_that_userinfo_alone_tells_are_known(oidc: LyingProvider) -> None:
    oidc.lies.userinfo = {"groups": ["staff"]}
    who = Trip(a_connection(oidc)).sign_in(oidc)
    assert who.claims["groups"] == ["staff"]


def test_g1_openid_is_always_among_the_scopes(oidc: LyingProvider) -> None:
    assert asked(Trip(a_connection(oidc)))["scope"] == "openid email profile"
    assert asked(Trip(a_connection(oidc, scopes=("email",))))["scope"] == "openid email"


def test_g1_userinfo_is_asked_for_what_the_token_lacks(oidc: LyingProvider) -> None:
    oidc.lean_id_token = True
    who = Trip(a_connection(oidc)).sign_in(oidc)
    assert (who.email, who.email_verified, who.name) == ("ann@example.org", True, "Ann Example")
    assert oidc.requests["userinfo"] == 1
    oidc.lies.discovery = {"userinfo_endpoint": ABSENT}
    who = Trip(a_connection(oidc)).sign_in(oidc)
    assert (who.subject, who.email, who.name) == ("ann", None, None)


@pytest.mark.parametrize("sub", ["bob", "", None, ABSENT, 7, ["ann"], "ANN", "ann "])
def test_at_189_userinfo_of_somebody_else_is_refused(oidc: LyingProvider, sub: object) -> None:
    oidc.lean_id_token = True
    oidc.lies.userinfo = {"sub": sub}
    assert reason(Trip(a_connection(oidc)), oidc) == "userinfo_sub"


def test_at_189_a_signed_or_broken_userinfo_is_no_answer(oidc: LyingProvider) -> None:
    oidc.lean_id_token = True
    token = oidc.sign({"sub": "ann", "email": "bob@example.org", "email_verified": True})
    signed = Answer(200, token, {"Content-Type": "application/jwt"})
    for answer in (signed, BROKEN, Answer(200, []), Answer(401, {"error": "invalid_token"})):
        oidc.answers["userinfo"] = answer
        with pytest.raises(SsoUnavailable):
            Trip(a_connection(oidc)).sign_in(oidc)


def test_at_200_userinfo_says_nothing_about_the_sign_in(oidc: LyingProvider) -> None:
    oidc.lean_id_token = True
    oidc.lies.claims = {"amr": ABSENT, "acr": ABSENT, "sid": ABSENT, "auth_time": ABSENT}
    oidc.lies.userinfo = {"amr": ["mfa"], "acr": "gold", "sid": "x", "auth_time": 1, "iss": "y"}
    who = Trip(a_connection(oidc)).sign_in(oidc)
    assert (who.amr, who.acr, who.sid, who.auth_time) == ((), None, None, None)
    assert who.claims["iss"] == oidc.issuer


def test_at_214_the_word_verified_belongs_to_the_address_beside_it(oidc: LyingProvider) -> None:
    oidc.lies.claims = {"email": "victim@example.org", "email_verified": ABSENT, "name": ABSENT}
    who = Trip(a_connection(oidc)).sign_in(oidc)
    assert (who.email, who.email_verified) == ("victim@example.org", False)
    oidc.lies.claims = {"email": ABSENT, "email_verified": True}
    oidc.lies.userinfo = {"email": "victim@example.org", "email_verified": False}
    who = Trip(a_connection(oidc)).sign_in(oidc)
    assert (who.email, who.email_verified) == ("victim@example.org", False)


@pytest.mark.parametrize("said", [ABSENT, False, None, "true", "yes", 1, [True], {"a": True}])
def test_at_214_only_true_means_verified(oidc: LyingProvider, said: object) -> None:
    oidc.lies.claims = {"email_verified": said}
    who = Trip(a_connection(oidc)).sign_in(oidc)
    assert (who.email, who.email_verified) == ("ann@example.org", False)


@pytest.mark.parametrize(
    "address",
    ["", "ann", "ann@", "a@b@c.example", "a\r\n@b.example", "a b@c.example", 7, ["x"], "ä@b.de"],
)
def test_at_214_what_is_no_address_is_dropped(oidc: LyingProvider, address: object) -> None:
    oidc.lies.claims = {"email": address}
    who = Trip(a_connection(oidc)).sign_in(oidc)
    assert (who.email, who.email_verified) == (None, False)


def test_at_192_names_and_addresses_never_say_who_it_is(oidc: LyingProvider) -> None:
    before = Trip(a_connection(oidc)).sign_in(oidc)
    oidc.lies.claims = {"preferred_username": "bob", "email": "bob@example.org", "upn": "bob"}
    after = Trip(a_connection(oidc)).sign_in(oidc)
    assert (after.issuer, after.subject) == (before.issuer, before.subject)
    oidc.tell_the_truth()
    oidc.person(sub="bob", email="ann@example.org", email_verified=True, name="Ann Example")
    assert Trip(a_connection(oidc)).sign_in(oidc).subject == "bob"


def test_at_184_a_token_of_another_client_is_refused(oidc: LyingProvider) -> None:
    oidc.lies.claims = {"aud": "another-client"}
    assert reason(Trip(a_connection(oidc)), oidc) == "id_token_aud"


def test_at_179_the_token_of_another_trip_is_refused(oidc: LyingProvider) -> None:
    mine, other = Trip(a_connection(oidc)), Trip(a_connection(oidc))
    back = dict(parse_qsl(urlsplit(oidc.authorize(other.url())).query))
    tokens = other.redeem(back["code"])
    assert other.provider.identify(other.connection, other.answer(tokens)).subject == "ann"
    with pytest.raises(SsoRefused) as refused:
        mine.provider.identify(mine.connection, mine.answer(tokens))
    assert refused.value.reason == "id_token_nonce"


def test_at_200_a_fresh_sign_in_can_be_asked_for(oidc: LyingProvider) -> None:
    trip = Trip(a_connection(oidc), max_age=300)
    assert asked(trip)["max_age"] == "300"
    assert trip.sign_in(oidc).subject == "ann"


def test_g1_values_for_people_are_made_safe(app: Flask) -> None:
    assert text("  Ann\x00\r\n\u202eExample\u2028 ", 80) == "Ann Example"
    assert text("x" * 10_000, 80) == "x" * 80
    assert [text(value, 80) for value in (None, 7, True, [], {}, "", " \n", "\u200b")] == [None] * 8
    assert email("Ann@Example.ORG") == "Ann@example.org"
    who = person(
        {
            "picture": "javascript:alert(1)",
            "locale": "../../etc",
            "phone_number": "call me",
            "amr": ["pwd", 7, "", "x" * 300, "otp"],
            "acr": 7,
            "sid": "s" * 300,
            "auth_time": "now",
            "name": {"a": 1},
        },
        issuer="i",
        subject="s",
    )
    assert (who.picture, who.locale, who.phone_number) == (None, None, None)
    assert (who.amr, who.acr, who.sid, who.auth_time, who.name) == (
        ("pwd", "otp"),
        None,
        None,
        None,
        None,
    )
    for url in (
        "http://plain.example/a.png",
        "https://x/" + "y" * 2000,
        "https://x/ä",
        "https://x/\n",
        7,
    ):
        assert person({"picture": url}, issuer="i", subject="s").picture is None


# ---------------------------------------------------------------- Google


@pytest.fixture(scope="module")
def google_server() -> Iterator[GoogleServer]:
    with GoogleServer() as server:
        yield server


@pytest.fixture
def google(google_server: GoogleServer, app: Flask) -> GoogleServer:
    server = honest(google_server)
    server.person(sub="1", email="ann@gmail.com", email_verified=True, name="Ann")
    return server


def google_connection(server: GoogleServer, domains: str = "") -> Connection:
    return a_connection(server, provider="google", options={"hosted_domains": domains})


def test_g1_a_google_account_signs_in(google: GoogleServer) -> None:
    who = Trip(google_connection(google)).sign_in(google)
    assert (who.subject, who.email, who.email_verified) == ("1", "ann@gmail.com", True)
    assert "hd" not in asked(Trip(google_connection(google)))
    assert "client_secret" in google.last("token").form


@pytest.mark.parametrize(
    ("address", "domain", "verified", "counts"),
    [
        ("ann@gmail.com", None, True, True),
        ("ann@googlemail.com", None, True, True),
        ("ANN@GMAIL.COM", None, True, True),
        ("ann@gmail.com", None, False, False),
        ("ann@example.org", "example.org", True, True),
        ("ann@example.org", "example.org", False, False),
        ("ann@example.org", None, True, False),
        ("ann@example.org", "", True, False),
        ("ann@notgmail.com", None, True, False),
        ("ann@gmail.com.evil.example", None, True, False),
    ],
)
def test_at_214_google_speaks_for_its_own_addresses_only(
    google: GoogleServer, address: str, domain: str | None, verified: bool, counts: bool
) -> None:
    google.person(sub="1", email=address, email_verified=verified, hd=domain, name="Ann")
    who = Trip(google_connection(google)).sign_in(google)
    assert who.email_verified is counts
    assert who.email is not None


def test_g1_only_listed_workspaces_sign_in(google: GoogleServer) -> None:
    trip = Trip(google_connection(google, "example.org"))
    assert asked(trip)["hd"] == "example.org"
    assert reason(trip, google) == "hosted_domain"
    for hd in ("another.example", "example.org.evil.example", "example", ["example.org"], True, ""):
        google.person(sub="1", email="ann@example.org", email_verified=True, hd=hd, name="Ann")
        assert reason(Trip(google_connection(google, "example.org")), google) == "hosted_domain"
    google.person(sub="1", email="ann@example.org", email_verified=True, hd="Example.ORG", name="A")
    several = google_connection(google, "example.com example.org")
    assert asked(Trip(several))["hd"] == "*"
    assert Trip(several).sign_in(google).subject == "1"


def test_at_196_a_google_address_never_says_who_it_is(google: GoogleServer) -> None:
    google.person(sub="2", email="ann@gmail.com", email_verified=True, name="Ann")
    assert Trip(google_connection(google)).sign_in(google).subject == "2"


# ---------------------------------------------------------------- Entra ID


@pytest.fixture(scope="module")
def entra_server() -> Iterator[EntraServer]:
    with EntraServer() as server:
        yield server


@pytest.fixture
def entra(entra_server: EntraServer, app: Flask) -> EntraServer:
    server = honest(entra_server)
    server.authority = A_TENANT
    server.person(email="ann@example.org")
    return server


def entra_connection(server: EntraServer, tenants: str = A_TENANT, **values: Any) -> Connection:
    known = {"provider": "azure", "options": {"tenants": tenants}, **values}
    return a_connection(server, **known)


def test_g3_a_person_of_entra_is_tenant_and_object(entra: EntraServer) -> None:
    one = entra.person(email="ann@example.org")
    who = Trip(entra_connection(entra)).sign_in(entra)
    assert who.issuer == entra.issuer_of(A_TENANT)
    assert who.subject == f"{A_TENANT}.{one['oid']}"
    assert who.username == "ann@example.org"
    assert entra.last("discovery").path == f"/{A_TENANT}/v2.0/.well-known/openid-configuration"


@pytest.fixture
def organizations(entra: EntraServer) -> Connection:
    entra.authority = "organizations"
    return entra_connection(entra, f"{A_TENANT.upper()} {OTHER_TENANT} common contoso.com")


def test_g3_people_of_every_listed_tenant_sign_in(
    entra: EntraServer, organizations: Connection
) -> None:
    for tenant in (A_TENANT, OTHER_TENANT):
        account = entra.person(email="ann@example.org", tid=tenant)["oid"]
        who = Trip(organizations).sign_in(entra)
        assert (who.issuer, who.subject) == (entra.issuer_of(tenant), f"{tenant}.{account}")
    assert entra.last("discovery").path.startswith("/organizations/")


@pytest.mark.parametrize(
    "tenant",
    [
        CONSUMERS,
        "b1a5c0de-2b34-4da1-9baa-8bc8c9d6a490",
        "",
        None,
        "{tenantid}",
        "common",
        [A_TENANT],
        7,
        A_TENANT.upper(),
    ],
)
def test_g3_people_of_other_tenants_do_not(
    entra: EntraServer, organizations: Connection, tenant: object
) -> None:
    entra.lies.claims = {"tid": tenant}
    assert reason(Trip(organizations), entra) == "tenant"
    entra.lies.claims = {"tid": ABSENT}
    assert reason(Trip(organizations), entra) == "tenant"


def test_at_182_the_issuer_is_that_of_the_tenant_in_the_token(
    entra: EntraServer, organizations: Connection
) -> None:
    for iss in (
        entra.issuer_of(OTHER_TENANT),
        entra.issuer_of("{tenantid}"),
        entra.issuer_of(A_TENANT) + "/",
        f"https://sts.windows.net/{A_TENANT}/",
    ):
        entra.lies.claims = {"iss": iss}
        assert reason(Trip(organizations), entra) == "id_token_iss"
    entra.lies.claims = {"tid": OTHER_TENANT}
    assert reason(Trip(organizations), entra) == "id_token_iss"


def test_at_182_a_key_of_another_authority_signs_nothing(
    entra: EntraServer, organizations: Connection
) -> None:
    other = f"https://login.microsoftonline.com/{CONSUMERS}/v2.0"
    entra.lies.jwks = lambda told: {"keys": [{**key, "issuer": other} for key in told["keys"]]}
    assert reason(Trip(organizations), entra) == "key"
    entra.lies.jwks = lambda told: {
        "keys": [{**key, "issuer": entra.issuer_of(CONSUMERS)} for key in told["keys"]]
    }
    fresh = replace(organizations, id=uuid.uuid4())
    assert reason(Trip(fresh), entra) == "key"


@pytest.mark.parametrize(
    "tenants", ["", " ", "common", "organizations", "consumers", "contoso.com", "*"]
)
def test_g3_without_listed_tenants_nobody_is_sent(entra: EntraServer, tenants: str) -> None:
    with pytest.raises(SsoUnavailable) as refused:
        Trip(entra_connection(entra, tenants)).url()
    assert refused.value.reason == "tenants"


@pytest.mark.parametrize(
    "oid", [ABSENT, None, "", "ann@example.org", 7, "x" * 36, A_TENANT.upper()]
)
def test_at_192_without_an_object_id_nobody_is_known(entra: EntraServer, oid: object) -> None:
    entra.lies.claims = {"oid": oid}
    assert reason(Trip(entra_connection(entra)), entra) == "oid"


@pytest.mark.parametrize(
    ("edov", "counts"),
    [(True, True), ("1", True), ("true", True), (False, False), ("0", False), ("false", False),
     (ABSENT, False), (None, False), ([True], False), ("yes", False)],
)  # fmt: skip
def test_at_214_an_address_of_entra_counts_where_its_domain_owner_is_verified(
    entra: EntraServer, edov: object, counts: bool
) -> None:
    entra.lies.claims = {"xms_edov": edov, "email_verified": True}
    who = Trip(entra_connection(entra)).sign_in(entra)
    assert (who.email, who.email_verified) == ("ann@example.org", counts)


def test_at_192_the_address_that_a_tenant_writes_changes_nobody(entra: EntraServer) -> None:
    before = Trip(entra_connection(entra)).sign_in(entra)
    entra.lies.claims = {"email": "victim@example.org", "preferred_username": "victim", "upn": "v"}
    after = Trip(entra_connection(entra)).sign_in(entra)
    assert after.subject == before.subject
    assert after.email_verified is False


def test_g1_a_national_cloud_is_a_matter_of_settings(entra: EntraServer) -> None:
    by_issuer = entra_connection(
        entra, discovery_url=None, endpoints={"issuer": entra.issuer_of("{tenantid}")}
    )
    assert Trip(by_issuer).sign_in(entra).issuer == entra.issuer_of(A_TENANT)
    complete = entra_connection(entra, discovery_url=None, endpoints=entra.endpoints)
    assert Trip(complete).sign_in(entra).issuer == entra.issuer_of(A_TENANT)


# ---------------------------------------------------------------- GitHub


@pytest.fixture(scope="module")
def github_server() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        yield server


@pytest.fixture
def github(github_server: GitHubServer, app: Flask) -> GitHubServer:
    server = honest(github_server)
    server.person(
        sub="583231", login="octocat", email="ann@example.org", email_verified=True, name="Ann"
    )
    return server


def github_connection(server: GitHubServer, **values: Any) -> Connection:
    return a_connection(server, **{"provider": "github", "endpoints": server.endpoints, **values})


def test_g1_github_names_a_person_by_number(github: GitHubServer) -> None:
    trip = Trip(github_connection(github))
    assert asked(trip)["scope"] == "read:user user:email"
    who = trip.sign_in(github)
    assert (who.issuer, who.subject) == (github.issuer, "583231")
    assert (who.username, who.name) == ("octocat", "Ann")
    assert (who.email, who.email_verified) == ("ann@example.org", True)
    assert who.picture == "https://avatars.example/u/1?v=4"
    assert github.last("token").form["client_secret"] == github.client_secret


def test_g1_the_public_issuer_is_what_github_names_itself(app: Flask) -> None:
    told = Trip(a_connection(provider="github")).provider.metadata(a_connection(provider="github"))
    assert told.issuer == "https://github.com/login/oauth"


@pytest.mark.parametrize(
    "emails",
    [
        [],
        [{"email": "ann@example.org", "primary": True, "verified": False}],
        [{"email": "ann@example.org", "primary": False, "verified": True}],
        [{"email": "ann@example.org", "primary": True}],
        [{"email": "ann@example.org", "primary": "true", "verified": "true"}],
        [{"email": "ann@example.org", "primary": True, "verified": 1}],
        [{"email": 7, "primary": True, "verified": True}],
        [{"primary": True, "verified": True}],
        ["ann@example.org", None, 7],
    ],
    ids=json.dumps,
)
def test_at_214_an_address_of_github_is_the_primary_verified_one(
    github: GitHubServer, emails: list[Any]
) -> None:
    github.person(sub="583231", emails=emails, public_email="victim@example.org")
    who = Trip(github_connection(github)).sign_in(github)
    assert (who.subject, who.email, who.email_verified) == ("583231", None, False)


def test_g1_the_primary_address_is_picked_among_many(github: GitHubServer) -> None:
    others = [{"email": f"{n}@example.org", "primary": False, "verified": True} for n in range(3)]
    primary = {"email": "ann@example.org", "primary": True, "verified": True}
    github.person(sub="583231", emails=[*others, primary, *others])
    assert Trip(github_connection(github)).sign_in(github).email == "ann@example.org"


@pytest.mark.parametrize("number", [None, ABSENT, "", "octocat", -1, 1.5, True, ["1"], 10**40])
def test_at_192_a_login_is_no_identity(github: GitHubServer, number: object) -> None:
    github.lies.userinfo = {"id": number}
    assert reason(Trip(github_connection(github)), github) == "subject"


def test_at_196_a_recycled_login_is_somebody_else(github: GitHubServer) -> None:
    github.person(sub="999", login="octocat", email="ann@example.org", email_verified=True)
    assert Trip(github_connection(github)).sign_in(github).subject == "999"


def test_g1_an_error_with_status_200_is_a_refusal(github: GitHubServer) -> None:
    trip = Trip(github_connection(github))
    with pytest.raises(SsoRefused) as refused:
        trip.redeem("an-unknown-code")
    assert refused.value.reason == "token_error"


def test_g1_github_enterprise_gets_its_own_tokens_only(github: GitHubServer) -> None:
    own = {**github.endpoints, "userinfo_endpoint": f"{github.url}/api/v3/user"}
    del own["emails_endpoint"]
    who = Trip(github_connection(github, endpoints=own)).sign_in(github)
    assert who.email == "ann@example.org"
    assert github.last("emails").path == "/api/v3/user/emails"


@pytest.mark.parametrize("answer", [Answer(200, {"message": "no list"}), Answer(404, {}), BROKEN])
def test_g1_addresses_that_cannot_be_had_stop_the_sign_in(
    github: GitHubServer, answer: Answer
) -> None:
    github.answers["emails"] = answer
    with pytest.raises(SsoUnavailable):
        Trip(github_connection(github)).sign_in(github)


# ---------------------------------------------------------------- Facebook


@pytest.fixture(scope="module")
def facebook_server() -> Iterator[FacebookServer]:
    with FacebookServer() as server:
        yield server


@pytest.fixture
def facebook(facebook_server: FacebookServer, app: Flask) -> FacebookServer:
    server = honest(facebook_server)
    server.debug = {}
    server.person(
        sub="10215",
        email="ann@example.org",
        email_verified=True,
        name="Ann Example",
        first_name="Ann",
        last_name="Example",
    )
    return server


def facebook_connection(server: FacebookServer) -> Connection:
    return a_connection(server, provider="facebook", endpoints=server.endpoints)


def test_g1_facebook_names_a_person_by_number(facebook: FacebookServer) -> None:
    who = Trip(facebook_connection(facebook)).sign_in(facebook)
    assert (who.issuer, who.subject) == (facebook.issuer, "10215")
    assert (who.name, who.given_name, who.family_name) == ("Ann Example", "Ann", "Example")
    assert who.picture == "https://picture.example/1"
    assert len(facebook.last("userinfo").query["appsecret_proof"]) == 64
    assert "access_token" not in facebook.last("userinfo").query


def test_at_214_an_address_of_facebook_is_never_verified(facebook: FacebookServer) -> None:
    facebook.lies.userinfo = {"email_verified": True, "verified": True}
    who = Trip(facebook_connection(facebook)).sign_in(facebook)
    assert (who.email, who.email_verified) == ("ann@example.org", False)


@pytest.mark.parametrize(
    ("lie", "expected"),
    [
        ({"app_id": "999"}, "token_app"),
        ({"app_id": ABSENT}, "token_app"),
        ({"is_valid": False}, "token_invalid"),
        ({"is_valid": "true"}, "token_invalid"),
        ({"is_valid": ABSENT}, "token_invalid"),
        ({"user_id": "999"}, "userinfo_sub"),
        ({"user_id": ABSENT}, "subject"),
        ({"user_id": "ann"}, "subject"),
    ],
)
def test_at_184_a_token_of_another_app_or_person_is_refused(
    facebook: FacebookServer, lie: dict[str, Any], expected: str
) -> None:
    facebook.debug = lie
    assert reason(Trip(facebook_connection(facebook)), facebook) == expected


@pytest.mark.parametrize("answer", [[], {}, {"data": []}, {"data": None}, 7])
def test_at_184_an_answer_that_says_nothing_about_the_token_is_refused(
    facebook: FacebookServer, answer: Any
) -> None:
    facebook.answers["debug"] = Answer(200, answer)
    assert reason(Trip(facebook_connection(facebook)), facebook) == "token_invalid"


def test_at_184_a_token_that_somebody_passes_on_is_refused(
    facebook: FacebookServer, app: Flask
) -> None:
    """A site of the attacker collected the token; our app is handed it."""
    with FacebookServer(client_id="666", client_secret="theirs") as evil:
        trip = Trip(facebook_connection(evil))
        back = dict(parse_qsl(urlsplit(evil.authorize(trip.url())).query))
        tokens = trip.redeem(back["code"])
    mine = Trip(facebook_connection(facebook))
    with pytest.raises(SsoRefused) as refused:
        mine.provider.identify(mine.connection, mine.answer(tokens))
    assert refused.value.reason == "token_invalid"


@pytest.mark.parametrize("number", ["10216", ABSENT, None, "ann", 7.5])
def test_at_189_the_person_is_the_one_of_the_token(facebook: FacebookServer, number: Any) -> None:
    facebook.lies.userinfo = {"id": number}
    assert reason(Trip(facebook_connection(facebook)), facebook) in {"userinfo_sub", "subject"}


def test_g1_a_picture_of_another_shape_is_dropped(facebook: FacebookServer) -> None:
    for picture in ("https://x.example/1", {"data": []}, {"data": {"url": 7}}, None):
        facebook.lies.userinfo = {"picture": picture}
        found = Trip(facebook_connection(facebook)).sign_in(facebook).picture
        assert found is None


# ---------------------------------------------------------------- Apple


@pytest.fixture(scope="module")
def apple_server() -> Iterator[AppleServer]:
    with AppleServer() as server:
        yield server


@pytest.fixture
def apple(apple_server: AppleServer, app: Flask) -> AppleServer:
    server = honest(apple_server)
    server.known.clear()
    server.person(sub="000792.d710", email="ann@example.org", email_verified=True)
    return server


def apple_connection(server: AppleServer, **values: Any) -> Connection:
    known = {
        "provider": "apple",
        "client_secret": server.private_key,
        "options": {"team_id": server.team_id, "key_id": server.key_id},
        "endpoints": server.endpoints,
    }
    return a_connection(server, **{**known, **values})


def posted(trip: Trip, server: AppleServer) -> UserInfo:
    fields = server.authorize_post(trip.url()).fields
    assert fields["state"] == trip.state
    told = json.loads(fields.get("user", "{}"))
    tokens = trip.redeem(fields["code"])
    return trip.provider.identify(trip.connection, trip.answer(tokens, told))


def test_g1_apple_posts_its_answer_and_tells_the_name_once(apple: AppleServer) -> None:
    trip = Trip(apple_connection(apple))
    assert asked(trip)["response_mode"] == "form_post"
    who = posted(trip, apple)
    assert (who.issuer, who.subject) == (apple.issuer, "000792.d710")
    assert (who.given_name, who.family_name, who.name) == ("Jane", "Doe", "Jane Doe")
    assert (who.email, who.email_verified) == ("ann@example.org", True)
    again = posted(Trip(apple_connection(apple)), apple)
    assert (again.subject, again.name) == (who.subject, None)


def test_g1_the_client_secret_is_a_short_lived_signed_token(apple: AppleServer) -> None:
    posted(Trip(apple_connection(apple)), apple)
    secret = apple.last("token").form["client_secret"]
    assert secret.count(".") == 2
    one_line = apple.private_key.replace("\n", "\\n")
    assert posted(Trip(apple_connection(apple, client_secret=one_line)), apple).subject


@pytest.mark.parametrize("said", [True, "true"])
def test_g1_apple_writes_verified_in_two_ways(apple: AppleServer, said: object) -> None:
    apple.lies.claims = {"email_verified": said}
    assert posted(Trip(apple_connection(apple)), apple).email_verified is True


@pytest.mark.parametrize("said", [False, "false", ABSENT, None, "True", [True]])
def test_at_214_nothing_else_means_verified_to_apple(apple: AppleServer, said: object) -> None:
    apple.lies.claims = {"email_verified": said}
    assert posted(Trip(apple_connection(apple)), apple).email_verified is False


def test_g1_a_relay_address_is_an_address(apple: AppleServer) -> None:
    apple.person(sub="7", email="abc123@privaterelay.appleid.com", email_verified=True)
    who = posted(Trip(apple_connection(apple)), apple)
    assert (who.email, who.email_verified) == ("abc123@privaterelay.appleid.com", True)
    assert who.claims["is_private_email"] is True


@pytest.mark.parametrize(
    "user",
    [
        {"email": "victim@example.org", "email_verified": True, "sub": "1", "name": {}},
        {"name": "Ann"},
        {"name": {"firstName": 7, "lastName": ["x"]}},
        {"name": None, "claims": {"sub": "1"}},
        {"name": {"firstName": "\x00", "lastName": "\u202e"}},
    ],
    ids=json.dumps,
)
def test_at_214_what_stands_beside_the_code_gives_a_name_at_most(
    apple: AppleServer, user: dict[str, Any]
) -> None:
    trip = Trip(apple_connection(apple))
    tokens = trip.redeem(apple.authorize_post(trip.url()).fields["code"])
    who = trip.provider.identify(trip.connection, trip.answer(tokens, user))
    assert (who.subject, who.email, who.name) == ("000792.d710", "ann@example.org", None)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "no key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ECKey.generate_key("P-384").as_pem(private=True).decode(),
        ECKey.generate_key("P-256").as_pem(private=False).decode(),
        RSAKey.generate_key(2048).as_pem(private=True).decode(),
        BRAINPOOL,
    ],
    ids=["none", "text", "broken", "P-384", "public", "RSA", "brainpool"],
)
def test_g1_a_wrong_private_key_is_named_and_not_shown(apple: AppleServer, key: str) -> None:
    trip = Trip(apple_connection(apple, client_secret=key))
    with pytest.raises(SsoUnavailable) as refused:
        trip.redeem("a-code")
    assert refused.value.reason == "private_key"
    assert refused.value.__cause__ is None


def test_g1_apples_discovery_document_is_not_asked(apple: AppleServer) -> None:
    apple.lies.discovery = {"issuer": "https://account.apple.com"}
    posted(Trip(apple_connection(apple)), apple)
    assert apple.requests["discovery"] == 0
    with pytest.raises(SsoRefused):
        discover(a_connection(apple), apple.discovery_url)
