"""Translations of our own texts, beside whatever a host translates.

`_` translates now, `lazy` when shown, `N_` only marks a constant that is shown
through `_` later. The catalogue is the domain `iam`, so a host's own messages never
mix with ours; the language is the one that Flask-Babel finds for the reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from babel import Locale
from flask import has_app_context, has_request_context, request
from flask_babel import Domain, LazyString, force_locale, get_locale

TRANSLATIONS = Path(__file__).parent.parent / "auth" / "translations"
LANGUAGES = {"en": "English", "de": "Deutsch", "fr": "Français"}
SOURCE = "en"
domain = Domain(translation_directories=[str(TRANSLATIONS)], domain="iam")
_speaking: ContextVar[bool] = ContextVar("iam_speaking", default=False)


def N_(text: str) -> str:  # noqa: N802 - the name that gettext's tools know
    """Return `text` as it is, marked for the catalogues."""
    return text


def _(text: str, **values: Any) -> str:
    """Return `text` in the reader's language, with `%(name)s` filled in."""
    if text and _reader_known():  # the catalogue's own header is filed under ""
        return str(domain.gettext(text, **values))
    return text % values if values else text


def lazy(text: str, **values: Any) -> Any:
    """Return a text that is translated when it is shown (for form labels)."""
    return LazyString(_, text, **values)


def known_language(tag: str | None) -> str | None:
    """Return which of our languages a tag such as `de-AT` means, or None."""
    short = (tag or "").replace("_", "-").partition("-")[0].lower()
    return short if short in LANGUAGES else None


def preferred_language() -> str | None:
    """Return the language of the request that we have translations for."""
    return request.accept_languages.best_match(list(LANGUAGES)) if has_request_context() else None


def locale() -> Locale:
    """Return the locale in which dates are written beside our texts."""
    found = get_locale() if _reader_known() else None
    return found if found is not None and known_language(str(found)) else Locale(SOURCE)


def language() -> str:
    """Return the language our texts are in now, for `lang` attributes."""
    return str(locale().language)


@contextmanager
def speaking(tag: str | None) -> Iterator[None]:
    """Translate into the language of `tag` for a while: a message is its recipient's to read.

    Nothing changes where the language is not known or not one of ours.
    """
    wanted = known_language(tag)
    if wanted is None or not has_app_context():
        yield
        return
    before = _speaking.set(True)
    try:
        with force_locale(wanted):
            yield
    finally:
        _speaking.reset(before)


def _reader_known() -> bool:
    return has_request_context() or (_speaking.get() and has_app_context())
