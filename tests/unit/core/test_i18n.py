"""Translations: complete, consistent, compiled, in the right language at the right time (N1)."""

from __future__ import annotations

import gettext
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask_babel import Babel, force_locale

from app.audit.events import CATALOGUE
from app.audit.labels import LABELS
from app.core import clock, dates, i18n
from app.core.errors import IAMError
from app.core.i18n import N_, _, known_language, language, lazy, speaking
from tests.support.catalogues import (
    PLACEHOLDER,
    catalogue,
    compiled,
    extracted,
    languages,
    missing,
    stored,
    texts,
)

LANGUAGES = ["de", "fr"]
NOON = datetime(2026, 5, 1, 12, 3, 4, tzinfo=UTC)


def messages(binary: bytes) -> dict[str, str]:
    """Return the messages of a compiled catalogue."""
    found: Any = gettext.GNUTranslations(io.BytesIO(binary))
    return {key: value for key, value in found._catalog.items() if key}


def test_n1_english_and_at_least_two_more() -> None:
    assert languages() == LANGUAGES
    assert sorted(i18n.LANGUAGES) == ["de", "en", "fr"]


@pytest.mark.parametrize("tag", LANGUAGES)
def test_n1_every_text_is_translated(tag: str) -> None:
    """What is listed here is new: translate it in iam.po after `make translations`."""
    assert not missing(tag)


@pytest.mark.parametrize("tag", LANGUAGES)
def test_the_catalogues_hold_what_the_code_asks_for_and_no_more(tag: str) -> None:
    held = texts(catalogue(tag))
    assert not [text for text, message in held.items() if message.fuzzy]
    assert not set(held) ^ extracted(), "run: make translations"


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_translation_keeps_every_placeholder(tag: str) -> None:
    wrong = [
        text
        for text, message in texts(catalogue(tag)).items()
        if sorted(PLACEHOLDER.findall(text)) != sorted(PLACEHOLDER.findall(str(message.string)))
    ]
    assert not wrong
    stray = [
        text
        for text, message in texts(catalogue(tag)).items()
        if "%" in text and PLACEHOLDER.sub("", str(message.string)).count("%")
    ]
    assert not stray


@pytest.mark.parametrize("tag", LANGUAGES)
def test_the_compiled_catalogue_agrees_with_its_source(tag: str) -> None:
    assert messages(stored(tag)) == messages(compiled(tag)), "run: make translations"


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_translation_ends_like_its_source(tag: str) -> None:
    """A sentence stays a sentence, a question a question."""
    ends = re.compile(r"[.:?…]\Z")
    wrong = [
        (text, message.string)
        for text, message in texts(catalogue(tag)).items()
        if ends.findall(text) and ends.findall(text) != ends.findall(str(message.string))
    ]
    assert not wrong


def subclasses(kind: type[IAMError]) -> list[type[IAMError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in subclasses(below))]


def test_every_error_title_and_event_is_marked_for_translation(app: Flask) -> None:
    marked = extracted()
    ours = [kind for kind in subclasses(IAMError) if kind.__module__.startswith("app.")]
    assert not [kind.__name__ for kind in ours if kind.title not in marked]
    assert not [event.name for event in CATALOGUE.values() if event.meaning not in marked]
    fields = {field for event in CATALOGUE.values() for field in event.fields}
    assert not fields - set(LABELS), "give these metadata keys a word in app/audit/labels.py"


def test_nothing_is_translated_without_a_reader(app: Flask) -> None:
    assert _("Sign in") == "Sign in"
    assert str(lazy("Use at most %(count)s characters.", count=3)) == "Use at most 3 characters."
    assert language() == "en"


def test_an_empty_text_stays_empty(app: Flask) -> None:
    """Gettext files a catalogue's header under the empty text."""
    with app.test_request_context(), force_locale("de"):
        assert _("") == ""
        assert N_("Sign in") == "Sign in"
        assert _(N_("Sign in")) == "Anmelden"


def test_speaking_ends_where_it_ends_and_works_without_a_request(app: Flask) -> None:
    label = lazy("Sign in")
    with speaking("de-AT"):
        assert (_("Sign in"), str(label), language()) == ("Anmelden", "Anmelden", "de")
        with speaking("fr"):
            assert _("Sign in") == "Se connecter"
        assert _("Sign in") == "Anmelden"
    assert _("Sign in") == "Sign in"
    with pytest.raises(ZeroDivisionError), speaking("de"):
        raise ZeroDivisionError
    assert _("Sign in") == "Sign in"


@pytest.mark.parametrize("tag", [None, "", "xx", "d", "en-US"])
def test_speaking_an_unknown_language_changes_nothing(app: Flask, tag: str | None) -> None:
    with app.test_request_context(headers={"Accept-Language": "en"}), speaking(tag):
        assert _("Sign in") == "Sign in"


@pytest.mark.parametrize(
    ("tag", "known"),
    [("de", "de"), ("de-AT", "de"), ("FR_ca", "fr"), ("en-GB", "en"), ("gsw", None), (None, None)],
)
def test_a_language_tag_is_known_by_its_first_part(tag: str | None, known: str | None) -> None:
    assert known_language(tag) == known


def test_a_language_without_catalogue_is_english_and_says_so() -> None:
    app = Flask(__name__)
    Babel(app, locale_selector=lambda: "es")
    with app.test_request_context():
        assert (_("Sign in"), language()) == ("Sign in", "en")


def test_times_are_written_in_the_reader_s_language_and_zone(app: Flask) -> None:
    vienna = dates.zone("Europe/Vienna")
    assert dates.moment(NOON) == "May 1, 2026, 12:03 UTC"
    assert dates.moment(NOON, vienna) == "May 1, 2026, 14:03 UTC+02:00"
    with speaking("de"):
        assert dates.moment(NOON, vienna, seconds=True) == "1. Mai 2026, 14:03:04 UTC+02:00"
        assert dates.ago(clock.now() - timedelta(minutes=5)) == "vor 5 Min."
        assert dates.ago(NOON - timedelta(days=400), vienna) == "27. März 2025"
    with speaking("fr"):
        assert dates.moment(NOON) == "1 mai 2026, 12:03 UTC"
        assert dates.ago(clock.now() + timedelta(days=40)).endswith("UTC")


@pytest.mark.parametrize("name", [None, "", "Nowhere/Land", "../etc/passwd", "/etc/localtime"])
def test_an_unknown_time_zone_is_utc(name: str | None) -> None:
    assert dates.zone(name) is UTC
