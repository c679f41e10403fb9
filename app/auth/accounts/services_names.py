"""Names of accounts by id, for pages that show who did something."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select

from ...core.db import session
from ..models import IAMUserAccount


def names_of(user_ids: Iterable[UUID | None]) -> dict[UUID, str]:
    """Return the name to show for each id that is an account of this tenant; one query."""
    wanted = {user_id for user_id in user_ids if user_id}
    if not wanted:
        return {}
    found = session().scalars(select(IAMUserAccount).where(IAMUserAccount.id.in_(wanted)))
    return {account.id: account.label for account in found}
