"""Tells the sealer of this process that something was recorded; see `sealer.py`."""

from __future__ import annotations

from flask import current_app

EXTENSION = "iam_sealer"


def wake() -> None:
    """Have the sealer of this process look soon, where there is one."""
    sealer = current_app.extensions.get(EXTENSION)
    if sealer is not None:
        sealer.wake()
