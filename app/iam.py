"""IAM: the Flask extension. Ten lines embed it; `create_app` runs it alone.

`init_app` reads the settings, joins the app's database session, registers the
blueprints and handlers, and refuses to start production with weak secrets.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from jinja2 import BaseLoader, ChoiceLoader
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from . import cli, services_alerts
from .audit import observers
from .audit import routes_admin as audit_admin
from .audit import routes_admin_proofs as audit_proofs
from .audit.sealing import sealer
from .audit.statistics import routes_statistics as audit_statistics
from .auth import (
    routes_account,
    routes_admin,
    routes_login,
    routes_mfa,
    routes_service,
    routes_sso,
    routes_webauthn,
)
from .auth.accounts import routes_contact
from .auth.invitations import routes_admin_invitations, routes_invitations
from .auth.mfa import routes_factors
from .auth.passwords.settings_password import PasswordSettings
from .auth.recovery import routes_recovery
from .auth.routes_service import iam_static
from .auth.security import can, reaches
from .auth.sessions import routes_devices
from .auth.settings import AuthSettings
from .auth.sign_in import routes_sign_in_links, routes_verify
from .auth.sso import routes_sso_link
from .auth.web import current, http_errors, pages, tenant_address
from .auth.web.blueprint import IAMBlueprint, is_ours, template_loader
from .authz import routes_admin as roles_admin
from .checks import run_checks
from .config import SECTIONS
from .core import db, scoping
from .core.checks import refuse_errors
from .core.runtime import CoreSettings, State
from .core.secrets import adopt_secret_key, build_keyring
from .core.settings import EXTENSION, Section, environment, refuse_unknown
from .extensions import babel, limiter, login_manager
from .extensions import db as own_db
from .hooks import Hooks
from .notify import critical, services_outbox
from .tenancy import routes_admin_organizations as organizations_admin
from .tenancy import routes_admin_settings as settings_admin


class IAM:
    """Identity and access management for one or more Flask apps."""

    def __init__(self, app: Flask | None = None, *, hooks: Hooks | None = None) -> None:
        self.hooks = hooks or Hooks()
        if app is not None:
            self.init_app(app)

    @cli.said_plainly()
    def init_app(self, app: Flask) -> None:
        """Install into `app`. Raises Misconfigured with a sentence naming the setting."""
        settings = load_settings(app)
        core = settings[CoreSettings]
        assert isinstance(core, CoreSettings)  # noqa: S101 - narrows the type
        adopt_secret_key(app, core)
        keyring, warnings = build_keyring(app, core)
        owns = _join_database(app, core)
        password = settings[PasswordSettings]
        assert isinstance(password, PasswordSettings)  # noqa: S101 - narrows the type
        app.extensions[EXTENSION] = State(
            settings, keyring, password.hasher(), self.hooks, owns, warnings
        )
        scoping.install(app.extensions["sqlalchemy"].session)
        _install_extensions(app, core)
        _install_pages(app, settings[AuthSettings])
        cli.install(app)
        observers.register(critical.note)
        services_outbox.before_drain(app, services_alerts.tell)
        sealer.install(app)
        _start(app, core)

    @staticmethod
    def transaction() -> AbstractContextManager[Session]:
        """Return the unit of work: `with iam.transaction(): …` commits or rolls back as one."""
        return db.transaction()


def load_settings(app: Flask) -> dict[type[Section], Section]:
    """Read every section from the app's configuration and the environment."""
    known = {name for section in SECTIONS for name in section.model_fields}
    refuse_unknown(app.config, known)
    refuse_unknown(environment(), known)
    return {section: section.load(app.config, environment()) for section in SECTIONS}


def blueprints(settings: AuthSettings, core: CoreSettings) -> list[IAMBlueprint]:
    """Return the blueprints that the settings switch on."""
    found = [
        routes_login.bp,
        routes_sso.bp,
        routes_sign_in_links.bp,
        routes_mfa.bp,
        routes_verify.bp,
        routes_webauthn.bp,
        routes_recovery.bp,
        routes_invitations.bp,
        routes_service.bp,
    ]
    if settings.IAM_ACCOUNT_ENABLED:
        found += [routes_account.bp, routes_contact.bp, routes_devices.bp, routes_factors.bp]
        found.append(routes_sso_link.bp)
    if settings.IAM_ADMIN_ENABLED:
        found += [routes_admin.bp, roles_admin.bp, audit_admin.bp, audit_proofs.bp]
        found.append(audit_statistics.bp)
        found.append(organizations_admin.bp)
        found += [routes_admin_invitations.bp, settings_admin.bp]
    if core.IAM_ENV == "demo":
        found.append(routes_service.dev_bp)
    return list(dict.fromkeys(found))  # two modules of routes may share one blueprint


def _join_database(app: Flask, core: CoreSettings) -> bool:
    """Use the host's Flask-SQLAlchemy, or bring our own; return whether it is ours."""
    if "sqlalchemy" in app.extensions:
        return False
    url = core.DATABASE_URL or app.config.get("SQLALCHEMY_DATABASE_URI") or _embedded_url(app)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    options = dict(app.config.get("SQLALCHEMY_ENGINE_OPTIONS") or {})
    if make_url(url).get_backend_name() == "mysql":
        options.setdefault("isolation_level", "READ COMMITTED")
        for name, value in (app.config.get("ENGINE_OPTIONS") or {}).items():
            options.setdefault(name, value)
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    own_db.init_app(app)
    if make_url(url).get_backend_name() == "sqlite":
        with app.app_context():
            db.prepare_sqlite(own_db.engine)
    return True


def _embedded_url(app: Flask) -> str:
    folder = Path(app.instance_path)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'iam.db'}"


def _install_extensions(app: Flask, core: CoreSettings) -> None:
    if not hasattr(app, "login_manager"):
        # Not init_app: it would look into Flask's session after every request of the app, for
        # a "remember me" cookie that ours never sets.
        app.login_manager = login_manager  # type: ignore[attr-defined]
        login_manager.session_protection = None
        login_manager.request_loader(lambda _request: current.current_principal())
        login_manager.anonymous_user = current.Anonymous
    if "babel" not in app.extensions:
        babel.init_app(app, locale_selector=current.language)
    if core.REDIS_URL:
        app.config.setdefault("RATELIMIT_STORAGE_URI", core.REDIS_URL)
        app.config.setdefault("RATELIMIT_IN_MEMORY_FALLBACK_ENABLED", True)
    app.config.setdefault("RATELIMIT_STORAGE_URI", "memory://")
    limiter.init_app(app)
    # Limited views check themselves; nothing is looked up for the host's other requests.
    app.before_request_funcs[None].remove(limiter._check_request_limit)  # noqa: SLF001


def _install_pages(app: Flask, settings: Any) -> None:
    core = current_core(app)
    for blueprint in blueprints(settings, core):
        _exempt_from_host_csrf(app, blueprint)
        app.register_blueprint(blueprint, url_prefix=blueprint.prefix(settings) or None)
    _add_templates(app)
    current.install(app)
    tenant_address.install(app)
    http_errors.install(app)
    app.after_request(_finish)


def current_core(app: Flask) -> CoreSettings:
    """Return the core settings of an app that is being set up."""
    found: State = app.extensions[EXTENSION]
    return found.section(CoreSettings)


def _exempt_from_host_csrf(app: Flask, blueprint: IAMBlueprint) -> None:
    # Our blueprints check their own requests (`auth/web/csrf.py`), with the same tokens.
    host = app.extensions.get("csrf")
    if host is not None:
        host.exempt(blueprint)


def _add_templates(app: Flask) -> None:
    host: BaseLoader = app.jinja_env.loader or app.create_global_jinja_loader()
    app.jinja_env.loader = ChoiceLoader([host, template_loader()])
    app.jinja_env.globals.update(iam_static=iam_static, can=can, reaches=reaches)
    app.jinja_env.filters.update(iam_datetime=pages.iam_datetime, iam_ago=pages.iam_ago)
    app.jinja_env.filters.update(iam_exact=pages.iam_exact)
    app.context_processor(lambda: {"current_user": current.current_user})
    app.url_build_error_handlers.append(pages.switched_off_url)  # type: ignore[arg-type]


def _finish(response: Response) -> Response:
    if is_ours(request.blueprint):
        response = pages.secure_headers(response)
    return current.after_request(response)


def _start(app: Flask, core: CoreSettings) -> None:
    if cli.only_looks():  # `flask iam check` tells what is wrong; nothing is served
        return
    findings = list(run_checks(app))
    for finding in findings:
        if core.IAM_ENV == "production":
            app.logger.warning("%s %s", finding.id, finding.text)
    if core.IAM_ENV == "production":
        refuse_errors(findings)
    for warning in app.extensions[EXTENSION].warnings:
        app.logger.warning(warning)
