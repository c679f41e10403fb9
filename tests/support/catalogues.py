"""The translations as files: what the code asks for, what the catalogues hold, what is missing.

Run as a module it lists what nobody has translated yet, and fails where there is any.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_keywords, parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parents[2]
CATALOGUES = ROOT / "app/auth/translations"
_parse_mapping: Any = parse_mapping_cfg  # Babel leaves this one untyped
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w+\}")


def languages() -> list[str]:
    """Return the languages with a catalogue."""
    return sorted(path.parts[-3] for path in CATALOGUES.glob("*/LC_MESSAGES/iam.po"))


def catalogue(language: str) -> Catalog:
    """Return the catalogue of a language."""
    with _path(language).open("rb") as file:
        return read_po(file, locale=language)


def extracted() -> set[str]:
    """Return every text marked in the code, by the settings that `make translations` uses."""
    with (ROOT / "babel.cfg").open() as file:
        methods, options = _parse_mapping(file)
    makefile = (ROOT / "Makefile").read_text()
    marked = shlex.split(re.findall(r"^MARKED_BY := (.*)$", makefile, re.MULTILINE)[0])
    keywords: Any = DEFAULT_KEYWORDS | parse_keywords([word for word in marked if word != "-k"])
    found = extract_from_dir(
        ROOT / "app", _below_app(methods), _below_app(options), keywords, strip_comment_tags=True
    )
    return {str(text) for _file, _line, text, _comments, _context in found if text}


def texts(found: Catalog) -> dict[str, Message]:
    """Return the messages of a catalogue by their text, without its header."""
    return {str(message.id): message for message in found if message.id}


def missing(language: str) -> list[str]:
    """Return what the code asks for and the catalogue cannot say."""
    held = texts(catalogue(language))
    done = {text for text, message in held.items() if message.string and not message.fuzzy}
    return sorted(extracted() - done)


def compiled(language: str) -> bytes:
    """Return what compiling the catalogue gives."""
    buffer = io.BytesIO()
    write_mo(buffer, catalogue(language))
    return buffer.getvalue()


def stored(language: str) -> bytes:
    """Return the compiled catalogue as it is stored."""
    return _path(language).with_suffix(".mo").read_bytes()


def _path(language: str) -> Path:
    return CATALOGUES / language / "LC_MESSAGES" / "iam.po"


def _below_app(mapping: Any) -> Any:
    # babel.cfg names paths from the root; walking `app` alone spares the environments beside it.
    if isinstance(mapping, dict):
        return {pattern.removeprefix("app/"): value for pattern, value in mapping.items()}
    return [(pattern.removeprefix("app/"), value) for pattern, value in mapping]


def main() -> int:
    """List what is missing. Return 1 where anything is."""
    found = [(language, text) for language in languages() for text in missing(language)]
    for language, text in found:
        print(f"{language}: not translated: {text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
