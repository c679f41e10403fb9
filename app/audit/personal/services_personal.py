"""What an event tells of people, put out of clear sight before the row is made (M6).

Where somebody acted from goes under the actor's key, what is told of a person under the
subject's. Without an actor or a subject it stays in clear: nobody's key would erase it.
"""

from __future__ import annotations

import hmac
from ipaddress import IPv6Address, ip_address
from typing import Any
from uuid import UUID

from ...core.crypto import derive
from ...core.db import session
from ...core.ids import new_id
from ..events import Event
from .ciphers import ORIGIN, PERSONAL, seal
from .keys import writing_key
from .models_reading import keys_of

CHANGES = "changes"
ACCOUNT = "user_account"
STRANGER = "anonymous"
_INDEX = "audit address"
_INDEX_BYTES = 16


def protect(event: Event, values: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of an event with what tells of people encrypted.

    `values` are those of `IAMAuthLog` by attribute. Raises ValueError for too much to keep.
    """
    found, tenant_id = dict(values), values["tenant_id"]
    if values["resource_type"] == ACCOUNT and values["subject_id"]:
        # Made with the account: later, many first events at once would wait for one another.
        writing_key(tenant_id, tenant_id)
        if not _by_stranger(values):
            writing_key(values["subject_id"], tenant_id)
    if values["ip_clear"]:
        found["ip_index"] = _index(writing_key(tenant_id, tenant_id), values["ip_clear"])
    if values["actor_id"] and (values["ip_clear"] or values["user_agent_clear"]):
        told = {"ip": values["ip_clear"], "user_agent": values["user_agent_clear"]}
        found |= {"ip_clear": None, "user_agent_clear": None}
        found["origin_sealed"] = _sealed(values, values["actor_id"], ORIGIN, told)
    if values["subject_id"]:
        found |= _of_subject(event, values)
    elif _by_stranger(values) and not event.personal.isdisjoint(values["details_clear"]):
        keys_of(session(), [new_id()])  # what it takes where the name is somebody's (AT-011)
    return found


def address_index(tenant_id: UUID, ip: str) -> bytes | None:
    """Return what an address is found by in a tenant; None where no event has one yet.

    The key is the tenant's own: it outlives the installation's keys, and tells nobody that
    one address was seen in two tenants.
    """
    key = keys_of(session(), [tenant_id]).get(tenant_id)
    return _index(key, ip) if isinstance(key, bytes) else None


def _of_subject(event: Event, values: dict[str, Any]) -> dict[str, Any]:
    details = values["details_clear"]
    personal = {name: details[name] for name in event.personal if name in details}
    # What changed in an account is its owner's; elsewhere the catalogue says so.
    told = CHANGES in event.personal or values["resource_type"] == ACCOUNT
    changes = values["changes_clear"] if told else {}
    if not personal and not changes:
        return {}
    told_of = {CHANGES: changes, "details": personal}
    return {
        "changes_clear": {} if changes else values["changes_clear"],
        "details_clear": {name: details[name] for name in details if name not in personal},
        "personal_sealed": _sealed(values, values["subject_id"], PERSONAL, told_of),
    }


def _sealed(values: dict[str, Any], person: UUID, field: str, told: dict[str, Any]) -> bytes:
    key = writing_key(person, values["tenant_id"], asked_by_stranger=_by_stranger(values))
    return seal(key, values["tenant_id"], values["id"], field, told)


def _by_stranger(values: dict[str, Any]) -> bool:
    return values["actor_id"] is None and values["actor_type"] == STRANGER


def _index(key: bytes, ip: str) -> bytes:
    digest = hmac.digest(derive(key, _INDEX), _canonical(ip).encode(), "sha256")
    return digest[:_INDEX_BYTES]


def _canonical(ip: str) -> str:
    try:
        address = ip_address(ip)
    except ValueError:
        return ip
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
