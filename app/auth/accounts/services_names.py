"""Names of accounts by id, for pages that show who did something."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select

from ...core.db import session
from ..models import IAMUserAccount
from .services_reach import EVERYBODY, Reach


def names_of(user_ids: Iterable[UUID | None], reach: Reach = EVERYBODY) -> dict[UUID, str]:
    """Return the name to show for each id that is an account within reach; one query."""
    wanted = {user_id for user_id in user_ids if user_id}
    if not wanted:
        return {}
    query = select(IAMUserAccount).where(IAMUserAccount.id.in_(wanted), *reach.accounts())
    found = session().scalars(query)
    return {account.id: account.label for account in found}
