"""Start-up checks with stable ids, so that a refusal to start can be looked up.

Errors stop a production start; warnings are logged. `flask iam check` prints
them all; the list of checks is `app/checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: `iam.E…` stops a production start, `iam.W…` is said aloud."""

    id: str
    text: str

    @property
    def is_error(self) -> bool:
        """Return whether this finding stops a production start."""
        return self.id.startswith("iam.E")


def refuse_errors(findings: Iterable[Finding]) -> None:
    """Raise Misconfigured listing every error among `findings`."""
    errors = [f"{item.id} {item.text}" for item in findings if item.is_error]
    if errors:
        raise Misconfigured("Refusing to start:\n  " + "\n  ".join(errors))
