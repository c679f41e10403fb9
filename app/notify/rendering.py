"""Renders mail bodies from templates that a host may replace by name.

A host's own `iam/mail/…` wins over ours. For each mail the template named for
its purpose is tried first (`iam/mail/password_reset.html`), then the one of its
kind (`iam/mail/link.html`). HTML is always escaped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import current_app
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    select_autoescape,
)

from ..core.i18n import _, language

TEMPLATES = Path(__file__).parent / "templates"
_EXTENSION = "iam_mail_templates"


def render_mail(kind: str, purpose: str, **values: Any) -> tuple[str, str]:
    """Return text and HTML of one mail."""
    text, html = (
        _environment()
        .select_template([f"iam/mail/{purpose}.{form}", f"iam/mail/{kind}.{form}"])
        .render(values)
        for form in ("txt", "html")
    )
    return text.strip() + "\n", html


def _environment() -> Environment:
    # Not the app's own environment: its autoescape rules, globals and context
    # processors belong to the host, and some of those need a request.
    known = current_app.extensions.get(_EXTENSION)
    if isinstance(known, Environment):
        return known
    loaders: list[BaseLoader] = [FileSystemLoader(TEMPLATES)]
    if current_app.jinja_env.loader is not None:
        loaders.insert(0, current_app.jinja_env.loader)
    environment = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(_=_, iam_lang=language)
    current_app.extensions[_EXTENSION] = environment
    return environment
