"""Tables of other packages that authorization reads, locks and versions.

Found by table name: accounts live above this package and tenants beside it, so
importing their models would turn the layers round.
"""

from __future__ import annotations

from typing import Any

from ..core.db import model


def account() -> Any:
    """Return the model of `iam_user_account`."""
    return model("iam_user_account")


def organization() -> Any:
    """Return the model of `iam_organization`."""
    return model("iam_organization")


def tenant() -> Any:
    """Return the model of `iam_tenant`."""
    return model("iam_tenant")
