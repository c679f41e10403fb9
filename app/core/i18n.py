"""Translations of our own texts, beside whatever a host translates.

`_` translates now, `lazy` when shown. The catalogue is the domain `iam`, so a
host's own messages never mix with ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import has_request_context, request
from flask_babel import Domain

TRANSLATIONS = Path(__file__).parent.parent / "auth" / "translations"
LANGUAGES = {"en": "English", "de": "Deutsch", "fr": "Français"}
domain = Domain(translation_directories=[str(TRANSLATIONS)], domain="iam")


def _(text: str, **values: Any) -> str:
    """Return `text` in the reader's language, with `%(name)s` filled in."""
    if has_request_context():
        return str(domain.gettext(text, **values))
    return text % values if values else text


def lazy(text: str, **values: Any) -> Any:
    """Return a text that is translated when it is shown (for form labels)."""
    return domain.lazy_gettext(text, **values)


def preferred_language() -> str | None:
    """Return the language of the request that we have translations for."""
    return request.accept_languages.best_match(list(LANGUAGES)) if has_request_context() else None
