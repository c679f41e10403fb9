"""create_app: the stand-alone service around the extension."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from flask import Flask, current_app, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

from . import cli
from .auth.security import public
from .auth.web import http_errors, pages
from .auth.web.current import check_address
from .config import CONFIGURATIONS
from .core.errors import Misconfigured
from .core.hosts import HostCheck
from .core.runtime import CoreSettings, state
from .core.settings import environment
from .iam import IAM

NAME = "iam"


@cli.said_plainly()
def create_app(config: str | Mapping[str, Any] | None = None) -> Flask:
    """Return the stand-alone service.

    `config` is the name of a configuration (production, development, demo,
    testing), a mapping laid over it, or nothing: then IAM_ENV or production.
    Raises Misconfigured.
    """
    app = Flask(NAME, instance_path=str(Path.cwd() / "instance"), static_folder=None)
    values = dict(config) if isinstance(config, Mapping) else {}
    dotenv = {} if values else dotenv_values(Path.cwd() / ".env")
    name = config if isinstance(config, str) else _environment_name(values, dotenv)
    if name not in CONFIGURATIONS:
        raise Misconfigured(f"IAM_ENV must be one of {', '.join(CONFIGURATIONS)}, not {name!r}")
    app.config.from_object(CONFIGURATIONS[name])
    app.config.update({key: value for key, value in dotenv.items() if key not in environment()})
    app.config.update(values)
    app.config["IAM_ENV"] = name
    IAM().init_app(app)
    http_errors.own_whole_app(app)
    app.after_request(pages.secure_headers)
    app.url_map.merge_slashes = False  # a redirect would repeat whatever Host was sent
    _trust_proxies(app)
    app.wsgi_app = HostCheck(app.wsgi_app, pages.HEADERS)  # type: ignore[method-assign]
    app.add_url_rule("/", "home", public("the front page tells nothing")(_home))
    return app


def _environment_name(values: Mapping[str, Any], dotenv: Mapping[str, str | None]) -> str:
    if values.get("IAM_ENV"):
        return str(values["IAM_ENV"])
    if values.get("TESTING"):
        return "testing"
    return environment().get("IAM_ENV") or dotenv.get("IAM_ENV") or "production"


def _trust_proxies(app: Flask) -> None:
    count = state(app).section(CoreSettings).IAM_TRUSTED_PROXIES
    if count:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=count, x_proto=count, x_host=0, x_port=0, x_prefix=0
        )


def _outbox_url() -> str | None:
    shown = "iam_dev" in current_app.blueprints
    return url_for("iam_dev.outbox") if shown else None


def _home() -> Any:
    check_address()
    return pages.render("iam/home.html", outbox_url=_outbox_url())
