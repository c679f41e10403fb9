"""The sealed audit trail: its bytes, and every check of them. One file that also runs alone.

Owns the canonical encoding of an event, the chain, the Merkle tree (RFC 9162) and the signed
notes (C2SP signed-note and tlog-checkpoint). Needs nothing but the standard library and
`cryptography`, so that whoever checks a trail need not trust the program that wrote it:
`python verifier.py trail.ndjson --key "name+id+key"`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import os
import sqlite3
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# ---------------------------------------------------------------- the encoding of an event

ENCODING = b"iam-audit-event/1\n"
KINDS: dict[str, str] = {
    "id": "U", "tenant_id": "U", "action": "S", "severity": "S", "status": "S",
    "actor_type": "S", "actor_id": "U", "on_behalf_of_id": "U", "resource_type": "S",
    "resource_id": "U", "subject_id": "U", "changes": "J", "ip": "S", "user_agent": "S",
    "request_id": "S", "session_hash": "S", "error": "S", "metadata": "J", "ip_index": "B",
    "origin_sealed": "B", "personal_sealed": "B", "encoding_version": "I",
    "occurred_at": "T", "recorded_at": "T",
}  # fmt: skip
"""Each column that is sealed, in the order of the encoding, with the type of its content:
U id, S text, J JSON, B bytes, I integer, T time. Another order is another version."""
FIELDS = tuple(KINDS)
_sha256 = hashlib.sha256
_NULL = b"N" + bytes(8)
_HEAD = len(_NULL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_canonical = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
).encode


def encode(event: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes (version 1) of one row of the trail, by column name.

    Ids are UUIDs, times aware datetimes, JSON parsed values.
    Raises ValueError or TypeError for a value that has no canonical form.
    """
    return pack(
        [
            _NULL if (value := event[field]) is None else part_of(kind, _CONTENTS[kind](value))
            for field, kind in KINDS.items()
        ]
    )


def pack(parts: Sequence[bytes]) -> bytes:
    """Return the encoding over the part of each field in order."""
    return ENCODING + b"".join(parts)


def part_of(kind: str, content: bytes) -> bytes:
    """Return what stands in the encoding for a field that is not null."""
    return _HEADS[kind][len(content)] + content


class _Heads(dict[int, bytes]):
    """Type byte and length of one kind of field; those of short contents are made once."""

    def __init__(self, kind: str) -> None:
        self._kind = kind.encode()
        super().__init__((length, self.__missing__(length)) for length in range(256))

    def __missing__(self, length: int) -> bytes:
        return self._kind + length.to_bytes(8, "big")


_HEADS = {kind: _Heads(kind) for kind in "USJBIT"}


def canonical_json(value: Any) -> bytes:
    """Return `value` as canonical JSON. Raises ValueError for a float (engines round them)."""
    if not value and value == {}:
        return b"{}"
    _refuse_floats(value)
    return _canonical(value).encode()


def microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970 UTC. Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone has no canonical form")
    return (moment - _EPOCH) // _MICROSECOND


def _octets(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("bytes expected")
    return bytes(value)


def _integer(value: Any) -> bytes:
    return int(value).to_bytes(8, "big", signed=True)


_CONTENTS: dict[str, Callable[[Any], bytes]] = {
    "U": lambda value: value.bytes,
    "S": lambda value: value.encode(),
    "B": _octets,
    "J": canonical_json,
    "I": _integer,
    "T": lambda value: _integer(microseconds(value)),
}


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise ValueError("a float has no canonical form")  # noqa: TRY004
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key of JSON is text")
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)


# ---------------------------------------------------------------- the chain


def first_link(tenant_id: UUID) -> bytes:
    """Return what the first event of a tenant is linked to: nothing of another tenant fits."""
    return hashlib.sha256(b"iam-audit-chain/1\n" + tenant_id.bytes).digest()


def next_link(previous: bytes, seq: int, leaf: bytes) -> bytes:
    """Return the link of the event with number `seq` and hash `leaf` after `previous`."""
    return _sha256(b"iam-audit-link/1\n" + previous + seq.to_bytes(8, "big") + leaf).digest()


# ---------------------------------------------------------------- the tree (RFC 9162, 2.1)

EMPTY_ROOT = hashlib.sha256(b"").digest()
Subtree = Callable[[int, int], bytes]
"""`(level, position)` to the hash of that complete subtree of 2**level leaves."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf over the encoding of its event."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return _sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: the perfect subtrees of its size, largest first."""

    __slots__ = ("hashes", "size")

    def __init__(self, hashes: Sequence[bytes] = (), size: int = 0) -> None:
        if size < 0 or len(hashes) != size.bit_count():
            raise ValueError("the frontier does not fit the size")
        self.hashes = list(hashes)
        self.size = size

    @classmethod
    def from_bytes(cls, data: bytes, size: int) -> Frontier:
        """Return the frontier that `to_bytes` wrote. Raises ValueError where it cannot be."""
        if len(data) % 32:
            raise ValueError("a frontier is a row of 32-byte hashes")
        return cls([data[at : at + 32] for at in range(0, len(data), 32)], size)

    def to_bytes(self) -> bytes:
        """Return the hashes one after another, largest subtree first."""
        return b"".join(self.hashes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf's hash at the right."""
        merges, self.size = self.size, self.size + 1
        while merges & 1:
            leaf = node_hash(self.hashes.pop(), leaf)
            merges >>= 1
        self.hashes.append(leaf)

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


def range_root(start: int, size: int, subtree: Subtree) -> bytes:
    """Return the root over `size` leaves from `start`, which lies where a subtree may begin."""
    if size < 1:
        return EMPTY_ROOT
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return subtree(level, start >> level)
    left = _split(size)
    return node_hash(
        range_root(start, left, subtree), range_root(start + left, size - left, subtree)
    )


def inclusion_path(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of `size` (RFC 9162, 2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError("the leaf is not in the tree")
    path, start = [], 0
    while size > 1:
        left = _split(size)
        if index - start < left:
            path.append(range_root(start + left, size - left, subtree))
            size = left
        else:
            path.append(range_root(start, left, subtree))
            start, size = start + left, size - left
    return path[::-1]


def inclusion_root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that the proof leads to (RFC 9162, 2.1.3.2).

    Raises ValueError where the proof cannot belong to this place in this size.
    """
    if not 0 <= index < size:
        raise ValueError("the leaf is not in the tree")
    node, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ValueError("the proof is too long")
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ValueError("the proof is too short")
    return root


def consistency_path(old_size: int, new_size: int, subtree: Subtree) -> list[bytes]:
    """Return the proof that the older tree begins the newer one (RFC 9162, 2.1.4.1)."""
    if not 0 <= old_size <= new_size:
        raise ValueError("a tree only grows")
    if old_size in (0, new_size):
        return []
    path, start, size, old, whole = [], 0, new_size, old_size, True
    while old != size:
        left = _split(size)
        if old <= left:
            path.append(range_root(start + left, size - left, subtree))
            size = left
        else:
            path.append(range_root(start, left, subtree))
            start, size, old, whole = start + left, size - left, old - left, False
    if not whole:
        path.append(range_root(start, size, subtree))
    return path[::-1]


def consistency_holds(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Return whether the proof shows that the older tree begins the newer (RFC 9162, 2.1.4.2)."""
    if not 0 <= old_size <= new_size:
        return False
    if old_size == new_size:
        return not path and old_root == new_root
    if old_size == 0:
        return not path and old_root == EMPTY_ROOT
    hashes = list(path)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        return False
    return _consistent(old_size - 1, new_size - 1, hashes) == (old_root, new_root)


def _consistent(node: int, last: int, path: list[bytes]) -> tuple[bytes, bytes] | None:
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return (old, new) if last == 0 else None


def _split(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


# ---------------------------------------------------------------- signed notes (C2SP)

_DASH = "\u2014 "
_ED25519 = b"\x01"
_MOST_DIGITS = 19
PRUNE_HEADER = "iam-audit-prune/1"


class NoteError(ValueError):
    """A note, or a key for notes, that is malformed or not signed by whom it should be."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint states: the length, root and last link of one trail at a time."""

    origin: str
    size: int
    root: bytes
    chain: bytes
    time: datetime


@dataclass(frozen=True)
class Prune:
    """What a prune statement states: which events were deleted, up to which link, and why."""

    origin: str
    from_seq: int
    until_seq: int
    chain: bytes
    days: int
    time: datetime


def origin_of(prefix: str, tenant_id: UUID) -> str:
    """Return the origin of a tenant's trail, which is the name of its keys too."""
    return f"{prefix}/{tenant_id}"


def key_id(name: str, public: bytes) -> bytes:
    """Return the four bytes by which a signature names its key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def verifier_key(name: str, public: bytes) -> str:
    """Return the text of a public key as tools for notes read it."""
    _check_name(name)
    return f"{name}+{key_id(name, public).hex()}+{_b64(_ED25519 + public)}"


def read_verifier_key(text: str) -> tuple[str, bytes]:
    """Return name and public key of `text`. Raises NoteError."""
    name, _, rest = text.strip().partition("+")
    identity, _, encoded = rest.partition("+")
    data = _unb64(encoded)
    if len(data) != 33 or data[:1] != _ED25519:
        raise NoteError("not the verifier key of an Ed25519 signer")
    _check_name(name)
    if key_id(name, data[1:]).hex() != identity:
        raise NoteError("the verifier key does not fit its own id")
    return name, data[1:]


def stored_key(name: str, public: bytes) -> str | None:
    """Return the verifier key of a stored row; None where its name or its bytes make none."""
    try:
        text = verifier_key(name, public)
        read_verifier_key(text)
    except _UNUSABLE:
        return None
    return text


def _keys_for(tenant_id: UUID, vkeys: Iterable[str]) -> list[str]:
    """Return those of the keys that are of one tenant's trail. Raises NoteError."""
    return [key for key in vkeys if _tenant_of(read_verifier_key(key)[0]) == tenant_id]


def read_keys(text: str) -> list[str]:
    """Return the verifier keys of a file, one in a line, comments after "#" left out."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def checkpoint_body(origin: str, size: int, root: bytes, chain: bytes, time: datetime) -> str:
    """Return the text of a checkpoint, ready to be signed."""
    _check_name(origin)
    lines = [origin, str(size), _b64(root), f"chain {_b64(chain)}", f"time {stamp(time)}"]
    return "\n".join(lines) + "\n"


def read_checkpoint(note: str) -> Checkpoint:
    """Return what a checkpoint states, its signatures unchecked. Raises NoteError."""
    lines = split_note(note)[0].split("\n")
    if len(lines) != 6:
        raise NoteError("a checkpoint of this trail has five lines")
    origin, size, root, chain, time, _ = lines
    return Checkpoint(
        origin, _number(size), _digest(root), _digest(_tagged(chain, "chain")),
        read_stamp(_tagged(time, "time")),
    )  # fmt: skip


def prune_body(
    origin: str, from_seq: int, until_seq: int, chain: bytes, days: int, time: datetime
) -> str:
    """Return the text of a prune statement; `chain` is the link of event `until_seq - 1`."""
    _check_name(origin)
    lines = [PRUNE_HEADER, origin, str(from_seq), str(until_seq)]
    lines += [f"chain {_b64(chain)}", f"days {days}", f"time {stamp(time)}"]
    return "\n".join(lines) + "\n"


def read_prune(note: str) -> Prune:
    """Return what a prune statement states, its signatures unchecked. Raises NoteError."""
    lines = split_note(note)[0].split("\n")
    if len(lines) != 8 or lines[0] != PRUNE_HEADER:
        raise NoteError("not a prune statement")
    _, origin, start, until, chain, days, time, _ = lines
    return Prune(
        origin, _number(start), _number(until), _digest(_tagged(chain, "chain")),
        _number(_tagged(days, "days")), read_stamp(_tagged(time, "time")),
    )  # fmt: skip


def sign_note(body: str, name: str, sign: Callable[[bytes], bytes], public: bytes) -> str:
    """Return `body` as a note signed under `name`. Raises NoteError for a text that cannot be."""
    _check_name(name)
    if not body.endswith("\n") or "\n\n" in body:
        raise NoteError("the text of a note is whole lines, none of them empty")
    signature = key_id(name, public) + sign(body.encode())
    return f"{body}\n{_DASH}{name} {_b64(signature)}\n"


def check_note(note: str, vkeys: Iterable[str]) -> str:
    """Return the body of a note that one of the keys signed; signatures of others are ignored.

    Raises NoteError where none did, or where one of the keys is named and does not fit.
    """
    body, signatures = split_note(note)
    known = {(name, key_id(name, public)): public for name, public in map(read_verifier_key, vkeys)}
    trusted = False
    for name, signature in signatures:
        public = known.get((name, signature[:4]))
        if public is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature[4:], body.encode())
        except InvalidSignature:
            raise NoteError(f"the signature of {name} does not fit") from None
        trusted = True
    if not trusted:
        raise NoteError("no trusted key signed this note")
    return body


def split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return text and signatures of a note; a bare text has none. Raises NoteError."""
    if any(ord(letter) < 32 and letter != "\n" for letter in note) or not note.endswith("\n"):
        raise NoteError("not a note")
    if "\n\n" not in note:
        return note, []
    body, _, block = note.rpartition("\n\n")
    return body + "\n", [_signature(line) for line in block.split("\n")[:-1]]


def stamp(moment: datetime) -> str:
    """Return a time as notes carry it: RFC 3339, UTC, microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_stamp(text: str) -> datetime:
    """Return the time of a stamp. Raises NoteError."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        raise NoteError("not a time") from None


def _signature(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    signature = _unb64(encoded)
    if not line.startswith(_DASH) or len(signature) < 5:
        raise NoteError("a malformed signature line")
    _check_name(name)
    return name, signature


def _check_name(name: str) -> None:
    if not name or "+" in name or any(letter.isspace() or ord(letter) < 32 for letter in name):
        raise NoteError("a name has neither spaces nor plus signs")


def _number(text: str) -> int:
    if len(text) > _MOST_DIGITS or not (text.isascii() and text.isdecimal()):
        raise NoteError("not a number")
    if str(int(text)) != text:
        raise NoteError("not a number")
    return int(text)


def _tagged(line: str, tag: str) -> str:
    name, _, value = line.partition(" ")
    if name != tag:
        raise NoteError(f"a line of {tag} is missing")
    return value


def _digest(text: str) -> bytes:
    digest = _unb64(text)
    if len(digest) != 32:
        raise NoteError("not a SHA-256 hash")
    return digest


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise NoteError("not base 64") from None
    # Only one spelling of the same bytes: spare bits must be zero.
    if _b64(data) != text:
        raise NoteError("not base 64")
    return data


def read_notes(text: str) -> list[str]:
    """Return the notes of an anchor: notes with empty lines between, and lines of `{"note": …}`.

    A part that no signature follows, such as a note that was cut off, is passed over.
    """
    notes, plain = [], []
    for line in text.split("\n"):
        note = _note_in(line)
        plain.append(line if note is None else "")
        if note is not None:
            notes.append(note)
    parts = [part.strip("\n") for part in "\n".join(plain).split("\n\n") if part.strip("\n")]
    notes += [
        f"{body}\n\n{signed}\n"
        for body, signed in pairwise(parts)
        if signed.startswith(_DASH) and not body.startswith(_DASH)
    ]
    return notes


def _note_in(line: str) -> str | None:
    start = line.find('{"note":')
    if start < 0:
        return None
    try:
        return str(json.JSONDecoder().raw_decode(line, start)[0]["note"])
    except ValueError:
        return None


# ---------------------------------------------------------------- what is read

Column = tuple[Any, ...]
Parts = Sequence[bytes]
"""What stands in the encoding for each field of an event, in the order of `FIELDS`."""
UNREADABLE: Parts = ()
"""Stands for a row whose values have no canonical form: no event was ever sealed like that."""


class SourceError(Exception):
    """What should be verified cannot be read as a whole."""


class Sealed(NamedTuple):
    """One seal with the event it is for; `parts` is None where the event is gone."""

    seq: int
    id: bytes
    leaf: bytes
    chain: bytes
    parts: Parts | None


class StoredCheckpoint(NamedTuple):
    """A checkpoint as it is stored: the note, and what the row says of it."""

    size: int
    root: bytes
    chain: bytes
    note: str


class StoredPrune(NamedTuple):
    """A prune statement as it is stored: the note, and what the row says of it."""

    from_seq: int
    until_seq: int
    note: str


class Unsealed(NamedTuple):
    """An event without a seal, and when it says it was recorded."""

    id: bytes
    recorded_at: int


@dataclass(frozen=True)
class Trail:
    """Everything stored of one tenant's trail. Its parts are read once, in this order."""

    tenant_id: UUID
    head: int | None
    vkeys: Sequence[str]
    prunes: Iterable[StoredPrune]
    checkpoints: Iterable[StoredCheckpoint]
    sealed: Iterable[Sealed]
    unsealed: Iterable[Unsealed]


class Source(Protocol):
    """Where trails are read from."""

    def tenants(self) -> list[UUID]:
        """Return the tenants that left any trace."""

    def trails(self, wanted: Sequence[UUID] = ()) -> Iterator[Trail]:
        """Yield each trail; all of them unless some are named."""


_PAGE = 300
_COLUMNS = ", ".join(f"e.{field}" for field in FIELDS)
_SEALED = (
    f"SELECT s.seq, s.id, s.leaf, s.chain, {_COLUMNS} FROM iam_audit_seal s "  # noqa: S608
    "LEFT JOIN iam_auth_log e ON e.id = s.id "
    "WHERE s.tenant_id = ? AND s.seq > ? AND s.seq <= ? ORDER BY s.seq"
)
_NEXT_SEQ = "SELECT MIN(seq) FROM iam_audit_seal WHERE tenant_id = ? AND seq > ? AND seq <= ?"
_LAST_SEQ = (1 << 63) - 1
# Only a seal that the walk meets is one: its own tenant's, with a number.
_UNSEALED = (
    "SELECT e.id, e.recorded_at FROM iam_auth_log e LEFT JOIN iam_audit_seal s "  # noqa: S608
    f"ON s.id = e.id AND s.tenant_id = e.tenant_id AND s.seq BETWEEN 0 AND {_LAST_SEQ} "
    f"WHERE e.tenant_id = ? AND s.id IS NULL %sORDER BY e.id LIMIT {_PAGE}"
)
_UNSEALED_FIRST, _UNSEALED_NEXT = _UNSEALED % "", _UNSEALED % "AND e.id > ? "
_CHECKPOINTS = (
    "SELECT id, size, root, chain, note FROM iam_audit_checkpoint "  # noqa: S608 - a constant
    f"WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT {_PAGE}"
)
_KEYS = "SELECT name, public_key FROM iam_audit_key WHERE tenant_id = ?"
_PRUNES = (
    "SELECT from_seq, until_seq, note FROM iam_audit_prune WHERE tenant_id = ? ORDER BY until_seq"
)
_TENANT_TABLES = (
    "iam_auth_log", "iam_audit_seal", "iam_audit_checkpoint", "iam_audit_prune",
    "iam_audit_head", "iam_audit_key",
)  # fmt: skip
Run = Callable[[str, tuple[Any, ...]], Iterable[Sequence[Any]]]


class SqlSource:
    """Reads the tables themselves, by a function that runs one SELECT with `?` for parameters."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def tenants(self) -> list[UUID]:
        """Return the tenants with a row in any table of the trail."""
        found = {
            _raw(row[0])
            for table in _TENANT_TABLES
            for row in self._run(f"SELECT DISTINCT tenant_id FROM {table}", ())  # noqa: S608
        }
        return [UUID(bytes=item) for item in sorted(found) if len(item) == 16]

    def trails(self, wanted: Sequence[UUID] = ()) -> Iterator[Trail]:
        """Yield each trail, read as it is walked."""
        for tenant_id in wanted or self.tenants():
            given = (tenant_id.bytes,)
            heads = self._run("SELECT size FROM iam_audit_head WHERE tenant_id = ?", given)
            keys = self._run(_KEYS, given)
            yield Trail(
                tenant_id,
                next((_whole(row[0]) for row in heads), None),
                [key for row in keys if (key := stored_key(_text(row[0]), _raw(row[1])))],
                (
                    StoredPrune(_whole(row[0]), _whole(row[1]), _text(row[2]))
                    for row in self._run(_PRUNES, given)
                ),
                self._checkpoints(tenant_id),
                self._sealed(tenant_id),
                self._unsealed(tenant_id),
            )

    def _checkpoints(self, tenant_id: UUID) -> Iterator[StoredCheckpoint]:
        last = b""
        while True:
            rows = list(self._run(_CHECKPOINTS, (tenant_id.bytes, last)))
            for row in rows:
                yield StoredCheckpoint(_whole(row[1]), _raw(row[2]), _raw(row[3]), _text(row[4]))
            if len(rows) < _PAGE:
                return
            last = _raw(rows[-1][0])

    def _sealed(self, tenant_id: UUID) -> Iterator[Sealed]:
        # Ranges of numbers, not numbers of rows: of two seals with one number none is left out.
        last = -1
        while True:
            ((first,),) = self._run(_NEXT_SEQ, (tenant_id.bytes, last, _LAST_SEQ))
            if first is None:
                return
            until = min(int(first) + _PAGE, _LAST_SEQ)
            columns = list(zip(*self._run(_SEALED, (tenant_id.bytes, last, until)), strict=True))
            yield from _seals(columns)
            last = until

    def _unsealed(self, tenant_id: UUID) -> Iterator[Unsealed]:
        rows = list(self._run(_UNSEALED_FIRST, (tenant_id.bytes,)))
        while True:
            for id_, recorded_at in rows:
                yield Unsealed(_raw(id_), _recorded(id_, recorded_at))
            if len(rows) < _PAGE:
                return
            rows = list(self._run(_UNSEALED_NEXT, (tenant_id.bytes, _raw(rows[-1][0]))))


# SQLite keeps anything in any column, and finds no text equal to the same bytes: what is not
# of its column's kind fits nothing, and must not stop the walk either.


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else -1


def _text(value: Any) -> str:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _recorded(id_: Any, value: Any) -> int:
    """Return when an unsealed event says it was recorded; long ago where it says nothing."""
    try:
        return _time(value) if len(_raw(id_)) == 16 else 0
    except _UNUSABLE:
        return 0


def _time(value: Any) -> int:
    """Return microseconds since 1970 of a time as its engine stores it, in no other spelling.

    Another spelling of the same moment sorts elsewhere, and the application may misread it.
    """
    if value.__class__ is datetime:
        return microseconds(value.replace(tzinfo=UTC))
    return _spelled(value, " ")


def _stamped(text: str) -> int:
    """Return microseconds since 1970 of a time as a bundle has it."""
    if text[26:] != "Z":
        raise ValueError("not a time of a bundle")
    return _spelled(text[:26], "T")


def _spelled(text: str, separator: str) -> int:
    fraction = text[20:]
    if len(text) != 26 or text[19] != "." or not (fraction.isascii() and fraction.isdigit()):
        raise ValueError("not a time in our spelling")
    return _second(text[:19], separator) + int(fraction)


@lru_cache(maxsize=4096)
def _second(text: str, separator: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=None)
    if moment.isoformat(separator) != text:
        raise ValueError("not a time in our spelling")
    return microseconds(moment.replace(tzinfo=UTC))


def _hash(value: Any) -> bytes:
    return value if isinstance(value, bytes) and len(value) == 32 else b""


def _no_float(text: str) -> Any:
    raise ValueError(f"{text} has no canonical form")


_parse_json = json.JSONDecoder(parse_float=_no_float, parse_constant=_no_float).decode


def _canonical_text(text: str) -> bytes | None:
    parsed = _parse_json(text)
    return None if parsed is None else _canonical(parsed).encode()


_UNUSABLE = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)
_SHORT, _MOST_KEPT = 200, 4096


class _Texts(dict[Any, bytes]):
    """What stands in the encoding for each text of one kind; short ones met lately are kept."""

    def __init__(self, kind: str, content: Callable[[str], bytes | None]) -> None:
        super().__init__()
        self._kind, self._content = kind, content

    def __missing__(self, text: str | None) -> bytes:
        content = None if text is None else self._content(text)
        part = _NULL if content is None else part_of(self._kind, content)
        if text is None or len(text) <= _SHORT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[text] = part
        return part


def _content_of_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _parts_of_bytes(kind: str, column: Sequence[Any]) -> list[bytes]:
    _expect_only(column, bytes)
    heads = _HEADS[kind]
    return [_NULL if value is None else heads[len(value)] + value for value in column]


def _parts_of_numbers(column: Sequence[Any]) -> list[bytes]:
    _expect_only(column, int)
    return [_NULL if value is None else part_of("I", _integer(value)) for value in column]


def _parts_of_times(column: Sequence[Any]) -> list[bytes]:
    return [_NULL if value is None else part_of("T", _integer(_time(value))) for value in column]


def _expect_only(column: Sequence[Any], kind: type) -> None:
    if not {kind, type(None)}.issuperset(map(type, column)):
        raise TypeError(f"{kind.__name__} expected")


def _parts_by(texts: _Texts) -> Callable[[Sequence[Any]], list[bytes]]:
    return lambda column: list(map(texts.__getitem__, column))


_PARTS: dict[str, Callable[[Sequence[Any]], list[bytes]]] = {
    "U": partial(_parts_of_bytes, "U"),
    "S": _parts_by(_Texts("S", _content_of_text)),
    "J": _parts_by(_Texts("J", _canonical_text)),
    "B": partial(_parts_of_bytes, "B"),
    "I": _parts_of_numbers,
    "T": _parts_of_times,
}
_FROM_BUNDLE: dict[str, Callable[[Any], bytes]] = {
    "U": lambda text: bytes.fromhex(text.replace("-", "")),
    "S": _content_of_text,
    "J": lambda value: _canonical(value).encode(),
    "B": _unb64,
    "I": _integer,
    "T": lambda text: _integer(_stamped(text)),
}


def event_parts(columns: Sequence[Column]) -> list[Parts]:
    """Return the parts of rows, given by column as a driver gives them: text as text, JSON too.

    A column at a time takes half the time. UNREADABLE stands for a row that has none.
    """
    try:
        return list(zip(*_parts_by_column(columns), strict=True))
    except _UNUSABLE:
        half = len(columns[0]) // 2
        if not half:
            return [UNREADABLE]
        first = [column[:half] for column in columns]
        return event_parts(first) + event_parts([column[half:] for column in columns])


def _parts_by_column(columns: Sequence[Column]) -> Iterator[Sequence[bytes]]:
    before: tuple[str, Column] | None = None
    parts: Sequence[bytes] = ()
    for found in zip(KINDS.values(), columns, strict=True):
        if found != before:  # neighbours are often empty both, or the same times
            kind, column = before = found
            parts = _PARTS[kind](column)
        yield parts


def _seals(columns: Sequence[Column]) -> Iterable[Sealed]:
    if not columns:
        return ()
    seq, id_, leaf, chain, *event = columns
    parts: list[Parts | None] = list(event_parts(event))
    if None in event[0]:
        parts = [None if found is None else one for found, one in zip(event[0], parts, strict=True)]
    whole, raw = map(_whole, seq), map(_raw, id_)
    return map(Sealed, whole, raw, map(_hash, leaf), map(_hash, chain), parts)


def _bundle_parts(event: Any) -> Parts | None:
    """Return the parts of an event of a bundle: ids and times as text, bytes in base 64."""
    if event is None:
        return None
    try:
        if event.keys() != KINDS.keys():
            return UNREADABLE
        return [
            _NULL if (value := event[name]) is None else part_of(kind, _FROM_BUNDLE[kind](value))
            for name, kind in KINDS.items()
        ]
    except _UNUSABLE:
        return UNREADABLE


# A view, or a column that is computed, can show the application another past than the check.
_NAMES = ", ".join(f"'{name}'" for name in _TENANT_TABLES)
_TABLES_OF_SQLITE = (
    "SELECT m.name FROM sqlite_master m WHERE m.type = 'table' AND m.rootpage > 0 "  # noqa: S608
    f"AND m.name IN ({_NAMES}) AND NOT EXISTS (SELECT 1 FROM pragma_table_xinfo(m.name) c "
    "WHERE c.hidden <> 0 OR (c.pk > 0) <> (c.name = 'id'))"
)
_TABLES_OF_MYSQL = (
    "SELECT t.table_name FROM information_schema.tables t "  # noqa: S608 - constants
    "WHERE t.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' AND t.engine = 'InnoDB' "
    f"AND t.table_name IN ({_NAMES}) AND NOT EXISTS (SELECT 1 FROM information_schema.columns c "
    "WHERE c.table_schema = t.table_schema AND c.table_name = t.table_name "
    "AND (c.generation_expression <> '' OR (c.column_key = 'PRI') <> (c.column_name = 'id')))"
)


def _expect_tables(found: Iterable[Sequence[Any]]) -> None:
    others = sorted(set(_TENANT_TABLES) - {row[0] for row in found})
    if others:
        raise SourceError(f"not a plain table with its id as the key: {', '.join(others)}")


@contextmanager
def open_sqlite(path: str) -> Iterator[SqlSource]:
    """Open an SQLite file read-only, as it stands at this moment. Raises SourceError."""
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("BEGIN")
            _expect_tables(connection.execute(_TABLES_OF_SQLITE))
            yield SqlSource(partial(_run_sqlite, connection))
    except sqlite3.Error as error:
        raise SourceError(f"the database cannot be read: {error}") from error


def _run_sqlite(
    connection: sqlite3.Connection, sql: str, values: tuple[Any, ...]
) -> Iterable[Sequence[Any]]:
    connection.text_factory = str
    try:
        return connection.execute(sql, values).fetchall()
    except sqlite3.OperationalError:
        # Text that is no UTF-8 is a finding, not an accident. It is told from bytes either way.
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        return connection.execute(sql, values).fetchall()


@contextmanager
def read_mysql(connection: Any) -> Iterator[SqlSource]:
    """Read a MySQL database by an open connection of its own, in one snapshot.

    Raises SourceError, also while it is read.
    """
    broken = connection.Error  # asked for while there is a connection: PEP 249 has it there
    try:
        with closing(connection.cursor()) as cursor:
            # For the next transaction alone: the connection may be one of a pool.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

            def run(sql: str, values: tuple[Any, ...]) -> Iterable[Sequence[Any]]:
                cursor.execute(sql.replace("?", "%s"), values)
                rows: list[Sequence[Any]] = list(cursor.fetchall())
                return rows

            _expect_tables(run(_TABLES_OF_MYSQL, ()))
            yield SqlSource(run)
        connection.rollback()
    except broken as error:
        raise SourceError(f"the database cannot be read: {error}") from error


# ---------------------------------------------------------------- the bundle

BUNDLE = "iam-audit-bundle/1"


def bundle_lines(source: Source, *, made: datetime, wanted: Sequence[UUID] = ()) -> Iterator[str]:
    """Yield the lines of a bundle: all that a check needs, readable, in the order of the check."""
    tenants = source.tenants()
    lines = 1
    yield _line({"format": BUNDLE, "made": stamp(made), "tenants": [str(item) for item in tenants]})
    for trail in source.trails(wanted):
        for line in _trail_lines(trail):
            lines += 1
            yield line
    # Without its last line a file was cut off, which must not pass for a short trail.
    yield _line({"end": lines})


def _trail_lines(trail: Trail) -> Iterator[str]:
    yield _line({"tenant": str(trail.tenant_id), "head": trail.head, "vkeys": list(trail.vkeys)})
    for prune in trail.prunes:
        yield _line({"prune": prune._asdict()})
    for item in trail.checkpoints:
        row = {"size": item.size, "root": _b64(item.root), "chain": _b64(item.chain)}
        yield _line({"checkpoint": {**row, "note": item.note}})
    for seal in trail.sealed:
        head = {"seq": seal.seq, "id": seal.id.hex()}
        hashes = {"leaf": seal.leaf.hex(), "chain": seal.chain.hex()}
        yield _line({**head, **hashes, "event": _event_of(seal.parts)})
    for unsealed in trail.unsealed:
        yield _line({"unsealed": unsealed.id.hex(), "recorded_at": unsealed.recorded_at})


def _event_of(parts: Parts | None) -> dict[str, Any] | bool | None:
    if not parts:
        return None if parts is None else False
    try:
        return {
            name: None if part == _NULL else _TO_BUNDLE[kind](part[_HEAD:])
            for (name, kind), part in zip(KINDS.items(), parts, strict=True)
        }
    except _UNUSABLE:
        return False


def _line(value: Any) -> str:
    return _canonical_lines(value) + "\n"


_canonical_lines = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_TO_BUNDLE: dict[str, Callable[[bytes], Any]] = {
    "U": lambda content: str(UUID(bytes=content)),
    "S": lambda content: content.decode("utf-8", "surrogateescape"),
    "B": _b64,
    "J": json.loads,
    "I": lambda content: int.from_bytes(content, "big", signed=True),
    "T": lambda content: stamp(_EPOCH + int.from_bytes(content, "big", signed=True) * _MICROSECOND),
}


class BundleSource:
    """Reads an exported bundle, line by line, once."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._count = 0
        self._next: dict[str, Any] = {}
        self._advance()
        if self._next.get("format") != BUNDLE:
            raise SourceError("not a bundle of an audit trail")
        self._tenants = [UUID(item) for item in self._next["tenants"]]
        self.made = read_stamp(self._next["made"])
        self._advance()

    def tenants(self) -> list[UUID]:
        """Return the tenants that the bundle's maker saw."""
        return self._tenants

    def trails(self, wanted: Sequence[UUID] = ()) -> Iterator[Trail]:
        """Yield each trail of the bundle. Raises SourceError where it is cut off or damaged."""
        while "end" not in self._next:
            if "tenant" not in self._next:
                raise SourceError(f"line {self._count} stands where a trail should begin")
            tenant_id = UUID(self._next["tenant"])
            head, vkeys = self._next["head"], self._next["vkeys"]
            self._advance()
            trail = Trail(
                tenant_id, head, vkeys, self._prunes(), self._checkpoints(),
                self._sealed(), self._unsealed(),
            )  # fmt: skip
            if not wanted or tenant_id in wanted:
                yield trail
            for part in (trail.prunes, trail.checkpoints, trail.sealed, trail.unsealed):
                deque(part, maxlen=0)
        if self._next["end"] != self._count - 1:
            raise SourceError("lines are missing from the bundle")

    def _advance(self) -> None:
        try:
            self._next = _parse_json(next(self._lines))
        except StopIteration:
            raise SourceError("the bundle is cut off") from None
        except ValueError:
            raise SourceError(f"line {self._count + 1} is not JSON") from None
        if not isinstance(self._next, dict):
            raise SourceError(f"line {self._count + 1} is not an object")
        self._count += 1

    def _prunes(self) -> Iterator[StoredPrune]:
        while "prune" in self._next:
            yield StoredPrune(**self._next["prune"])
            self._advance()

    def _checkpoints(self) -> Iterator[StoredCheckpoint]:
        while "checkpoint" in self._next:
            row = self._next["checkpoint"]
            yield StoredCheckpoint(
                row["size"], _unb64(row["root"]), _unb64(row["chain"]), row["note"]
            )
            self._advance()

    def _sealed(self) -> Iterator[Sealed]:
        while "seq" in self._next:
            row = self._next
            yield Sealed(
                row["seq"], bytes.fromhex(row["id"]), _hash(bytes.fromhex(row["leaf"])),
                _hash(bytes.fromhex(row["chain"])), _bundle_parts(row["event"]),
            )  # fmt: skip
            self._advance()

    def _unsealed(self) -> Iterator[Unsealed]:
        while "unsealed" in self._next:
            yield Unsealed(bytes.fromhex(self._next["unsealed"]), self._next["recorded_at"])
            self._advance()


# ---------------------------------------------------------------- the checks

MINUTES_UNSEALED = timedelta(minutes=10)
_SKEW = 60_000_000
_LATE = 3_600_000_000
_MOST_FINDINGS, _MOST_TORN = 1000, 64
_LAST_TIME = (1 << 63) - 1
_TENANT, _RECORDED = FIELDS.index("tenant_id"), FIELDS.index("recorded_at")
CODES: dict[str, str] = {
    "edited": "an event, or a range of events, is not what was sealed and signed",
    "deleted": "an event is gone, and no prune statement covers it",
    "inserted": "an event stands in the trail that the sealer never accepted",
    "reordered": "events stand in another order than they were sealed in",
    "gap": "a number of the sequence is missing",
    "cut_tail": "the newest events are gone",
    "cut_head": "the oldest events are gone, and no prune statement covers them",
    "fork": "two signed checkpoints contradict each other",
    "moved": "an event was moved to another tenant",
    "checkpoint_replaced": "a checkpoint is not the one that was issued in its place",
    "checkpoint_signature": "a checkpoint is not signed by a trusted key",
    "no_key": "none of the keys to trust is this trail's",
    "clock": "times go backwards",
    "prune_invalid": "a prune statement does not hold",
    "unsealed": "events wait too long for the sealer, or for a checkpoint",
    "stale": "the newest checkpoint is older than asked for",
}


@dataclass(frozen=True)
class Flaw:
    """Something wrong with a trail, and where."""

    code: str
    tenant_id: UUID
    text: str
    seq: int | None = None
    event_id: UUID | None = None

    def __str__(self) -> str:
        """Return one line: code, tenant, place, sentence."""
        place = "" if self.seq is None else f" seq {self.seq}"
        event = "" if self.event_id is None else f" event {self.event_id}"
        return f"{self.code:<20} tenant {self.tenant_id}{place}{event}: {self.text}"


@dataclass
class Report:
    """What a check looked at, and what it found."""

    findings: list[Flaw] = field(default_factory=list)
    tenants: int = 0
    events: int = 0
    pruned: int = 0
    checkpoints: int = 0

    @property
    def intact(self) -> bool:
        """Return whether nothing was found."""
        return not self.findings


class _Mark(NamedTuple):
    size: int
    root: bytes
    chain: bytes
    time: int
    digest: bytes


class _Torn(NamedTuple):
    seq: int
    id: bytes
    before: bytes
    leaf: bytes
    chain: bytes


@dataclass(frozen=True)
class _Asked:
    now: int
    read_at: int
    vkeys: Sequence[str]
    anchors: Mapping[UUID, Sequence[str]]
    fresh_within: int | None
    allowance: int
    tenants: Sequence[UUID]


def verify(
    source: Source,
    *,
    now: datetime,
    vkeys: Sequence[str] = (),
    anchors: Iterable[str] = (),
    fresh_within: timedelta | None = None,
    allowance: timedelta = MINUTES_UNSEALED,
    wanted: Sequence[UUID] = (),
) -> Report:
    """Check every trail of `source` and return what was found.

    `vkeys` are the keys to trust; without any, those that the source itself names, which
    whoever owns the database may have replaced. `anchors` are checkpoints that were kept
    elsewhere. What waited when a bundle was made is judged by that time: it waits there for ever.
    Raises SourceError, and NoteError for a malformed key.
    """
    tenants = source.tenants()
    by_tenant = _by_tenant(anchors)
    read_at = min(now, source.made) if isinstance(source, BundleSource) else now
    asked = _Asked(
        microseconds(now), microseconds(read_at), vkeys, by_tenant,
        None if fresh_within is None else fresh_within // _MICROSECOND,
        allowance // _MICROSECOND, tenants,
    )  # fmt: skip
    report, seen = Report(), set()
    for trail in source.trails(wanted):
        seen.add(trail.tenant_id)
        _Check(trail, asked, report).run()
    named = [_tenant_of(read_verifier_key(text)[0]) for text in vkeys]
    expected = {item for item in [*by_tenant, *named] if item and (not wanted or item in wanted)}
    for tenant_id in sorted(expected - seen):
        _Check(Trail(tenant_id, None, (), (), (), (), ()), asked, report).run()
    return report


def _by_tenant(notes: Iterable[str]) -> dict[UUID, list[str]]:
    found: dict[UUID, list[str]] = {}
    for note in notes:
        tenant_id = _tenant_of(note.partition("\n")[0])
        if tenant_id is None:
            raise NoteError("an anchored note names no tenant")
        found.setdefault(tenant_id, []).append(note)
    return found


def _tenant_of(origin: str) -> UUID | None:
    try:
        return UUID(origin.rpartition("/")[2])
    except ValueError:
        return None


class _Check:
    """The check of one trail: what is signed first, then one walk over all seals."""

    def __init__(self, trail: Trail, asked: _Asked, report: Report) -> None:
        self.trail, self.asked, self.report = trail, asked, report
        self.keys = _keys_for(trail.tenant_id, asked.vkeys)
        self.unknown = bool(asked.vkeys and not self.keys)
        self.keys = self.keys or list(trail.vkeys)
        self.found = 0
        self.marks: list[_Mark] = []
        self.anchors: list[_Mark] = []
        self.issued: set[bytes] = set()
        self.prunes: dict[int, bytes] = {}
        self.pruned_until = 0
        self.frontier, self.link = Frontier(), first_link(trail.tenant_id)
        self.linked = self.whole = True
        self.next_mark = self.next_anchor = self.good = 0
        self.torn: list[_Torn] = []
        self.missing: list[int] = []
        self.rewritten = False
        self.misdated = -1
        self.uncovered: int | None = None
        self.usual = b"", b""
        self.stop: float = 0

    def run(self) -> None:
        """Make all checks, in the order in which a trail can be read."""
        prunes = list(self.trail.prunes)
        before = self.report.checkpoints
        self._read_checkpoints()
        if self.unknown and self.report.checkpoints > before:
            self._report("no_key", "checked by the keys stored beside it: give its own as well")
        self._read_anchors()
        for prune in prunes:
            self._read_prune(prune)
        self._stop_at(0)
        count = 0
        for seal in self.trail.sealed:
            count = self._walk(seal, count)
        self._flush_missing()
        self._explain_torn()
        self._check_tail(count)
        self._check_unsealed()
        self.report.tenants += 1

    def _report(
        self, code: str, text: str, *, seq: int | None = None, event: bytes | None = None
    ) -> None:
        self.found += 1
        if self.found <= _MOST_FINDINGS:
            event_id = UUID(bytes=event) if event and len(event) == 16 else None
            finding = Flaw(code, self.trail.tenant_id, text, seq, event_id)
            self.report.findings.append(finding)

    # -------------------------------------------------------- what is signed

    def _trusted(self, note: str) -> bool:
        origin = note.partition("\n")[0]
        if origin == PRUNE_HEADER:
            origin = note.split("\n", 2)[1]
        try:
            check_note(note, [key for key in self.keys if read_verifier_key(key)[0] == origin])
        except NoteError:
            return False
        return True

    def _mark(self, note: str, what: str, size: int | None) -> _Mark | None:
        try:
            stated = read_checkpoint(note)
        except NoteError as error:
            self._report("checkpoint_signature", f"{what} is malformed: {error}", seq=size)
            return None
        if _tenant_of(stated.origin) != self.trail.tenant_id:
            self._report("checkpoint_replaced", f"{what} is of {stated.origin}", seq=size)
            return None
        if not self._trusted(note):
            self._report("checkpoint_signature", f"{what} is not signed by a trusted key", seq=size)
            return None
        digest = hashlib.sha256(note.encode()).digest()
        return _Mark(stated.size, stated.root, stated.chain, microseconds(stated.time), digest)

    def _read_checkpoints(self) -> None:
        for stored in self.trail.checkpoints:
            self.report.checkpoints += 1
            what = f"the checkpoint of size {stored.size}"
            mark = self._mark(stored.note, what, stored.size)
            if mark is None:
                continue
            if mark.digest in self.issued:
                self._report("checkpoint_replaced", f"{what} stands there twice", seq=mark.size)
                continue
            self.issued.add(mark.digest)
            if (stored.size, stored.root, stored.chain) != mark[:3]:
                self._report(
                    "checkpoint_replaced", f"{what} is not what its row says", seq=mark.size
                )
            self._compare(mark, what)
            self.marks.append(mark)
        self.marks.sort(key=lambda mark: (mark.size, mark.time))

    def _compare(self, mark: _Mark, what: str) -> None:
        if mark.time > self.asked.now + _SKEW:
            self._report("clock", f"{what} is signed in the future", seq=mark.size)
        if not self.marks:
            return
        last = self.marks[-1]
        if mark.time < last.time:
            self._report("clock", f"{what} is signed earlier than the one before", seq=mark.size)
        if mark.size < last.size:
            self._report("fork", f"{what} follows one of size {last.size}", seq=mark.size)
        elif mark.size == last.size and mark[:3] != last[:3]:
            self._report("fork", f"{what} is signed with two different roots", seq=mark.size)

    def _read_anchors(self) -> None:
        for note in self.asked.anchors.get(self.trail.tenant_id, ()):
            mark = self._mark(note, "an anchored checkpoint", None)
            if mark is not None:
                self.anchors.append(mark)
        self.anchors.sort(key=lambda mark: mark.size)

    def _read_prune(self, stored: StoredPrune) -> None:
        def refuse(why: str) -> None:
            self._report("prune_invalid", f"a prune statement {why}", seq=stored.until_seq)

        try:
            stated = read_prune(stored.note)
        except NoteError:
            return refuse("is malformed")
        if _tenant_of(stated.origin) != self.trail.tenant_id or not self._trusted(stored.note):
            return refuse("is not signed by a trusted key for this tenant")
        if (stored.from_seq, stored.until_seq) != (stated.from_seq, stated.until_seq):
            return refuse("is not what its row says")
        if stated.from_seq != self.pruned_until or stated.until_seq <= stated.from_seq:
            return refuse("does not follow the one before")
        before = microseconds(stated.time) - stated.days * 86_400_000_000
        if not any(mark.size >= stated.until_seq and mark.time <= before for mark in self.marks):
            return refuse("covers events that were not signed before the retention began")
        self.pruned_until = stated.until_seq
        self.prunes[stated.until_seq] = stated.chain
        return None

    # -------------------------------------------------------- the walk

    def _walk(self, seal: Sealed, count: int) -> int:
        seq, _id, leaf, chain, parts = seal
        if seq != count:
            if seq < count:
                self._report("inserted", "a number is given twice", seq=seq, event=seal.id)
                return count
            code = "gap" if count else "cut_head"
            self._report(code, f"the seals {count} to {seq - 1} are missing", seq=count)
            self.linked = self.whole = False
        if parts is None:
            self._gone(seq)
        else:
            self.report.events += 1
            if not parts or leaf_hash(pack(parts)) != leaf:
                self._altered(seal)
            elif not self.usual[0] <= parts[_RECORDED] <= self.usual[1]:
                self._check_date(seal, parts)
        fits = not self.linked or next_link(self.link, seq, leaf) == chain
        if not fits and len(self.torn) < _MOST_TORN:
            self.torn.append(_Torn(seq, seal.id, self.link, leaf, chain))
        self.link, self.linked = chain, True
        if self.whole:
            self.frontier.append(leaf)
        if seq + 1 >= self.stop:
            self._stop_at(seq + 1)
        return seq + 1

    def _gone(self, seq: int) -> None:
        self.report.pruned += 1
        if seq < self.pruned_until:
            return
        if self.missing and self.missing[1] == seq - 1:
            self.missing[1] = seq
            return
        self._flush_missing()
        self.missing = [seq, seq]

    def _flush_missing(self) -> None:
        if self.missing:
            first, last = self.missing
            code = "deleted" if first else "cut_head"
            self._report(code, f"the events {first} to {last} are gone", seq=first)
            self.missing = []

    def _check_date(self, seal: Sealed, parts: Parts) -> None:
        recorded = int.from_bytes(parts[_RECORDED][_HEAD:], "big", signed=True)
        marks, at = self.marks, self.next_mark
        if at == len(marks):
            if self.uncovered is None:
                self.uncovered = recorded
                self._note_usual_dates()
        elif recorded > marks[at].time + _SKEW:
            self._misdated(seal, "is dated later than the checkpoint that covers it")
        if at and recorded < marks[at - 1].time - _LATE:
            self._misdated(seal, "is dated long before the checkpoint that precedes it")

    def _misdated(self, seal: Sealed, why: str) -> None:
        if self.misdated != self.next_mark:  # one of a range will do
            self.misdated = self.next_mark
            self._report("clock", f"the event {why}", seq=seal.seq, event=seal.id)

    def _altered(self, seal: Sealed) -> None:
        if seal.parts and self.found < _MOST_FINDINGS:
            parts = list(seal.parts)
            for tenant_id in [self.trail.tenant_id, *self.asked.tenants[:_MOST_FINDINGS]]:
                parts[_TENANT] = part_of("U", tenant_id.bytes)
                if parts != seal.parts and leaf_hash(pack(parts)) == seal.leaf:
                    text = f"the event belongs to tenant {tenant_id}"
                    if tenant_id == self.trail.tenant_id:
                        other = UUID(bytes=seal.parts[_TENANT][_HEAD:] or bytes(16))
                        text = f"the event was moved to tenant {other}"
                    self._report("moved", text, seq=seal.seq, event=seal.id)
                    return
        self._report("edited", "the event is not what was sealed", seq=seal.seq, event=seal.id)

    def _stop_at(self, count: int) -> None:
        """Compare what is signed of this size, and note where to stop next."""
        self._marks_reached(count)
        ahead = [mark.size for mark in self.marks[self.next_mark : self.next_mark + 1]]
        ahead += [mark.size for mark in self.anchors[self.next_anchor : self.next_anchor + 1]]
        ahead += [until for until in self.prunes if until > count]
        self.stop = min(ahead, default=math.inf)
        self._note_usual_dates()

    def _note_usual_dates(self) -> None:
        """Keep, as they stand in the encoding, the dates between which there is nothing to say."""
        marks, at = self.marks, self.next_mark
        first = marks[at - 1].time - _LATE if at else 0
        last = marks[at].time + _SKEW if at < len(marks) else _LAST_TIME
        if last < 0 or (at == len(marks) and self.uncovered is None):
            first, last = 1, 0
        # Of times since 1970 the encoding has the order; those before are looked at.
        self.usual = part_of("T", _integer(max(first, 0))), part_of("T", _integer(last))

    def _marks_reached(self, count: int) -> None:
        reached = self.next_mark
        while self.next_mark < len(self.marks) and self.marks[self.next_mark].size <= count:
            self.next_mark += 1
        # Where one of several of the same size fits, the others were told of as a fork.
        if any(self._fits(mark) for mark in self.marks[reached : self.next_mark]):
            self.good = count
        elif reached < self.next_mark and self.whole and not self.torn and not self.rewritten:
            self.rewritten = True
            text = f"the events {self.good} to {count - 1} are not those that were signed"
            self._report("edited", text, seq=self.good)
        while self.next_anchor < len(self.anchors) and self.anchors[self.next_anchor].size <= count:
            self._check_anchor(self.anchors[self.next_anchor])
            self.next_anchor += 1
        if self.prunes.get(count, self.link) != self.link:
            self._report("prune_invalid", "a prune statement names another link", seq=count)

    def _fits(self, mark: _Mark) -> bool:
        return mark.chain == self.link and (not self.whole or mark.root == self.frontier.root())

    def _check_anchor(self, mark: _Mark) -> None:
        if self.rewritten or self.torn:
            return
        what = f"the anchored checkpoint of size {mark.size}"
        if not self._fits(mark):
            self._report("fork", f"{what} contradicts the trail", seq=mark.size)
        elif mark.digest not in self.issued:
            self._report("checkpoint_replaced", f"{what} is not stored any more", seq=mark.size)

    # -------------------------------------------------------- at the end

    def _explain_torn(self) -> None:
        """Tell a changed order from a changed seal, and both from a mere neighbour of them."""
        rows = self.torn
        chains = {row.chain for row in rows}
        for row in rows:
            befores = {row.before, *chains}
            if any(next_link(before, row.seq, row.leaf) == row.chain for before in befores):
                continue
            others = [other.leaf for other in rows if other.leaf != row.leaf]
            fits = any(
                next_link(before, row.seq, leaf) in chains for before in befores for leaf in others
            )
            code = "reordered" if fits else "edited"
            why = "stands in another's place" if fits else "has a seal that was changed"
            self._report(code, f"the event {why}", seq=row.seq, event=row.id)

    def _check_tail(self, count: int) -> None:
        marks = [*self.marks[-1:], *self.anchors[-1:]]
        size = max([mark.size for mark in marks] + [self.trail.head or 0])
        if size > count:
            self._report("cut_tail", f"{size} events were sealed, {count} are there", seq=count)
        newest = max((mark.time for mark in self.marks), default=None)
        asked = self.asked
        if newest is None and (asked.vkeys or asked.anchors) and not count:
            self._report("stale", "there is no checkpoint at all")
        elif asked.fresh_within is not None and (newest or 0) < asked.now - asked.fresh_within:
            self._report("stale", "the newest checkpoint is older than asked for", seq=count)
        elif asked.fresh_within is not None and self.anchors:
            anchored = max(mark.time for mark in self.anchors)
            if anchored < asked.now - asked.fresh_within:
                self._report("stale", "nothing was anchored for longer than asked for", seq=count)

    def _check_unsealed(self) -> None:
        limit = self.asked.read_at - self.asked.allowance
        if self.uncovered is not None and self.uncovered < limit:
            size = self.marks[-1].size if self.marks else 0
            self._report("unsealed", f"no checkpoint covers the events from {size} on", seq=size)
        newest = max((mark.time for mark in self.marks), default=0)
        for event in self.trail.unsealed:
            if self.asked.read_at + _SKEW >= event.recorded_at >= limit:
                continue
            if event.recorded_at > limit or newest > event.recorded_at + self.asked.allowance:
                text = "the sealer went past this event: it is not the application's"
                self._report("inserted", text, event=event.id)
            else:
                self._report("unsealed", "the event has waited for the sealer", event=event.id)


# ---------------------------------------------------------------- single proofs

PROOF = "iam-audit-proof/1"


def check_proof(proof: Mapping[str, Any], *, vkeys: Sequence[str] = ()) -> Checkpoint:
    """Return the checkpoint that a downloaded proof shows its event to be part of.

    `vkeys` are the keys to trust; without any, those that the proof brings along.
    Raises NoteError where proof or signature does not hold.
    """
    if proof.get("format") != PROOF or "checkpoint" not in proof:
        raise NoteError("not a proof, or one of an event that no checkpoint covers yet")
    keys = vkeys or proof["keys"]
    stated = _signed_checkpoint(proof["checkpoint"], keys)
    path = [_digest(item) for item in proof["inclusion"]]
    root = inclusion_root(_digest(proof["leaf"]), int(proof["index"]), stated.size, path)
    if root != stated.root:
        raise NoteError("the event is not part of what was signed")
    if "consistency" in proof:
        check_growth(proof["consistency"], vkeys=keys)
    return stated


def check_growth(proof: Mapping[str, Any], *, vkeys: Sequence[str]) -> None:
    """Check that the newer of two checkpoints begins with the older. Raises NoteError."""
    old, new = (_signed_checkpoint(proof[f"{age}_checkpoint"], vkeys) for age in ("old", "new"))
    path = [_digest(item) for item in proof["path"]]
    if not consistency_holds(old.size, old.root, new.size, new.root, path):
        raise NoteError("the newer checkpoint does not begin with the older")


def _signed_checkpoint(note: str, vkeys: Iterable[str]) -> Checkpoint:
    """Return what a checkpoint states that a key of its origin signed. Raises NoteError."""
    stated = read_checkpoint(note)
    check_note(note, [key for key in vkeys if read_verifier_key(key)[0] == stated.origin])
    return stated


# ---------------------------------------------------------------- the command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify a bundle, an SQLite file or a MySQL database; return 0 intact, 1 found, 2 unread."""
    parser = argparse.ArgumentParser(description="Verify a sealed audit trail.")
    parser.add_argument(
        "source", help="bundle, SQLite file, mysql://user@host:port/database, or a proof"
    )
    parser.add_argument("--key", action="append", default=[], help="verifier key to trust")
    parser.add_argument("--keys", help="file of verifier keys, one in a line")
    parser.add_argument("--anchor", action="append", default=[], help="file of kept checkpoints")
    parser.add_argument("--tenant", action="append", default=[], type=UUID)
    parser.add_argument("--fresh-within", type=duration, help="such as 90m, 2h or 1d")
    asked = parser.parse_args(arguments)
    try:
        keys = asked.key + (read_keys(_file(asked.keys)) if asked.keys else [])
        if (proof := _proof(asked.source)) is not None:
            found = check_proof(proof, vkeys=keys)
            # The event's id is not bound to the leaf: only what is shown may be said.
            leaf = _digest(proof["leaf"]).hex()
            sys.stdout.write(
                f"proven: number {int(proof['index'])} with the leaf {leaf} "
                f"is one of {found.size}\n"
            )
            return 0
        anchors = [note for path in asked.anchor for note in read_notes(_file(path))]
        with open_source(asked.source) as source:
            report = verify(
                source, now=datetime.now(UTC), vkeys=keys, anchors=anchors,
                fresh_within=asked.fresh_within, wanted=asked.tenant,
            )  # fmt: skip
    except (SourceError, OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"not verified: {type(error).__name__}: {error}\n")
        return 2
    for line in summary(report, trusted=bool(keys)):
        sys.stdout.write(line + "\n")
    return 0 if report.intact else 1


def summary(report: Report, *, trusted: bool) -> Iterator[str]:
    """Yield the lines of a report for people."""
    yield from map(str, report.findings)
    if not trusted:
        yield "note: no key given; those of the source were used, which its owner can replace"
    counts = ((report.events, "event"), (report.checkpoints, "checkpoint"))
    seen = ", ".join(_counted(*item) for item in (*counts, (report.tenants, "tenant")))
    verdict = "intact" if report.intact else _counted(len(report.findings), "finding")
    yield f"{verdict}: {seen}" + (f", {report.pruned} pruned" if report.pruned else "")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@contextmanager
def open_source(name: str) -> Iterator[Source]:
    """Open what `name` means. Raises SourceError, OSError."""
    if name.startswith("mysql:"):
        with closing(_mysql(name)) as connection, read_mysql(connection) as found:
            yield found
        return
    with Path(name).open("rb") as file:
        is_database = file.read(16) == b"SQLite format 3\x00"
    if is_database:
        with open_sqlite(str(Path(name).resolve())) as found:
            yield found
        return
    with Path(name).open(encoding="utf-8", errors="surrogateescape") as lines:
        yield BundleSource(lines)


def duration(text: str) -> timedelta:
    """Return the time meant by `90m`, `2h` or `1d`. Raises ValueError."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if not text[:-1].isdecimal() or text[-1] not in units:
        raise ValueError("a time is a number and one of s, m, h, d")
    return timedelta(**{units[text[-1]]: int(text[:-1])})


def _file(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _proof(name: str) -> dict[str, Any] | None:
    if name.startswith("mysql:") or Path(name).stat().st_size > 1 << 20:
        return None
    try:
        found = json.loads(_file(name))
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("format") == PROOF else None


def _mysql(name: str) -> Any:
    try:
        import pymysql  # noqa: PLC0415 - only whoever reads MySQL needs it
    except ImportError:
        raise SourceError("reading MySQL needs pymysql; export a bundle instead") from None
    url = urlsplit(name)
    try:
        return pymysql.connect(
            host=url.hostname or "localhost", port=url.port or 3306, database=url.path.strip("/"),
            user=unquote(url.username or ""), charset="utf8mb4",
            password=unquote(url.password or os.environ.get("MYSQL_PWD", "")),
        )  # fmt: skip
    except pymysql.MySQLError as error:
        raise SourceError(f"the database cannot be read: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
