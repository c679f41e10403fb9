"""What is measured: our service, a host app that embeds us, a bare Flask app, Flask-Security.

All with their own defaults, argon2 parameters included; only keys and databases are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Flask
from sqlalchemy import delete

from app import IAM, create_app, requires_role
from app.auth.accounts import services_accounts
from app.auth.factors.totp import new_secret
from app.auth.models import IAMAuthSession, IAMMfaMethod
from app.cli import prepare_database
from app.core import clock, hashing
from app.core.actor import system_actor
from app.core.crypto import keyring
from app.core.db import session, transaction
from app.core.ids import new_id
from app.core.scoping import tenant_scope, unscoped
from app.tenancy.services_tenants import default_tenant_id

PASSWORD = "correct horse battery staple 42"
KEYS = {"FLASK_SECRET_KEY": "a-secret-key-of-the-benchmarks-0123456789abcdef"}
VIEW = "/view"


@dataclass(frozen=True)
class People:
    """Seeded accounts of one tenant that share a password; user names follow a pattern."""

    tenant_id: UUID
    names: tuple[str, ...]


def make_service(url: str, **settings: Any) -> Flask:
    """Return the stand-alone service on an empty database."""
    app = create_app({"IAM_ENV": "development", "DATABASE_URL": url, **KEYS, **settings})
    with app.app_context():
        prepare_database()
    return app


def make_host(url: str) -> Flask:
    """Return a host's own app with one view that only a role may see."""
    app = Flask("bench_host")
    app.config.update(DATABASE_URL=url, SESSION_COOKIE_SECURE=False, **KEYS)
    IAM().init_app(app)
    app.add_url_rule(VIEW, "view", requires_role("viewer")(_view))
    with app.app_context():
        prepare_database()
    return app


def make_bare() -> Flask:
    """Return a Flask app with the same view and a secret key, as every app has one."""
    app = Flask("bench_bare")
    app.config["SECRET_KEY"] = KEYS["FLASK_SECRET_KEY"]
    app.add_url_rule(VIEW, "view", _view)
    return app


def make_peer(url: str) -> Flask:
    """Return the same view protected by Flask-Security, with one person who may see it."""
    from flask_security import (
        Security,
        SQLAlchemyUserDatastore,
        auth_required,
        hash_password,
        roles_required,
    )
    from flask_security.models import fsqla_v2
    from flask_sqlalchemy import SQLAlchemy

    app = Flask("bench_peer")
    app.config.update(
        SECRET_KEY=KEYS["FLASK_SECRET_KEY"],
        SECURITY_PASSWORD_SALT="146585145368132386173505678016728509634",
        SECURITY_PASSWORD_HASH="argon2",
        SQLALCHEMY_DATABASE_URI=url,
        WTF_CSRF_ENABLED=False,
    )
    database: Any = SQLAlchemy(app)
    fsqla_v2.FsModels.set_db_info(database)
    role = type("Role", (database.Model, fsqla_v2.FsRoleMixin), {})
    user = type("User", (database.Model, fsqla_v2.FsUserMixin), {})
    store = SQLAlchemyUserDatastore(database, user, role)
    Security(app, store)
    app.add_url_rule(VIEW, "view", auth_required("session")(roles_required("viewer")(_view)))
    with app.app_context():
        database.create_all()
        store.create_role(name="viewer")
        store.create_user(
            email="ann@example.com", password=hash_password(PASSWORD), roles=["viewer"]
        )
        database.session.commit()
    return app


def seed(app: Flask, count: int, *, prefix: str = "user", role: str | None = None) -> People:
    """Create active people with one password; one hash serves all, as each check costs the same."""
    names = tuple(f"{prefix}{index:05}" for index in range(count))
    with app.app_context():
        tenant_id = default_tenant_id()
        password_hash = hashing.current().hash(PASSWORD)
        actor = system_actor(tenant_id, "bench")
        with tenant_scope(tenant_id), transaction():
            for name in names:
                services_accounts.create_user(
                    username=name, email=f"{name}@example.com", first_name="Ann",
                    last_name=name.title(), roles=(role,) if role else (), invite=False,
                    password_hash=password_hash, email_verified=True, actor_grants=None,
                    actor=actor,
                )  # fmt: skip
    return People(tenant_id, names)


def seed_admin(app: Flask, name: str = "admin") -> str:
    """Create an administrator with a second factor and return its TOTP secret."""
    people = seed(app, 1, prefix=name, role="tenant_admin")
    secret, row_id, at = new_secret(), new_id(), clock.now()
    with app.app_context(), tenant_scope(people.tenant_id), transaction():
        user = services_accounts.find_by_login(people.names[0])
        assert user is not None
        session().add(
            IAMMfaMethod(
                id=row_id, tenant_id=user.tenant_id, user_id=user.id, method="totp", name="Phone",
                secret=keyring().encrypt(secret.encode(), f"iam_mfa_method:{row_id}"),
                created_at=at, confirmed_at=at,
            )
        )  # fmt: skip
    return secret


def forget_sessions(app: Flask) -> None:
    """Delete all sessions, so that no one reaches the limit of sessions while measuring."""
    with app.app_context(), unscoped("benchmark"), transaction():
        session().execute(delete(IAMAuthSession).execution_options(synchronize_session=False))


def _view() -> str:
    return "hello"
