"""One row in every table of a tenant, made from the columns alone.

A new table is filled without anybody remembering it: values follow from types, keys from
foreign keys. What a page must be able to read is said in `FITTING`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app.core import clock, rng
from app.core.crypto import keyring
from app.core.db import Base, engine
from app.core.ids import new_id
from app.core.types import GUID, UTCDateTime

_numbers = itertools.count(1)


def _secret(table: str) -> Callable[[UUID], str]:
    return lambda row_id: keyring().encrypt(b"JBSWY3DPEHPK3PXP", f"{table}:{row_id}")


# What must be more than some value of its type for a page to show the row.
FITTING: dict[tuple[str, str], Any] = {
    ("iam_user_account", "status"): "active",
    ("iam_user_account", "actor_type"): "end_user",
    ("iam_auth_session", "state"): "active",
    ("iam_auth_session", "stage"): "done",
    ("iam_auth_session", "acr"): "aal1",
    ("iam_auth_session", "idle_seconds"): 1800,
    ("iam_mfa_method", "method"): "totp",
    ("iam_mfa_method", "secret"): _secret("iam_mfa_method"),
    ("iam_mfa_method", "confirmed_at"): lambda _id: clock.now(),
    ("iam_role", "is_system"): False,
    ("iam_user_role", "scope"): "tenant",
    ("iam_role_permission", "scope"): "own",
    ("iam_sso_connection", "provider"): "github",
    ("iam_sso_connection", "jit"): "off",
    ("iam_sso_connection", "client_id"): "client",
    ("iam_recovery_request", "status"): "approval",
    ("iam_organization", "type"): "partner",
    ("iam_organization", "status"): "active",
    ("iam_auth_log", "action"): "LOGOUT",
    ("iam_auth_log", "severity"): "info",
    ("iam_auth_log", "status"): "success",
    ("iam_auth_log", "actor_type"): "user",
    ("iam_outbox", "status"): "sent",
    ("iam_device", "status"): "active",
}
_LISTS = {"amr", "scopes", "transports", "ceiling"}
LEFT_OUT = {
    "iam_tenant": "it is the tenant itself",
    "iam_subject_key": "made by the first event that tells of a person",
    "iam_audit_head": "the sealer's own row, one in a tenant",
}


def populate(tenant_id: UUID, *, user_id: UUID | None = None) -> dict[str, UUID]:
    """Put one row into every table of a tenant; return its id by table.

    `user_id` is the account that the rows belong to, where it is there already.
    """
    tables = [table for table in Base.metadata.sorted_tables if table.name not in LEFT_OUT]
    made = {table.name: new_id() for table in tables} | {"iam_tenant": tenant_id}
    if user_id is not None:
        made["iam_user_account"] = user_id
    with engine().begin() as connection:
        for table in tables:
            if user_id is None or table.name != "iam_user_account":
                connection.execute(table.insert().values(_row(table, tenant_id, made)))
    return made


def _row(table: sa.Table, tenant_id: UUID, made: dict[str, UUID]) -> dict[str, Any]:
    row_id = made[table.name]
    keys = _foreign(table, made)
    values = {
        column.name: _value(table, column, row_id, keys)
        for column in table.columns
        if column.name not in {"id", "tenant_id"}
    }
    return {**values, "id": row_id, "tenant_id": tenant_id}


def _foreign(table: sa.Table, made: dict[str, UUID]) -> dict[str, UUID]:
    found = {}
    for constraint in table.foreign_key_constraints:
        target = constraint.referred_table.name
        for element in constraint.elements:
            if element.column.name == "id" and target in made and target != table.name:
                found[element.parent.name] = made[target]
    # References without a key of their own, where rows outlive what they name.
    for name in ("user_id", "subject_id", "actor_id"):
        if name in table.c and name not in found:
            found[name] = made["iam_user_account"]
    return {name: value for name, value in found.items() if name != "tenant_id"}


def _value(table: sa.Table, column: sa.Column[Any], row_id: UUID, keys: dict[str, UUID]) -> Any:
    if column.name in keys:
        return keys[column.name]
    fitting = FITTING.get((table.name, column.name), _value)
    if fitting is not _value:
        return fitting(row_id) if callable(fitting) else fitting
    if column.nullable:
        return None
    return _of_type(column)


def _of_type(column: sa.Column[Any]) -> Any:
    kind = column.type
    if isinstance(kind, GUID):
        return new_id()
    if isinstance(kind, UTCDateTime):
        ahead = timedelta(days=1) if column.name in {"expires_at", "ends_at"} else timedelta()
        return clock.now() + ahead
    if isinstance(kind, sa.JSON):
        return [] if column.name in _LISTS else {}
    if isinstance(kind, sa.Boolean):
        return False
    if isinstance(kind, sa.Integer):
        return next(_numbers)
    if isinstance(kind, sa.String):
        return f"x{next(_numbers)}"[: kind.length or 100]
    return rng.token().encode()[:32]
