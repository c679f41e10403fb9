"""Secrets of an app: from settings, derived in development, refused when weak in production."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask

from .checks import Finding
from .crypto import NEW_FERNET_KEY, KeyRing, fernet_key_from
from .errors import Misconfigured
from .runtime import CoreSettings

_SAMPLES = {"changeme", "change-me", "secret", "dev", "development", "test", "password"}
_SHORTEST = 32
# Runs without an app: the command line needs one that starts.
_MAKE_KEY = "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"


def adopt_secret_key(app: Flask, settings: CoreSettings) -> None:
    """Give the app the secret key of our settings where it has none of its own."""
    if settings.FLASK_SECRET_KEY:
        app.config["SECRET_KEY"] = settings.FLASK_SECRET_KEY
    if settings.FLASK_SECRET_KEY_FALLBACKS:
        app.config["SECRET_KEY_FALLBACKS"] = list(settings.FLASK_SECRET_KEY_FALLBACKS)
    if not app.config.get("SECRET_KEY"):
        raise Misconfigured(f"FLASK_SECRET_KEY is missing: make one with {_MAKE_KEY}")


def build_keyring(app: Flask, settings: CoreSettings) -> tuple[KeyRing, list[str]]:
    """Return the key ring and warnings about keys that were derived.

    Raises Misconfigured for a missing encryption key in production.
    """
    secret = _text(app.config["SECRET_KEY"])
    signing = [secret, *_fallbacks(app)]
    encryption = [key.strip() for key in settings.MFA_ENCRYPTION_KEY.split(",") if key.strip()]
    if encryption:
        return KeyRing(signing, encryption), []
    if settings.IAM_ENV == "production":
        raise Misconfigured(f"MFA_ENCRYPTION_KEY is missing: make one with {NEW_FERNET_KEY}")
    warning = "MFA_ENCRYPTION_KEY is not set: derived from the secret key (not for production)"
    return KeyRing(signing, [fernet_key_from(secret)]), [warning]


def findings(app: Flask, settings: CoreSettings) -> Iterator[Finding]:
    """Yield what is wrong with the secrets for production."""
    secret = _text(app.config.get("SECRET_KEY") or "")
    if len(secret) < _SHORTEST or secret.lower() in _SAMPLES or len(set(secret)) < 8:
        yield Finding("iam.E001", "FLASK_SECRET_KEY is weak: use at least 32 random characters")
    if not settings.MFA_ENCRYPTION_KEY:
        yield Finding("iam.E002", f"MFA_ENCRYPTION_KEY is missing: make one with {NEW_FERNET_KEY}")


def _fallbacks(app: Flask) -> list[str]:
    found = app.config.get("SECRET_KEY_FALLBACKS") or []
    if isinstance(found, str | bytes):  # Flask would take every single character for a key
        raise Misconfigured("SECRET_KEY_FALLBACKS must be a list; see FLASK_SECRET_KEY_FALLBACKS")
    return [_text(item) for item in found]


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
