"""Fixtures of the whole suite: an app on SQLite or MySQL, people, and ways to sign them in.

`IAM_TEST_DATABASE` chooses the engine. The database is made once per worker; a
test leaves it empty but for the default tenant, the roles and a second tenant.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyotp
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app import create_app
from app.audit.append_only import APPEND_ONLY
from app.audit.models import IAMAuthLog
from app.auth.accounts import services_accounts
from app.auth.factors.totp import new_secret
from app.auth.models import IAMMfaMethod, IAMUserAccount
from app.authz import services_grants
from app.cli import prepare_database
from app.core import clock, hashing
from app.core.actor import Actor, system_actor
from app.core.crypto import keyring
from app.core.db import Base, session, transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope, unscoped
from app.extensions import limiter
from app.tenancy import services_tenants
from tests.support.lying_provider import LyingProvider
from tests.support.mysql_server import mysql_server
from tests.support.oidc_peer import OidcPeer
from tests.support.served import Served, serve

ENGINE = os.environ.get("IAM_TEST_DATABASE", "sqlite")
# Fixtures through which a test reaches the database of the run's engine.
DATABASES = {"database_url", "mysql_url", "mysql", "engine", "make_database"}
PASSWORD = "correct horse battery staple 42"
SETTINGS: dict[str, Any] = {
    "TESTING": True,
    "IAM_BASE_URL": "http://localhost",
    "FLASK_SECRET_KEY": "a-secret-key-of-the-test-suite-0123456789",
    "ARGON2_MEMORY_KIB": 64,
    "ARGON2_TIME_COST": 1,
    "PASSWORD_BREACH_CHECK": False,
    "IAM_OUTBOX_MODE": "inline",
    "AUDIT_SEAL_MODE": "off",
    "IAM_DEMO": True,
    "RATE_LIMIT_SIGN_IN": "10000 per minute",
    "SERVER_NAME": None,
    "SSO_ALLOW_PRIVATE": True,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On MySQL run what touches a database: the rest ran with SQLite and cannot differ.

    Nor can what a browser draws; the same ways are gone over HTTP on both.
    """
    if ENGINE != "mysql":
        return
    same = [
        item
        for item in items
        if item.get_closest_marker("browser")
        or not DATABASES & set(getattr(item, "fixturenames", ()))
    ]
    if same:
        config.hook.pytest_deselected(items=same)
        items[:] = [item for item in items if item not in set(same)]


@dataclass(frozen=True)
class Someone:
    """A person of a test: what they know, and their ids."""

    id: uuid.UUID
    username: str
    password: str
    totp_secret: str | None
    email: str


@pytest.fixture(scope="session")
def mysql_url() -> Iterator[sa.URL]:
    """Return the address of a real MySQL server, started where none was given."""
    with mysql_server() as server:
        yield sa.make_url(server.url)


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[str]:
    """Return the address of an empty database of this worker's own."""
    if ENGINE == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('db') / 'iam.db'}"
        return
    url: sa.URL = request.getfixturevalue("mysql_url")
    name = f"iam_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name}")
    admin.dispose()


@pytest.fixture(scope="session")
def _shared_app(database_url: str) -> Iterator[Flask]:
    app = make_app(database_url)
    with app.app_context():
        prepare_database()
        default = services_tenants.default_tenant_id()
        with transaction():
            other = services_tenants.create_tenant(
                "other", "Other", actor=system_actor(default, "tests")
            )
        with tenant_scope(other.id), transaction():
            from app.authz.services_rbac import seed_catalogue

            seed_catalogue(other.id, actor=system_actor(other.id, "tests"))
    yield app
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()


def make_app(database_url: str, **settings: Any) -> Flask:
    """Return an app on `database_url` with the suite's settings, some of them changed."""
    return create_app({**SETTINGS, "DATABASE_URL": database_url, **settings})


@pytest.fixture
def app(_shared_app: Flask) -> Iterator[Flask]:
    """Yield the app inside its context, with an empty database afterwards."""
    with _shared_app.app_context():
        yield _shared_app
        session().rollback()
    with _shared_app.app_context():
        empty_database(_shared_app)
    limiter.reset()
    services_grants.forget()


def empty_database(app: Flask) -> None:
    """Delete what a test left behind, keeping two tenants, their roles and permissions."""
    keep = {"iam_tenant", "iam_role", "iam_permission", "iam_role_permission"}
    app.extensions.pop("iam_subject_keys", None)  # remembered keys whose rows go here
    engine = app.extensions["sqlalchemy"].engine
    with engine.begin() as connection:
        if engine.dialect.name == "mysql":
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
        for table in _with_rows(connection, keep):
            if table.name in APPEND_ONLY:
                _empty_append_only(connection, table.name)
            else:
                connection.execute(table.delete())
        custom = "SELECT id FROM iam_role WHERE is_system = 0"
        connection.execute(text(f"DELETE FROM iam_role_permission WHERE role_id IN ({custom})"))  # noqa: S608 - constant
        connection.exec_driver_sql("UPDATE iam_role SET parent_id = NULL WHERE is_system = 0")
        connection.exec_driver_sql("DELETE FROM iam_role WHERE is_system = 0")
        _restore_tenants(connection)
        if engine.dialect.name == "mysql":
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")


def _with_rows(connection: sa.Connection, keep: set[str]) -> list[sa.Table]:
    """Return the tables that hold anything, children first; one question, not one a table."""
    tables = [table for table in reversed(Base.metadata.sorted_tables) if table.name not in keep]
    asked = " UNION ALL ".join(
        f"SELECT {number} WHERE EXISTS (SELECT 1 FROM {table.name})"  # noqa: S608 - our own names
        for number, table in enumerate(tables)
    )
    return [tables[number] for number in sorted(connection.exec_driver_sql(asked).scalars())]


def _empty_append_only(connection: sa.Connection, table: str) -> None:
    if connection.dialect.name == "mysql":
        connection.exec_driver_sql(f"TRUNCATE TABLE {table}")
        return
    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_no_delete")
    connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - our own names
    connection.exec_driver_sql(APPEND_ONLY[table]["sqlite"][1])


def _restore_tenants(connection: sa.Connection) -> None:
    kept = "SELECT id FROM iam_tenant WHERE slug IN ('default', 'other')"
    if connection.scalar(text("SELECT count(*) FROM iam_tenant")) != 2:
        orphan = f"UPDATE iam_role SET parent_id = NULL WHERE tenant_id NOT IN ({kept})"  # noqa: S608
        connection.execute(text(orphan))
        for table in ("iam_role_permission", "iam_role", "iam_permission"):
            connection.execute(text(f"DELETE FROM {table} WHERE tenant_id NOT IN ({kept})"))  # noqa: S608 - constant
        connection.exec_driver_sql("DELETE FROM iam_tenant WHERE slug NOT IN ('default', 'other')")
    connection.exec_driver_sql(
        "UPDATE iam_tenant SET status = 'active', parent_id = NULL, host = NULL, metadata = '{}'"
    )


@pytest.fixture
def served(app: Flask, database_url: str) -> Iterator[Served]:
    """Serve the demo configuration of the suite's database on a free loopback port."""

    def make(url: str) -> Flask:
        return make_app(database_url, TESTING=False, IAM_ENV="demo", IAM_BASE_URL=url)

    with serve(make) as found:
        yield found
    session().rollback()  # what the test itself read must not hold the tables
    empty_database(app)


@pytest.fixture
def tenant(app: Flask) -> uuid.UUID:
    """Return the default tenant's id, and put the test into its scope."""
    return services_tenants.default_tenant_id()


@pytest.fixture
def scoped(tenant: uuid.UUID) -> Iterator[uuid.UUID]:
    """Run the test inside the default tenant."""
    with tenant_scope(tenant):
        yield tenant


@pytest.fixture
def other_tenant(app: Flask) -> uuid.UUID:
    """Return the id of a second tenant."""
    found = services_tenants.find_by_slug("other")
    assert found is not None
    return found.id


@pytest.fixture
def actor(tenant: uuid.UUID) -> Actor:
    """Return the actor of the system in the default tenant."""
    return system_actor(tenant, "tests")


@pytest.fixture
def lying_provider() -> Iterator[LyingProvider]:
    """Run an OpenID provider that lies on command."""
    with LyingProvider() as provider:
        yield provider


@pytest.fixture(scope="session")
def _oidc_peer() -> Iterator[OidcPeer]:
    with OidcPeer() as peer:
        yield peer


@pytest.fixture
def oidc_peer(_oidc_peer: OidcPeer) -> Iterator[OidcPeer]:
    """Return this worker's OpenID provider; what it wrote is shown where the test fails."""
    before = len(_oidc_peer.log())
    yield _oidc_peer
    print(_oidc_peer.log(before))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a browser without cookies."""
    return app.test_client()


@pytest.fixture
def make_user(app: Flask, tenant: uuid.UUID) -> Callable[..., Someone]:
    """Return a factory of active people: `make_user("ann", roles=["viewer"], mfa="totp")`."""
    hashed: dict[str, str] = {}

    def make(
        username: str = "ann",
        *,
        password: str = PASSWORD,
        roles: tuple[str, ...] | list[str] = (),
        mfa: str | None = None,
        tenant_id: uuid.UUID | None = None,
        actor_type: str = "end_user",
        status: str = "active",
        **fields: Any,
    ) -> Someone:
        home = tenant_id or tenant
        if password not in hashed:
            hashed[password] = hashing.current().hash(password)
        with tenant_scope(home), transaction():
            user = services_accounts.create_user(
                username=username,
                email=fields.pop("email", f"{username}@example.com"),
                actor_type=actor_type,
                roles=tuple(roles),
                invite=False,
                password_hash=hashed[password],
                email_verified=fields.pop("email_verified", True),
                actor_grants=None,
                actor=system_actor(home, "tests"),
                **fields,
            )
            user.status = status
            secret = _enrol_totp(user) if mfa == "totp" else None
        someone = Someone(user.id, username, password, secret, user.email or "")
        session().rollback()
        return someone

    return make


def _enrol_totp(user: IAMUserAccount) -> str:
    secret, row_id, at = new_secret(), new_id(), clock.now()
    session().add(
        IAMMfaMethod(
            id=row_id,
            tenant_id=user.tenant_id,
            user_id=user.id,
            method="totp",
            name="Phone",
            secret=keyring().encrypt(secret.encode(), f"iam_mfa_method:{row_id}"),
            created_at=at,
            confirmed_at=at,
        )
    )
    return secret


def csrf_of(page: str) -> str:
    """Return the form token of a page."""
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert found, "the page has no form token"
    return found.group(1)


def post(client: FlaskClient, url: str, data: dict[str, Any] | None = None, **kw: Any) -> Any:
    """Send a form as a browser does: load the page (or `page`) first for its token."""
    page = kw.pop("page", url)
    token = csrf_of(client.get(page).text)
    return client.post(url, data={**(data or {}), "csrf_token": token}, **kw)


def totp_code(secret: str) -> str:
    """Return the code an authenticator app shows now."""
    return pyotp.TOTP(secret).at(clock.now())


@pytest.fixture
def sign_in(app: Flask) -> Callable[..., Any]:
    """Return a helper that signs a person in, second factor included."""

    def enter(client: FlaskClient, person: Someone, **form: Any) -> Any:
        data = {"username": person.username, "password": person.password, **form}
        answer = post(client, "/auth/login", data)
        if person.totp_secret and answer.status_code == 303:
            answer = post(client, "/auth/mfa/verify", {"code": totp_code(person.totp_secret)})
        assert answer.status_code == 303, answer.text[:2000]
        return answer

    return enter


@pytest.fixture
def audit_rows(app: Flask) -> Callable[..., list[IAMAuthLog]]:
    """Return a helper that lists audit events, oldest first: `audit_rows("LOGIN_FAILED")`."""

    def rows(action: str | None = None) -> list[IAMAuthLog]:
        with unscoped("tests look at every tenant"):
            session().rollback()
            query = sa.select(IAMAuthLog).order_by(IAMAuthLog.id)
            if action:
                query = query.where(IAMAuthLog.action == action)
            return list(session().scalars(query))

    return rows
