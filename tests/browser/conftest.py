"""A real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chromium import browser as chromium


@pytest.fixture
def browser() -> Iterator[Any]:
    """Start a Chromium without a profile."""
    with chromium() as driver:
        driver.implicitly_wait(5)
        yield driver
