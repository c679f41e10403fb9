"""Every start-up check, gathered: what `flask iam check` prints and production refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Flask

from .auth.mfa import settings_mfa
from .auth.passwords import settings_password
from .auth.recovery import settings_recovery
from .auth.settings import AuthSettings
from .auth.sign_in import settings_sign_in
from .auth.sso import settings_sso
from .auth.webauthn import settings_webauthn
from .core import secrets
from .core.checks import Finding
from .core.runtime import CoreSettings, State, state
from .notify.checks import check_notify

Check = Callable[[Flask, State], Iterator[Finding]]


def _secrets(app: Flask, found: State) -> Iterator[Finding]:
    yield from secrets.findings(app, found.section(CoreSettings))


def _transport(app: Flask, found: State) -> Iterator[Finding]:
    base = found.section(AuthSettings).IAM_BASE_URL
    if not base.startswith("https://"):
        yield Finding("iam.E003", "IAM_BASE_URL must be the public https:// address")
    if not app.config["SESSION_COOKIE_SECURE"]:
        yield Finding("iam.E004", "SESSION_COOKIE_SECURE must be on")


def _modes(app: Flask, found: State) -> Iterator[Finding]:
    if app.debug or app.testing:
        yield Finding("iam.E005", "debug and testing must be off")
    if app.config.get("WTF_CSRF_ENABLED") is False:
        yield Finding("iam.E006", "WTF_CSRF_ENABLED must not be off")
    if not found.section(AuthSettings).IAM_SUPER_ADMIN_NETWORKS:
        text = "super admins sign in from anywhere, and enter no tenant"
        yield Finding("iam.W004", f"IAM_SUPER_ADMIN_NETWORKS is empty: {text}")
    if not found.section(CoreSettings).REDIS_URL:
        yield Finding("iam.W001", "REDIS_URL is empty: each process counts request rates alone")


def _database(app: Flask, found: State) -> Iterator[Finding]:
    options = app.config.get("SQLALCHEMY_ENGINE_OPTIONS") or {}
    mysql = str(app.config.get("SQLALCHEMY_DATABASE_URI", "")).startswith("mysql")
    if mysql and not found.owns_database and options.get("isolation_level") != "READ COMMITTED":
        yield Finding("iam.W003", "run the host's MySQL engine at isolation_level READ COMMITTED")
    if str(app.config.get("SQLALCHEMY_DATABASE_URI", "")).startswith("sqlite"):
        yield Finding("iam.W002", "SQLite serves one machine; production runs on MySQL 8.4")


def _sections(_app: Flask, found: State) -> Iterator[Finding]:
    yield from settings_password.check(found)
    yield from settings_mfa.check(found)
    yield from settings_webauthn.check(found)
    yield from settings_sign_in.check(found)
    yield from settings_recovery.check(found)
    yield from settings_sso.check(found)
    yield from check_notify(found)


CHECKS: tuple[Check, ...] = (_secrets, _transport, _modes, _database, _sections)


def run_checks(app: Flask) -> Iterator[Finding]:
    """Yield the findings of every check for `app`."""
    for check in CHECKS:
        yield from check(app, state(app))
