"""The database away, before and in the middle: 503, nothing half done (V5, AT-461)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy import event, func, select

from app.auth.models import IAMAuthSession, IAMThrottle
from app.core.db import session
from app.core.scoping import tenant_scope
from app.tenancy.services_tenants import default_tenant_id
from tests.conftest import ENGINE, PASSWORD, csrf_of, make_app

AWAY = "mysql+pymysql://nobody:nothing@127.0.0.1:1/iam"


@pytest.fixture
def stranded():
    """Return an app whose database server does not answer."""
    return make_app(AWAY, TESTING=False, IAM_ENV="development")


def test_v5_health_says_503_where_the_database_is_away(stranded):
    assert stranded.test_client().get("/healthz").status_code == 503


def test_at_461_sign_in_answers_503_with_retry_after(stranded):
    client = stranded.test_client()
    token = csrf_of(client.get("/auth/login").text)
    data = {"username": "ann", "password": PASSWORD, "csrf_token": token}
    answer = client.post("/auth/login", data=data)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    for leak in ("127.0.0.1:1", "pymysql", "Traceback", "nothing"):
        assert leak not in answer.text


def test_at_461_a_cookie_is_no_way_in_while_the_database_is_away(stranded):
    client = stranded.test_client()
    client.set_cookie("iam_session", "x" * 43)
    assert client.get("/account").status_code == 503
    answer = client.get("/account", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")


@pytest.fixture
def without_redis(app, database_url):
    """Yield an app whose Redis server does not answer; the limiter's instance is shared."""
    yield make_app(database_url, REDIS_URL="redis://127.0.0.1:1/0")
    make_app(database_url)


def test_at_460_without_redis_guesses_are_counted_all_the_same(without_redis, make_user):
    """What decides, wrong passwords, is counted in the database and never leaned on Redis."""
    make_user("ann")
    client = without_redis.test_client()
    token = csrf_of(client.get("/auth/login").text)
    data = {"username": "ann", "password": "wrong", "csrf_token": token}
    answers = [client.post("/auth/login", data=data) for _ in range(9)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:5] == [401] * 5
    assert set(statuses[5:]) == {429}
    with tenant_scope(default_tenant_id()):
        assert session().scalar(select(func.max(IAMThrottle.count))) == 5


@pytest.mark.skipif(ENGINE != "mysql", reason="a server that can end a connection")
@pytest.mark.mysql_only
def test_v5_a_connection_lost_in_the_middle_leaves_nothing_half_done(
    app, client, make_user, tenant, audit_rows, mysql_url
):
    make_user("ann")
    token = csrf_of(client.get("/auth/login").text)
    admin = sa.create_engine(mysql_url, isolation_level="AUTOCOMMIT")
    engine = app.extensions["sqlalchemy"].engine

    @event.listens_for(engine, "before_cursor_execute")
    def cut(conn, _cursor, statement, *_rest):
        if statement.startswith("INSERT INTO iam_auth_log"):
            with admin.connect() as other:
                other.exec_driver_sql(f"KILL {conn.connection.dbapi_connection.thread_id()}")

    try:
        answer = client.post(
            "/auth/login", data={"username": "ann", "password": PASSWORD, "csrf_token": token}
        )
    finally:
        event.remove(engine, "before_cursor_execute", cut)
        admin.dispose()
    assert answer.status_code == 503
    with tenant_scope(tenant):
        assert session().scalar(select(func.count()).select_from(IAMAuthSession)) == 0
    assert audit_rows("LOGIN_SUCCEEDED") == []
    assert client.get("/account").status_code == 303


@pytest.fixture
def service(app, database_url):
    """Return the app as it is served: errors are answered, not raised."""
    found = make_app(database_url, TESTING=False, IAM_ENV="development")
    yield found
    with found.app_context():
        found.extensions["sqlalchemy"].engine.dispose()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://["},
        {"Referer": "http://["},
        {"Host": ".."},
        {"Host": "a" * 64 + ".example"},
        {"Host": "evil.example/path"},
        {"Host": "user@evil.example"},
    ],
)
def test_at_150_broken_headers_are_refused_with_our_headers(service, headers):
    client = service.test_client()
    token = csrf_of(client.get("/auth/login").text)
    answer = client.post("/auth/logout", data={"csrf_token": token}, headers=headers)
    assert answer.status_code < 500
    assert "Content-Security-Policy" in answer.headers
    answer = client.get("/account", headers=headers)
    assert answer.status_code < 500
    assert "Content-Security-Policy" in answer.headers


def test_at_090_no_redirect_repeats_a_forged_host(service):
    answer = service.test_client().get("/auth//login", headers={"Host": "evil.example"})
    assert answer.status_code == 404
    assert "evil.example" not in answer.headers.get("Location", "")
