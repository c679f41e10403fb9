"""Tables of other packages that authorization reads, locks and versions.

Found by table name: accounts live above this package and tenants beside it, so
importing their models would turn the layers round.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ..core.db import Base


@cache
def model(table: str) -> Any:
    """Return the mapped class of a table. Raises LookupError where nothing maps it."""
    for mapper in Base.registry.mappers:
        if getattr(mapper.local_table, "name", None) == table:
            return mapper.class_
    raise LookupError(table)


def account() -> Any:
    """Return the model of `iam_user_account`."""
    return model("iam_user_account")


def organization() -> Any:
    """Return the model of `iam_organization`."""
    return model("iam_organization")


def tenant() -> Any:
    """Return the model of `iam_tenant`."""
    return model("iam_tenant")
