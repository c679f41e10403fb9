"""What was sent to people: the outbox of the suite delivers at once."""

from __future__ import annotations

import re
from typing import Any

from app.core.db import session
from app.notify import services_outbox


def messages(to: str | None = None) -> list[dict[str, Any]]:
    """Return what was sent, newest first."""
    session().rollback()
    return [item for item in services_outbox.list_recent(200) if to in (None, item["to"])]


def code_to(address: str) -> str:
    """Return the code in the newest message to an address that carries one."""
    for item in messages(address):
        found = re.search(r"\b(\d{6})\b", item["body"])
        if found:
            return found.group(1)
    raise AssertionError(f"no code was sent to {address}")


def link_to(address: str, path: str) -> str:
    """Return the newest link below `path` that was sent to an address, without the host."""
    for item in messages(address):
        found = re.search(rf"http://localhost({re.escape(path)}\S+)", item["body"])
        if found:
            return found.group(1)
    raise AssertionError(f"no link below {path} was sent to {address}")


def wrong(code: str) -> str:
    """Return six digits that differ from `code`."""
    return f"{(int(code) + 1) % 1_000_000:06d}"
