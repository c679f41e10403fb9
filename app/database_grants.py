"""Rights of the two MySQL accounts: one owns and migrates, the other runs the application (M2).

Generated from the tables, so that a new table cannot be forgotten. The account that runs may
add to what is append-only and read it, nothing else; it can change no table and no trigger.
"""

from __future__ import annotations

import re

from .audit.append_only import APPEND_ONLY
from .auth.models import IAMUserAccount
from .core.errors import InvalidInput
from .core.migrations import VERSION_TABLE

_ACCOUNT = re.compile(r"[A-Za-z0-9_.-]{1,32}(@[A-Za-z0-9_.:%/-]{1,255})?")
_DATABASE = re.compile(r"[A-Za-z0-9_$-]{1,64}")
READ, ADD, USE = "SELECT", "SELECT, INSERT", "SELECT, INSERT, UPDATE, DELETE"


def grants(database: str, account: str) -> list[str]:
    """Return the statements that let `account` (`name` or `name@host`) run the application.

    Raises InvalidInput for a name that could end a statement.
    """
    if not _ACCOUNT.fullmatch(account) or not _DATABASE.fullmatch(database):
        raise InvalidInput("a name of letters, digits, '_', '-' and '.'; as account name@host")
    name, _, host = account.partition("@")
    to = f"'{name}'@'{host or '%'}'"
    tables = [table.name for table in IAMUserAccount.metadata.sorted_tables]
    rights = {table: ADD if table in APPEND_ONLY else USE for table in tables}
    return [
        f"GRANT {right} ON `{database}`.`{table}` TO {to};"
        for table, right in sorted({**rights, VERSION_TABLE: READ}.items())
    ]
