"""How the pages of a tenant look: its name, logo, colour and links.

A page must be had while the database is away: then the installation's own are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import url_for
from sqlalchemy.exc import SQLAlchemyError

from ...core.errors import IAMError
from ...core.parsing.web_address import origin_of_address
from ...tenancy.services_settings import effective
from ..settings import AuthSettings
from .current import do_without_session, knows_no_tenant, show_image_of


def brand() -> Mapping[str, Any]:
    """Return what the layout shows of the tenant of this request."""
    settings = _settings()
    logo, accent = settings.IAM_BRAND_LOGO_URL, settings.IAM_BRAND_ACCENT
    if logo:
        show_image_of(origin_of_address(logo))
    return {
        "name": settings.IAM_BRAND_NAME,
        "logo_url": logo,
        "stylesheet_url": accent_url(accent) if accent else "",
        "support_url": settings.IAM_SUPPORT_URL,
        "privacy_url": settings.IAM_PRIVACY_URL,
        "terms_url": settings.IAM_TERMS_URL,
    }


def accent_url(accent: str) -> str:
    """Return the address of the style sheet of a colour: it names the colour, and nobody."""
    return url_for("iam_service.accent", colour=accent.removeprefix("#").lower())


def _settings() -> AuthSettings:
    if knows_no_tenant():
        return AuthSettings.current()
    try:
        return effective(AuthSettings)
    except (SQLAlchemyError, IAMError):
        do_without_session()
        return AuthSettings.current()
