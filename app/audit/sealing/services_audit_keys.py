"""The Ed25519 keys that sign a tenant's checkpoints (RFC 8032, C2SP signed-note).

One key signs at a time, made at the first checkpoint. Retired ones stay listed, because what
they signed stays to be checked. The private half never leaves here in clear.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from ...core import clock, rng
from ...core.actor import Actor
from ...core.crypto import keyring
from ...core.db import session
from ...core.ids import new_id
from ...core.scoping import current_tenant_id
from .. import events
from ..services_audit import record
from ..settings import AuditSettings
from ..verifier import origin_of, sign_note, verifier_key
from .models_seal import IAMAuditKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key as people see it: the text that verifiers read, and when it signed."""

    vkey: str
    created_at: datetime
    retired_at: datetime | None


def current_key(*, actor: Actor) -> IAMAuditKey:
    """Return the key that signs for the tenant in scope; made where there is none.

    The caller holds the tenant's head: two would make two keys otherwise.
    """
    found = _signing()
    return found if found is not None else _make(actor)


def replace_key(*, actor: Actor) -> tuple[IAMAuditKey | None, IAMAuditKey]:
    """Retire the key of the tenant in scope and make another; return both.

    The caller holds the tenant's head, and has the next checkpoint signed by both.
    """
    before = _signing()
    if before is not None:
        before.retired_at = clock.now()
    return before, _make(actor)


def public_keys() -> list[PublicKey]:
    """Return every key of the tenant in scope, oldest first."""
    found = session().scalars(select(IAMAuditKey).order_by(IAMAuditKey.id))
    return [
        PublicKey(verifier_key(key.name, key.public_key), key.created_at, key.retired_at)
        for key in found
    ]


def vkeys() -> list[str]:
    """Return the verifier keys of the tenant in scope, oldest first."""
    return [key.vkey for key in public_keys()]


def sign(body: str, *keys: IAMAuditKey) -> str:
    """Return `body` as a note signed by each of the keys."""
    notes = [_signed(body, key) for key in keys]
    return notes[0] + "".join(note.rpartition("\n\n")[2] for note in notes[1:])


def _signing() -> IAMAuditKey | None:
    query = select(IAMAuditKey).where(IAMAuditKey.retired_at.is_(None))
    return session().scalars(query.order_by(IAMAuditKey.id.desc()).limit(1)).one_or_none()


def _make(actor: Actor) -> IAMAuditKey:
    tenant_id = current_tenant_id()
    private = Ed25519PrivateKey.from_private_bytes(rng.random_bytes(32))
    key = IAMAuditKey(
        id=new_id(),
        tenant_id=tenant_id,
        name=origin_of(AuditSettings.current().AUDIT_ORIGIN, tenant_id),
        public_key=private.public_key().public_bytes_raw(),
        created_at=clock.now(),
    )
    key.private_key = keyring().encrypt(private.private_bytes_raw(), _context(key.id))
    session().add(key)
    session().flush()
    record(events.AUDIT_KEY_CREATED, resource=key, actor=actor, name=key.name)
    return key


def _signed(body: str, key: IAMAuditKey) -> str:
    raw = keyring().decrypt(key.private_key, _context(key.id))
    private = Ed25519PrivateKey.from_private_bytes(raw)
    return sign_note(body, key.name, private.sign, key.public_key)


def _context(key_id: UUID) -> str:
    return f"iam_audit_key:{key_id}"
