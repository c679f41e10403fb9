"""A host called `app`, with extensions of its own, embeds the installed wheel."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pyotp
import pytest
import sqlalchemy as sa

from tests.conftest import csrf_of
from tests.hosts.conftest import HERE, Browser, Host

pytestmark = pytest.mark.slow
Browse = Callable[[str], Browser]


def test_the_host_runs_from_the_wheel(shop: Host) -> None:
    """`app` is the host's package, `iam` the wheel's; the checkout is out of reach."""
    where = shop.python("import app, iam; print(app.__file__); print(iam.__file__)").split()
    assert where[0].startswith(str(shop.folder))
    assert "site" in where[1]


def tables(host: Host) -> set[str]:
    """Return the tables of a host's database."""
    engine = sa.create_engine(host.database, poolclass=sa.NullPool)
    found = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return found


def test_migrations_of_both_sides_stay_apart(make_shop, make_database) -> None:
    """The host's autogenerate sees its own table only, and drops none of ours."""
    host = make_shop(make_database())
    host.flask("iam", "init-db")
    ours = {name for name in tables(host) if name.startswith("iam_")}
    assert {"iam_user_account", "iam_alembic_version"} <= ours
    host.flask("db", "init")
    host.flask("db", "migrate", "-m", "first")
    (script,) = (host.folder / "versions" / "versions").glob("*.py")
    text = script.read_text(encoding="utf-8")
    assert "'article'" in text
    assert "iam_" not in text
    host.flask("db", "upgrade")
    host.flask("iam", "init-db")  # harmless when repeated
    assert tables(host) == ours | {"article", "alembic_version"}
    assert "No new upgrade operations" in host.flask("db", "check")


@pytest.fixture(scope="session")
def articles_table(shop: Host) -> None:
    """Create the host's own table."""
    shop.python("from app import create_app, db\nwith create_app().app_context(): db.create_all()")


def test_signing_in_returns_to_the_host(address: str, browse: Browse, articles_table) -> None:
    """A stranger is sent to our page, and from there back to the host's."""
    browser = browse(address)
    sent = browser.get("/articles")
    assert sent.status_code == 303
    assert sent.headers["Location"] == "/auth/login?next=/articles"
    form = {"username": "ed", "password": "wrong", "next": "/articles"}
    assert browser.post("/auth/login", form).status_code == 401
    form["password"] = "correct horse battery staple 42"
    answer = browser.post("/auth/login", form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/articles")
    assert browser.get("/articles").text == "articles: 0, for ed"


@pytest.mark.parametrize("path", ["/articles", "/stock", "/backoffice/", "/payout"])
def test_every_kind_of_view_is_protected(address: str, browse: Browse, path: str) -> None:
    """A function, a class-based view, a whole blueprint, and a step-up."""
    answer = browse(address).get(path)
    assert answer.status_code == 303
    assert "/auth/login" in answer.headers["Location"]
    answer = browse(address).get(path, headers={"Accept": "application/json"})
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_roles_and_permissions_decide(address: str, browse: Browse, articles_table) -> None:
    """A viewer is signed in, and refused where a role or permission is asked for."""
    browser = browse(address)
    browser.sign_in("vi")
    assert browser.get("/backoffice/").text == "backoffice of vi"
    for path in ("/articles", "/stock"):
        answer = browser.get(path)
        assert answer.status_code == 403
        assert "Content-Security-Policy" in answer.headers
    browser = browse(address)
    browser.sign_in("ed")
    assert browser.get("/articles").status_code == 200
    assert browser.get("/stock").status_code == 403
    assert "/auth/step-up" in browser.get("/payout").headers["Location"]


# What pages want to be told, where a plain address does not say it.
_PURPOSE = {"purpose": "account.security"}
CHOICES = {
    "/admin/users/bulk": {"action": "suspend"},
    "/admin/audit/logs/export": {"format": "csv"},
    "/auth/mfa/choose": _PURPOSE,
    "/auth/mfa/verify": _PURPOSE,
    "/auth/step-up": _PURPOSE,
}


def rendered(browser: Browser, path: str, refused: int = 200) -> httpx.Response:
    """Load a page of ours and hold that it renders or leads on."""
    answer = browser.get(path, params=CHOICES.get(path))
    assert answer.status_code in {200, 303, refused}, (path, answer.status_code, answer.text)
    return answer


def test_every_page_of_ours_renders(shop: Host, address: str, browse: Browse) -> None:
    """As a stranger and as an administrator: none crashes inside somebody else's app."""
    pages = shop.pages()
    assert len(pages) > 15
    stranger, admin = browse(address), browse(address)
    signed = admin.sign_in("root")
    assert signed.headers["Location"] == "/auth/mfa/enrol"
    admin.enrol_totp()
    assert admin.get("/admin").status_code == 200
    for path in pages:
        assert stranger.get(path).status_code in {200, 303}, path
        answer = rendered(admin, path)
        assert "Content-Security-Policy" in answer.headers
        if answer.status_code == 200 and "html" in answer.headers["Content-Type"]:
            assert "</html>" in answer.text, path


def test_the_hosts_own_pages_stay_its_own(address: str, browse: Browse) -> None:
    """`login.html` and `layout.html` of the host collide with nothing of ours, and back."""
    browser = browse(address)
    assert "The shop's own page called login.html" in browser.get("/login").text
    page = browser.get("/auth/login").text
    assert "shop" not in page.lower()
    assert "iam.css" in page
    home = browser.get("/")
    assert "False" in home.text
    assert "Content-Security-Policy" not in home.headers
    assert browser.get("/nowhere").status_code == 404
    assert "Content-Security-Policy" not in browser.get("/nowhere").headers


def test_the_hosts_csrf_protection_still_holds(address: str, browse: Browse) -> None:
    """Its forms are refused without a token and accepted with one; ours have their own check."""
    browser = browse(address)
    assert browser.client.post("/contact", data={}).status_code == 400
    assert browser.post("/contact", {}).status_code == 200
    assert browser.client.post("/auth/login", data={"username": "ed"}).status_code == 403


def test_a_form_of_the_host_survives_our_pages(address: str, browse: Browse) -> None:
    """Its token stays good while the person looks at our pages in another tab."""
    browser = browse(address)
    before = csrf_of(browser.get("/contact").text)
    browser.get("/auth/login")
    assert browser.client.post("/contact", data={"csrf_token": before}).status_code == 200
    browser.sign_in("ed")
    token = csrf_of(browser.get("/contact").text)
    browser.get("/account")
    assert browser.client.post("/contact", data={"csrf_token": token}).status_code == 200


def test_prefix_switches_and_overrides(make_shop, shop: Host, serve, browse: Browse) -> None:
    """Another prefix, no administration, our sign-in page replaced by a template of its name."""
    host = make_shop(
        shop.database, IAM_AUTH_PREFIX="/id", IAM_ADMIN_ENABLED="false", IAM_ACCOUNT_PREFIX="/me"
    )
    override = host.folder / "app" / "templates" / "iam"
    shutil.copytree(HERE / "overrides" / "iam", override)
    browser = browse(serve(host))
    assert "The shop's own sign-in page" in browser.get("/id/login").text
    assert browser.get("/auth/login").status_code == 404
    assert browser.get("/admin").status_code == 404
    assert browser.get("/articles").headers["Location"] == "/id/login?next=/articles"
    answer = browser.sign_in("vi", "/id")
    assert answer.status_code == 303
    assert browser.get("/me").status_code == 200
    assert not [page for page in host.pages() if page.startswith(("/admin", "/auth", "/account"))]


def test_an_administrator_lives_without_the_admin_pages(
    make_shop, shop: Host, serve, browse: Browse
) -> None:
    """With the pages switched off, nothing links to them: every other page still renders."""
    host = make_shop(shop.database, IAM_ADMIN_ENABLED="false")
    host.create_person("boss", "tenant_admin")
    browser = browse(serve(host))
    browser.sign_in("boss")
    browser.enrol_totp()
    for path in host.pages():
        rendered(browser, path)


def test_the_account_pages_can_be_switched_off(make_shop, shop, serve, browse: Browse) -> None:
    """A host with account pages of its own: signing in and out still works."""
    host = make_shop(shop.database, IAM_ACCOUNT_ENABLED="false", IAM_AFTER_LOGIN_URL="/backoffice/")
    browser = browse(serve(host))
    assert browser.get("/account").status_code == 404
    answer = browser.sign_in("vi")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/backoffice/")
    assert browser.get("/backoffice/").status_code == 200
    assert browser.get("/articles").status_code == 403
    for path in host.pages():
        rendered(browser, path, refused=403)


def test_a_layout_of_the_hosts_own(make_shop, shop, serve, browse: Browse) -> None:
    """IAM_LAYOUT_TEMPLATE puts our pages into a page of the host's."""
    host = make_shop(shop.database, IAM_LAYOUT_TEMPLATE="frame.html")
    frame = host.folder / "app" / "templates" / "frame.html"
    frame.write_text("<html><p>The shop's frame</p>{% block body %}{% endblock %}</html>")
    page = browse(serve(host)).get("/auth/login").text
    assert "The shop's frame" in page
    assert 'name="password"' in page


def test_a_second_factor_works_in_a_host(make_shop, shop, serve, browse: Browse) -> None:
    """Enrolled through one process, asked for and accepted by another."""
    host = make_shop(shop.database, MFA_TOTP_WINDOW_AHEAD="1")
    host.create_person("mfa", "tenant_admin")
    first, second = browse(serve(host)), browse(serve(host))
    first.sign_in("mfa")
    secret = first.enrol_totp()
    assert second.sign_in("mfa").headers["Location"] == "/auth/mfa/verify"
    assert second.get("/admin").status_code == 303
    # The step of the enrolment is used up: take the next one.
    code = pyotp.TOTP(secret).at(datetime.now(UTC) + timedelta(seconds=30))
    assert second.post("/auth/mfa/verify", {"code": code}).status_code == 303
    assert second.get("/admin").status_code == 200
