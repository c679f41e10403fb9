"""What one app holds of us: loaded settings, keys, hasher, hooks. Kept in `app.extensions`.

Never mutated after start, apart from the remembered id of the default tenant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from uuid import UUID

from flask import Flask, current_app

from .crypto import KeyRing
from .hashing import PasswordHasher
from .settings import EXTENSION, CommaList, Section, setting

S = TypeVar("S", bound=Section)
ENVIRONMENTS = ("production", "development", "testing", "demo")


class CoreSettings(Section):
    """Where it runs, its keys, its database."""

    title = "Environment, keys and database"

    IAM_ENV: str = setting(
        "development",
        "`production`, `development`, `testing` or `demo`. The stand-alone service defaults to "
        "production; a host app says so itself.",
        pattern="^(production|development|testing|demo)$",
    )
    FLASK_SECRET_KEY: str = setting(
        "", "Signs cookies and tokens; at least 32 random characters.", secret=True
    )
    FLASK_SECRET_KEY_FALLBACKS: CommaList = setting(
        (), "Earlier secret keys, separated by commas: they verify, the newest signs.", secret=True
    )
    MFA_ENCRYPTION_KEY: str = setting(
        "",
        "Fernet keys that encrypt stored secrets, newest first, separated by commas.",
        secret=True,
    )
    DATABASE_URL: str = setting(
        "", "SQLAlchemy URL of the database; empty: SQLite under `instance/`.", secret=True
    )
    REDIS_URL: str = setting(
        "", "Shared store of request rates; empty: each process counts for itself.", secret=True
    )
    IAM_TRUSTED_PROXIES: int = setting(
        0, "Reverse proxies in front whose forwarding headers are believed.", ge=0, le=5
    )


@dataclass(slots=True)
class State:
    """Everything of ours that belongs to one app."""

    settings: dict[type[Section], Section]
    keyring: KeyRing
    hasher: PasswordHasher
    hooks: Any
    owns_database: bool
    warnings: list[str] = field(default_factory=list)
    default_tenant_id: UUID | None = None

    def section(self, kind: type[S]) -> S:
        """Return one section as it was loaded."""
        return cast(S, self.settings[kind])


def state(app: Flask | None = None) -> State:
    """Return the state of `app`, or of the current one."""
    target = app if app is not None else current_app
    return cast(State, target.extensions[EXTENSION])


def is_changed(hooks: Any, name: str) -> bool:
    """Return whether a host changed a hook; what only that hook needs is not loaded otherwise."""
    return not getattr(getattr(hooks, name), "__iam_default__", False)
