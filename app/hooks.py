"""Hooks: the few decisions a host may change. Subclass, override, pass to `IAM(hooks=…)`.

Called inside our transaction; raising a typed error refuses the act. To be told
afterwards, listen to `signals` instead.
"""

from __future__ import annotations

from typing import Any


class Hooks:
    """Every method may be overridden; the defaults change nothing."""

    def before_user_created(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values (column name to value) to create an account with; raise to refuse."""
        return values

    def may_sign_in(self, user: Any) -> None:
        """Raise a typed error to refuse a sign-in that is otherwise complete."""

    may_sign_in.__iam_default__ = True  # type: ignore[attr-defined]  # see core.runtime.is_changed
