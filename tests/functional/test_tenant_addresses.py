"""Tenants by their address: host, short name in host or path; who may be signed in where (K2)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.auth.web import links
from app.auth.webauthn.relying_party import relying_party
from app.core.db import engine, session, transaction
from app.core.errors import BadRequest, Misconfigured
from app.core.scoping import current_tenant_id, tenant_scope, unscoped
from app.notify.models import IAMOutbox
from app.tenancy import services_addresses as addresses
from app.tenancy.models import IAMTenant
from tests.conftest import Someone, csrf_of, make_app
from tests.support import mailbox, sso
from tests.support.lying_provider import LyingProvider

DOMAIN = "tenants.example"
SLUG_HOST = f"http://other.{DOMAIN}"
OWN = "login.other.example"
BASE = "http://localhost"


@pytest.fixture(scope="module")
def addressed(_shared_app: Flask, database_url: str) -> Iterator[Flask]:
    """Return an app whose tenants have addresses, on the suite's database."""
    app = make_app(database_url, IAM_TENANT_DOMAIN=DOMAIN, IAM_TENANT_PATH="/t")
    app.add_url_rule("/probe", "probe", _probe, methods=["GET", "POST"])
    yield app
    with app.app_context():
        engine().dispose()


@pytest.fixture
def browser(app: Flask, addressed: Flask) -> Iterator[FlaskClient]:
    """Return a browser for that app; what the tests do in its services happens there."""
    with addressed.app_context():
        yield addressed.test_client()
        session().rollback()


@pytest.fixture
def bob(make_user: Callable[..., Someone], other_tenant: uuid.UUID) -> Someone:
    """Return a person of the other tenant."""
    return make_user("bob", tenant_id=other_tenant)


@pytest.fixture
def own_host(other_tenant: uuid.UUID) -> str:
    """Give the other tenant a host name of its own."""
    change(other_tenant, host=OWN)
    return OWN


def _probe() -> str:
    return f"{current_tenant_id()} {links.here_url('iam_auth.login')}"


def change(tenant_id: uuid.UUID, **values: Any) -> None:
    with tenant_scope(tenant_id), transaction():
        session().execute(sa.update(IAMTenant).values(**values))


def enter(browser: FlaskClient, address: str, person: Someone, **form: str) -> Any:
    """Sign in at an address."""
    token = csrf_of(browser.get(f"{address}/auth/login").text)
    data = {"username": person.username, "password": person.password, "csrf_token": token, **form}
    return browser.post(f"{address}/auth/login", data=data)


def tenant_at(browser: FlaskClient, url: str, **how: Any) -> str:
    """Return the tenant that a host's own view finds itself in."""
    answer = browser.get(url, **how)
    assert answer.status_code == 200, answer.text
    return str(answer.text.split()[0])


def statements(act: Callable[[], Any]) -> list[str]:
    """Return what a request asks of the database."""
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    found = engine()
    sa.event.listen(found, "before_cursor_execute", note)
    try:
        assert act().status_code == 200
    finally:
        sa.event.remove(found, "before_cursor_execute", note)
    return [item for item in seen if item.lstrip().upper().startswith("SELECT")]


def links_of(page: str) -> list[str]:
    return re.findall(r'(?:href|action|src)="([^"#]+)"', page)


# Which tenant


@pytest.mark.parametrize("address", [SLUG_HOST, f"{BASE}/t/other", f"http://{OWN}"])
def test_k2_an_address_names_its_tenant(
    browser: FlaskClient, other_tenant: uuid.UUID, own_host: str, address: str
) -> None:
    assert tenant_at(browser, f"{address}/probe") == str(other_tenant)


@pytest.mark.parametrize(
    "address",
    [BASE, "http://127.0.0.1", "http://[::1]:5000", f"http://{DOMAIN}", "http://nobody.example"],
)
def test_k2_every_other_address_is_the_default_tenants(
    browser: FlaskClient, tenant: uuid.UUID, address: str
) -> None:
    assert tenant_at(browser, f"{address}/probe") == str(tenant)
    assert browser.get(f"{address}/auth/login").status_code == 200


@pytest.mark.parametrize("address", [SLUG_HOST, f"{BASE}/t/other", f"http://{OWN}"])
def test_k2_people_sign_in_at_the_address_of_their_tenant(
    browser: FlaskClient,
    bob: Someone,
    make_user: Callable[..., Someone],
    own_host: str,
    address: str,
) -> None:
    assert enter(browser, address, make_user("ann")).status_code == 401
    assert enter(browser, BASE, bob).status_code == 401
    answer = enter(browser, address, bob)
    assert answer.status_code == 303
    path = address.removeprefix(BASE) if address.startswith(BASE) else ""
    assert answer.location == f"{path}/account"
    assert browser.get(f"{address}/account").status_code == 200


def test_k2_every_link_of_a_page_stays_below_the_tenants_path(
    browser: FlaskClient, bob: Someone
) -> None:
    enter(browser, "/t/other", bob)
    for page in ("/t/other/account", "/t/other/auth/login", "/t/other", "/t/other/"):
        answer = browser.get(page, follow_redirects=True)
        assert answer.status_code == 200
        own = [item for item in links_of(answer.text) if item.startswith("/")]
        assert own
        assert [item for item in own if not item.startswith("/t/other/")] == []


def test_k2_the_way_back_after_sign_in_stays_below_the_path(
    browser: FlaskClient, bob: Someone
) -> None:
    answer = browser.get("/t/other/account/security")
    assert answer.location == "/t/other/auth/login?next=/t/other/account/security"
    signed = enter(browser, "/t/other", bob, next="/t/other/account/security")
    assert signed.location == "/t/other/account/security"


def test_k2_a_session_decides_where_the_address_names_nobody(
    browser: FlaskClient, bob: Someone, other_tenant: uuid.UUID
) -> None:
    enter(browser, "/t/other", bob)
    assert tenant_at(browser, "/probe") == str(other_tenant)


def test_k2_a_tenant_without_sessions_gets_what_is_sent_to_its_address(
    browser: FlaskClient, other_tenant: uuid.UUID, tenant: uuid.UUID
) -> None:
    """A provider's form_post and back-channel logout bring no cookie along."""
    for address, expected in ((SLUG_HOST, other_tenant), ("/t/other", other_tenant), ("", tenant)):
        found = browser.post(f"{address}/probe", data={"tenant_id": str(uuid.uuid4())})
        assert found.text.split()[0] == str(expected)


# Strange addresses


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": f"other.{DOMAIN}"},
        {"Forwarded": f"host=other.{DOMAIN}"},
        {"X-Tenant": "other"},
        {"X-Tenant-ID": "other"},
        {"X-Forwarded-Prefix": "/t/other"},
        {"X-Script-Name": "/t/other"},
        {"iam.tenant_slug": "other"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_at_367_no_header_of_a_client_names_a_tenant(
    browser: FlaskClient, tenant: uuid.UUID, headers: dict[str, str]
) -> None:
    url = "/probe?tenant=other&tenant_id=other"
    assert tenant_at(browser, url, headers=headers) == str(tenant)


@pytest.mark.parametrize(
    "host",
    [f"OTHER.{DOMAIN}", f"Other.{DOMAIN}:8443", f"other.{DOMAIN}.", f"other.{DOMAIN}.:80"],
)
def test_at_090_case_port_and_root_dot_change_nothing(
    browser: FlaskClient, other_tenant: uuid.UUID, host: str
) -> None:
    assert tenant_at(browser, "/probe", headers={"Host": host}) == str(other_tenant)


@pytest.mark.parametrize(
    "host",
    [
        f"other.{DOMAIN}, evil.example",
        f"other.{DOMAIN}:80@evil.example",
        f"evil@other.{DOMAIN}",
        f"other.{DOMAIN}/t/default",
        f"öther.{DOMAIN}",
        f"other..{DOMAIN}",
    ],
)
def test_at_090_a_host_that_is_none_is_refused(
    browser: FlaskClient, addressed: Flask, host: str
) -> None:
    latin = host.encode().decode("latin-1")
    answer = browser.get("/auth/login", headers={"Host": latin})
    assert answer.status_code == 400
    with pytest.raises(BadRequest):  # the same in a host application, without the outer check
        addresses.canonical_host(host)


@pytest.mark.parametrize("host", ["a..b", "a." * 127 + "b", f"{'a' * 60}." * 4 + "a" * 12])
def test_at_090_a_host_that_is_none_is_refused_to_a_signed_in_browser_too(
    browser: FlaskClient, addressed: Flask, bob: Someone, host: str
) -> None:
    assert enter(browser, f"{BASE}/t/other", bob).status_code == 303
    cookie = browser.get_cookie("iam_session")
    assert cookie is not None
    sent = {"Host": host, "Cookie": f"{cookie.key}={cookie.value}"}
    other = addressed.test_client(use_cookies=False)  # sends the cookie whatever the host
    assert other.get("/account", headers=sent).status_code == 400


@pytest.mark.parametrize("host", [f"xn--ther-5qa.{DOMAIN}", f"a.other.{DOMAIN}", f"x.{DOMAIN}"])
def test_at_392_a_name_below_the_domain_that_is_nobodys_meets_a_calm_page(
    browser: FlaskClient, host: str
) -> None:
    for path in ("/auth/login", "/", "/account"):
        answer = browser.get(path, headers={"Host": host})
        assert answer.status_code == 404
        assert "Nobody is at home at this address" in answer.text
    refused = browser.get("/probe", headers={"Host": host, "Accept": "application/json"})
    assert (refused.status_code, refused.json["type"]) == (404, "urn:iam:tenancy.unknown_address")
    assert browser.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/t/Other/auth/login",
        "/T/other/auth/login",
        "//t/other/auth/login",
        "/t//other/auth/login",
        "/t/other//auth/login",
        "/t/./other/auth/login",
        "/t/other;x/auth/login",
        "/t/other%00/auth/login",
        "/t/nobody/auth/login",
        "/t/xn--other/auth/login",
        "/t//auth/login",
        "/t/t/other/auth/login",
        "/t/other/t/other/auth/login",
        "/t/other%252fauth/login",
        "/t",
    ],
)
def test_at_384_a_twin_of_a_tenants_path_meets_no_page(browser: FlaskClient, path: str) -> None:
    assert browser.get(path).status_code in {400, 404}


def test_at_384_an_encoded_path_is_the_same_path(
    browser: FlaskClient, other_tenant: uuid.UUID
) -> None:
    for path in ("/t/%6Fther/probe", "/%74/other/probe", "/t/other%2fprobe"):
        assert tenant_at(browser, path) == str(other_tenant)
    away = browser.get("/t/other%2faccount").location
    assert away == "/t/other/auth/login?next=/t/other/account"


def test_at_367_host_and_path_that_disagree_are_refused(
    browser: FlaskClient, other_tenant: uuid.UUID, own_host: str
) -> None:
    for address in (SLUG_HOST, f"http://{OWN}"):
        answer = browser.get(f"{address}/t/default/auth/login")
        assert answer.status_code == 403
        assert "names two different tenants" in answer.text
        assert tenant_at(browser, f"{address}/t/other/probe") == str(other_tenant)


# A session elsewhere


@pytest.mark.parametrize("way", ["path", "host", "own"])
def test_at_367_a_session_at_the_address_of_another_tenant_is_refused_and_recorded(
    browser: FlaskClient,
    make_user: Callable[..., Someone],
    tenant: uuid.UUID,
    own_host: str,
    audit_rows: Callable[..., Any],
    way: str,
) -> None:
    ann = make_user("ann")
    assert enter(browser, BASE, ann).status_code == 303
    there = {"path": f"{BASE}/t/other", "host": SLUG_HOST, "own": f"http://{OWN}"}[way]
    copy_session(browser, there)
    for path in ("/account", "/auth/login", "/"):
        answer = browser.get(there + path)
        assert answer.status_code == 403
        assert "signed in to Default as " in answer.text
        assert f'href="{BASE}/account"' in answer.text
    refused = browser.get(f"{there}/account", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json["type"]) == (403, "urn:iam:tenancy.wrong_tenant")
    rows = audit_rows("SESSION_ELSEWHERE")
    assert {(row.tenant_id, row.actor_id, row.status) for row in rows} == {
        (tenant, ann.id, "denied")
    }
    assert rows[0].details["address"] == there.removeprefix("http://")


def test_at_367_the_page_offers_sign_out_where_one_is(
    browser: FlaskClient, make_user: Callable[..., Someone], bob: Someone
) -> None:
    enter(browser, BASE, make_user("ann"))
    page = browser.get("/t/other/account")
    assert 'action="/t/other/auth/logout"' in page.text
    answer = browser.post("/t/other/auth/logout", data={"csrf_token": csrf_of(page.text)})
    assert answer.location == "/t/other/auth/signed-out"
    assert browser.get("/account").location.startswith("/auth/login")
    assert enter(browser, "/t/other", bob).status_code == 303


def test_at_390_a_token_of_one_tenant_does_nothing_at_another(
    browser: FlaskClient, make_user: Callable[..., Someone], bob: Someone, tenant: uuid.UUID
) -> None:
    """Even one person in both tenants: each has a session of its own."""
    make_user("twin", email="bob@example.com")
    enter(browser, SLUG_HOST, bob)
    copy_session(browser, "/t/default", origin=f"other.{DOMAIN}")
    assert browser.get("/t/default/account").status_code == 403
    assert browser.get("/t/default/probe").status_code == 403  # a host application's own view


def test_at_367_a_form_at_another_tenants_address_has_no_effect(
    browser: FlaskClient, make_user: Callable[..., Someone], bob: Someone
) -> None:
    enter(browser, BASE, make_user("ann"))
    token = csrf_of(browser.get("/account").text)
    answer = browser.post(
        "/t/other/auth/password/forgot",
        data={"username": bob.username, "csrf_token": token},
    )
    assert answer.status_code == 403
    with unscoped("tests look at every tenant"):
        assert session().scalar(sa.select(sa.func.count(IAMOutbox.id))) == 0


def copy_session(browser: FlaskClient, there: str, origin: str = "localhost") -> None:
    """Present one host's session cookie at another, as a thief or a shared domain would."""
    cookie = browser.get_cookie("iam_session", domain=origin)
    assert cookie is not None
    host = there.partition("://")[2].partition("/")[0] or "localhost"
    browser.set_cookie("iam_session", cookie.value, domain=host)


# Closed


def test_k2_a_suspended_tenant_is_closed_at_the_next_request(
    browser: FlaskClient, bob: Someone, other_tenant: uuid.UUID
) -> None:
    enter(browser, "/t/other", bob)
    assert browser.get("/t/other/account").status_code == 200
    change(other_tenant, status="suspended")
    for path in ("/t/other/account", "/t/other/auth/login", "/t/other/probe"):
        answer = browser.get(path)
        assert answer.status_code == 403
        assert "This address is closed for now" in answer.text
        assert "Check the address" not in answer.text  # it is the right one
    assert browser.get("/account").location.startswith("/auth/login")
    change(other_tenant, status="active")
    assert browser.get("/t/other/account").status_code == 200


# The hot path


@pytest.mark.parametrize("address", [SLUG_HOST, "/t/other", f"http://{OWN}", BASE])
def test_l3_the_tenants_address_costs_a_session_no_query(
    browser: FlaskClient, bob: Someone, own_host: str, address: str
) -> None:
    enter(browser, address if address != BASE else "/t/other", bob)
    assert browser.get(f"{address}/probe").status_code == 200  # rights are cached from here on
    assert len(statements(lambda: browser.get(f"{address}/probe"))) == 1


@pytest.mark.parametrize("address", [SLUG_HOST, "/t/other", BASE])
def test_at_011_the_address_of_a_message_does_not_tell_who_has_an_account(
    browser: FlaskClient, make_user: Callable[..., Someone], other_tenant: uuid.UUID, address: str
) -> None:
    """A link needs the tenant's names; they are known before anybody is looked for."""
    make_user("carl", tenant_id=None if address == BASE else other_tenant)
    token = csrf_of(browser.get(f"{address}/auth/password/forgot").text)
    asked = {}
    for name in ("carl", "nobody"):
        data = {"username": name, "csrf_token": token}
        found = statements(
            lambda data=data: browser.post(f"{address}/auth/password/forgot", data=data)
        )  # type: ignore[misc]
        asked[name] = len([item for item in found if "FROM iam_tenant" in item])
    assert asked["carl"] == asked["nobody"]
    assert mailbox.messages("carl@example.com")


# Addresses given to others


@pytest.mark.parametrize(
    ("settings", "host", "expected"),
    [
        (
            {"IAM_TENANT_DOMAIN": DOMAIN, "IAM_TENANT_PATH": "/t"},
            None,
            f"https://other.{DOMAIN}:8443",
        ),
        ({"IAM_TENANT_PATH": "/t"}, None, "https://id.example:8443/t/other"),
        ({}, None, "https://id.example:8443"),
        ({"IAM_TENANT_PATH": "/t"}, OWN, f"https://{OWN}:8443"),
    ],
    ids=["domain", "path", "neither", "own"],
)
def test_at_090_links_in_messages_lie_at_the_tenants_own_address(
    app: Flask,
    tenant: uuid.UUID,
    other_tenant: uuid.UUID,
    settings: dict[str, str],
    host: str | None,
    expected: str,
) -> None:
    change(other_tenant, host=host)
    found = make_app(
        app.config["SQLALCHEMY_DATABASE_URI"], IAM_BASE_URL="https://id.example:8443", **settings
    )
    with found.app_context():
        with tenant_scope(other_tenant):
            assert links.public_url("iam_auth.login") == f"{expected}/auth/login"
        with tenant_scope(tenant):
            assert links.public_url("iam_auth.login") == "https://id.example:8443/auth/login"
        # Made in a request at another tenant's address, it is the same.
        with (
            found.test_request_context("/probe", headers={"Host": "evil.example"}),
            tenant_scope(other_tenant),
        ):
            assert links.public_url("iam_auth.login") == f"{expected}/auth/login"
        session().rollback()
        engine().dispose()


def test_at_090_a_way_back_is_the_address_the_browser_came_by(
    browser: FlaskClient, own_host: str
) -> None:
    for address, expected in (
        (SLUG_HOST, SLUG_HOST),
        (f"http://{OWN}", f"http://{OWN}"),
        ("/t/other", f"{BASE}/t/other"),
        ("", BASE),
        ("http://nobody.example", BASE),
        (f"{SLUG_HOST}:9999", SLUG_HOST),
    ):
        assert browser.get(f"{address}/probe").text.split()[1] == f"{expected}/auth/login"


def test_at_090_mail_leads_to_the_address_whatever_host_asked_for_it(
    browser: FlaskClient, bob: Someone
) -> None:
    token = csrf_of(browser.get(f"{SLUG_HOST}/auth/password/forgot").text)
    evil = {"Host": f"other.{DOMAIN}:6666", "X-Forwarded-Host": "evil.example"}
    data = {"username": bob.username, "csrf_token": token}
    assert browser.post(f"{SLUG_HOST}/auth/password/forgot", data=data, headers=evil).status_code
    body = mailbox.messages(bob.email)[0]["body"]
    link = re.search(r"https?://\S+", body)
    assert link
    assert link[0].startswith(f"{SLUG_HOST}/auth/password/reset/")
    assert "6666" not in body
    assert "evil" not in body
    assert browser.get(link[0]).status_code in {200, 303}


def test_k2_single_sign_on_comes_back_to_the_tenants_own_address(
    browser: FlaskClient, addressed: Flask, lying_provider: LyingProvider, other_tenant: uuid.UUID
) -> None:
    """The callback brings a state only: the tenant is that of the address it comes to."""
    sso.make_connection(addressed, lying_provider.url, tenant_id=other_tenant)
    for address in ("/t/other", SLUG_HOST):
        browser.delete_cookie("iam_device")
        away = browser.get(f"{address}/auth/sso/{sso.SLUG}/login").location
        base = address if "://" in address else BASE + address
        assert sso.query_of(away)["redirect_uri"] == f"{base}/auth/sso/{sso.SLUG}/callback"
        assert browser.get(f"/auth/sso/{sso.SLUG}/login").status_code == 404
        back = f"/auth/sso/{sso.SLUG}/callback?code=x&state={sso.query_of(away)['state']}"
        assert browser.get(back).status_code == 404  # not the default tenant's


def test_at_249_keys_are_bound_to_the_host_of_the_tenant(
    addressed: Flask, own_host: str, other_tenant: uuid.UUID
) -> None:
    found = {}
    for host in (f"other.{DOMAIN}", OWN, "localhost", "nobody.example"):
        with (
            addressed.test_request_context("/probe", headers={"Host": host}),
            tenant_scope(other_tenant),
        ):
            party = relying_party()
        found[host] = (party.id, party.origins)
    assert found == {
        f"other.{DOMAIN}": (f"other.{DOMAIN}", (SLUG_HOST,)),
        OWN: (OWN, (f"http://{OWN}",)),
        "localhost": ("localhost", (BASE,)),
        "nobody.example": ("localhost", (BASE,)),
    }


def test_at_466_a_path_that_is_taken_is_refused_at_start(database_url: str) -> None:
    for path in ("/auth", "/admin", "/account"):
        with pytest.raises(Misconfigured, match="IAM_TENANT_PATH"):
            make_app(database_url, IAM_TENANT_PATH=path)
    for name, value in (("IAM_TENANT_PATH", "t/"), ("IAM_TENANT_DOMAIN", "https://x.example")):
        with pytest.raises(Misconfigured, match=name):
            make_app(database_url, **{name: value})
