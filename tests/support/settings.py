"""Settings changed for the length of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask

from app.core.settings import Section


@contextmanager
def changed(app: Flask, section: type[Section], **values: Any) -> Iterator[None]:
    """Change settings of one section for a while."""
    held = app.extensions["iam"].settings
    before = held[section]
    held[section] = section.model_validate({**before.model_dump(), **values})
    try:
        yield
    finally:
        held[section] = before
