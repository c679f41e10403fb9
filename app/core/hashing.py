"""Password hashing: argon2id, and bcrypt hashes of older systems until they are replaced.

Owns normalisation (NFC, here and only here), the pepper, the dummy run that makes
an unknown account cost what a known one costs, and the gate that bounds parallel
hashes and with them memory. Refuses to own policy (`auth/passwords/password_rules.py`) and
storage. Follows RFC 9106 and the OWASP Password Storage Cheat Sheet.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import math
import os
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock
from typing import Final, NamedTuple, TypeVar
from weakref import WeakSet

import bcrypt
from argon2.exceptions import HashingError, VerificationError, VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret
from flask import current_app

from . import clock, rng
from .errors import InvalidInput, Misconfigured, Unavailable
from .i18n import N_
from .settings import EXTENSION

UNUSABLE: Final = "!"
"""Stored where an account has no password; like anything unknown it never verifies."""

MAX_CODE_POINTS: Final = 128
MAX_BYTES: Final = 1024
FLOORS: Final = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))
"""OWASP's equally strong argon2id rows: KiB of memory and passes, one lane each."""

_SALT_BYTES, _TAG_BYTES = 16, 32
_ARGON2ID = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,7}),t=([0-9]{1,3}),p=([0-9]{1,2})"
    r"\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{16,86})"
)
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}")
_PEPPERED = re.compile(r"pep\.([0-9a-f]{8})(\$.*)", re.DOTALL)
_BCRYPT_BYTES = 72
# A stored string decides what its own check costs; beyond these it is not checked at all.
_MAX_STORED_MEMORY_KIB, _MAX_STORED_PASSES = 1024 * 1024, 64
_OUT_OF_RESOURCES = {"Memory allocation error", "Threading failure"}
_log = logging.getLogger("iam.hashing")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verification:
    """The answer to one check; `needs_rehash` is only ever set together with `ok`."""

    ok: bool
    needs_rehash: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """One set of argon2id parameters and what a hash took here, in milliseconds."""

    memory_kib: int
    time_cost: int
    parallelism: int
    milliseconds: float


class _Parameters(NamedTuple):
    memory_kib: int
    time_cost: int
    parallelism: int
    salt_bytes: int = _SALT_BYTES
    tag_bytes: int = _TAG_BYTES


def current() -> PasswordHasher:
    """Return the hasher of the current app."""
    hasher: PasswordHasher = current_app.extensions[EXTENSION].hasher
    return hasher


def normalise(password: str) -> str:
    """Return `password` in NFC; case, spaces and everything else stay (NIST 3.1.1.2).

    Raises InvalidInput over 1024 UTF-8 bytes, before any other work (AT-023), and
    for lone surrogates, which have no UTF-8 form (AT-019).
    """
    # A code point is at least one byte, so the length is a free first bound.
    if len(password) > MAX_BYTES or len(_utf8(password)) > MAX_BYTES:
        raise _too_long()
    return unicodedata.normalize("NFC", password)


def meets_floor(*, time_cost: int, memory_kib: int) -> bool:
    """Return whether argon2id parameters equal or exceed a row of the OWASP table."""
    return any(memory_kib >= m and time_cost >= t for m, t in FLOORS)


class PasswordHasher:
    """Hashes and verifies passwords; one per process, shared by all its threads.

    `max_parallel` 0 means one per usable CPU; `pepper` is a secret or several, newest first.
    """

    def __init__(
        self,
        *,
        time_cost: int = 2,
        memory_kib: int = 19456,
        parallelism: int = 1,
        max_parallel: int = 0,
        max_queue: int = 200,
        queue_timeout_seconds: float = 10.0,
        pepper: str | Sequence[str] | None = None,
    ) -> None:
        if time_cost < 1 or parallelism < 1 or memory_kib < 8 * parallelism:
            raise Misconfigured("argon2id needs t >= 1, p >= 1 and m >= 8 * p KiB (RFC 9106)")
        self._wanted = _Parameters(memory_kib, time_cost, parallelism)
        peppers = [pepper] if isinstance(pepper, str) else list(pepper or ())
        self._peppers = {_key_id(key): key.encode() for key in peppers if key}
        self._newest = next(iter(self._peppers), "")
        self._dummy = _dummy_hash(self._wanted)
        self._gate = Gate(max_parallel or usable_cpus(), max_queue, queue_timeout_seconds)

    def hash(self, password: str) -> str:
        """Return the string to store for `password`.

        Raises InvalidInput for an empty or oversized password, Unavailable
        (`hashing.busy`) where the queue is full or too slow.
        """
        secret = _secret(password)
        if not secret:
            raise InvalidInput(
                N_("Please enter a password"), code="password.empty", field="password"
            )
        keyed = self._keyed(self._newest, secret)
        encoded = self._gate.run(1, lambda: _hash(keyed, self._wanted))
        return f"pep.{self._newest}{encoded}" if self._newest else encoded

    def verify(self, stored: str | None, password: str) -> Verification:
        """Return whether `password` matches `stored`, and whether to store it anew.

        Nothing stored, a marker, an unknown format or pepper all cost one argon2id
        run of the configured parameters (AT-012, AT-013); an empty password never
        matches (AT-021). A hash of other parameters costs what it costs until the
        next login replaces it. Raises InvalidInput and Unavailable as `hash` does.
        """
        secret = _secret(password)
        key_id, body = _split(stored)
        answer = self._checked(key_id, body, secret)
        if answer is not None:
            return answer
        keyed = self._keyed(self._newest, secret)
        self._gate.run(1, lambda: _matches(self._dummy, keyed))
        return Verification(ok=False)

    def _checked(self, key_id: str, body: str, secret: bytes) -> Verification | None:
        """Return None where nothing was computed, so that the dummy has to run."""
        ok: bool | None = None
        outdated = True
        if key_id and key_id not in self._peppers:
            _log.warning("a stored password names a pepper that is not configured")
        elif secret and (found := _parameters(body)):
            keyed = self._keyed(key_id, secret)
            ok = self._gate.run(self._weight(found), lambda: _matches(body, keyed))
            outdated = found != self._wanted or key_id != self._newest
        elif secret and not key_id and _BCRYPT.fullmatch(body):
            ok = self._gate.run(1, lambda: _bcrypt_matches(body, secret))
        return None if ok is None else Verification(ok=ok, needs_rehash=ok and outdated)

    def _keyed(self, key_id: str, secret: bytes) -> bytes:
        # Base64, so that no NUL byte can cut the value short; keyed, so that a leaked
        # plain digest cannot be tried against it ("shucking", AT-026).
        if not key_id:
            return secret
        return base64.b64encode(hmac.digest(self._peppers[key_id], secret, "sha256"))

    def _weight(self, found: _Parameters) -> int:
        # A stored hash may want more memory than today's setting: it then takes several
        # slots, so that cap x m still bounds the process.
        return math.ceil(found.memory_kib / self._wanted.memory_kib)


class Gate:
    """Slots for parallel hashes behind a bounded queue, first come, first served.

    The work runs on as many threads of its own: glibc keeps freed blocks for each
    thread that made one, so hashing on request threads would hold threads x m.
    """

    def __init__(self, slots: int, max_queue: int, timeout_seconds: float) -> None:
        self.slots = slots
        self._max_queue = max_queue
        self._timeout = timeout_seconds
        self.reset()
        _gates.add(self)

    def reset(self) -> None:
        """Forget who is inside and waiting; a forked child inherits none of the threads."""
        self._mutex = Lock()
        self._workers = ThreadPoolExecutor(self.slots, "iam-hash")
        self._free = self.slots
        self._queue: deque[_Ticket] = deque()

    def run(self, weight: int, work: Callable[[], T]) -> T:
        """Run `work` in `weight` slots. Raises Unavailable (`hashing.busy`)."""
        taken = min(weight, self.slots)
        self._enter(taken)
        try:
            return self._workers.submit(work).result()
        finally:
            with self._mutex:
                self._free += taken
                self._admit()

    def waiting(self) -> int:
        """Return how many callers wait (for metrics)."""
        return len(self._queue)

    def _enter(self, weight: int) -> None:
        with self._mutex:
            if not self._queue and weight <= self._free:
                self._free -= weight
                return
            if len(self._queue) >= self._max_queue:
                raise self._busy()
            ticket = _Ticket(weight, Event())
            self._queue.append(ticket)
        admitted = False
        try:
            admitted = ticket.admitted.wait(self._timeout)
        finally:
            if not admitted:
                self._withdraw(ticket)
        if not admitted:
            raise self._busy()

    def _admit(self) -> None:
        # Strictly in order: a light request never overtakes a heavy one, which would starve.
        while self._queue and self._queue[0].weight <= self._free:
            ticket = self._queue.popleft()
            self._free -= ticket.weight
            ticket.admitted.set()

    def _withdraw(self, ticket: _Ticket) -> None:
        with self._mutex:
            if ticket.admitted.is_set():
                self._free += ticket.weight
            else:
                self._queue.remove(ticket)
            self._admit()

    def _busy(self) -> Unavailable:
        return Unavailable(code="hashing.busy", retry_after=math.ceil(self._timeout))


class _Ticket(NamedTuple):
    weight: int
    admitted: Event


def calibrate(target_ms: float, *, parallelism: int = 1) -> list[Proposal]:
    """Return parameters, each at or above the OWASP floor, that take up to `target_ms`.

    Measured on this machine, one hash at a time, most memory last. Where even the
    floor is slower than the target, its rows are returned with their real times.
    """
    ladder = [*reversed(FLOORS), (65536, 1), (131072, 1), (262144, 1)]
    rows = [_fit(target_ms, _Parameters(m, t, parallelism)) for m, t in ladder]
    fitting = [row for row in rows if row.milliseconds <= target_ms]
    return fitting or rows[: len(FLOORS)]


def usable_cpus() -> int:
    """Return the number of CPUs this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _fit(target_ms: float, lowest: _Parameters) -> Proposal:
    found, taken = lowest, _measure(lowest)
    passes = int(target_ms / (taken / lowest.time_cost))
    while passes > lowest.time_cost:
        candidate = lowest._replace(time_cost=passes)
        spent = _measure(candidate)
        if spent <= target_ms:
            found, taken = candidate, spent
            break
        passes = min(passes - 1, int(passes * target_ms / spent))
    return Proposal(found.memory_kib, found.time_cost, found.parallelism, round(taken, 1))


def _measure(parameters: _Parameters) -> float:
    times = []
    for _ in range(3):
        start = clock.monotonic()
        _hash(b"calibration", parameters)
        times.append((clock.monotonic() - start) * 1000)
    return sorted(times)[1]


def _hash(secret: bytes, wanted: _Parameters) -> str:
    memory_kib, time_cost, lanes, salt_bytes, tag_bytes = wanted
    salt = rng.random_bytes(salt_bytes)
    try:
        encoded = hash_secret(secret, salt, time_cost, memory_kib, lanes, tag_bytes, Type.ID)
    except HashingError as error:
        raise Unavailable(code="hashing.failed") from error
    return encoded.decode()


def _matches(encoded: str, secret: bytes) -> bool | None:
    """Return None where `encoded` cannot be read, so that the caller runs the dummy."""
    try:
        return verify_secret(encoded.encode(), secret, Type.ID)
    except VerifyMismatchError:
        return False
    except VerificationError as error:
        if str(error) in _OUT_OF_RESOURCES:
            raise Unavailable(code="hashing.failed") from error
        return None


def _bcrypt_matches(encoded: str, secret: bytes) -> bool | None:
    # bcrypt looks at 72 bytes and, in many libraries, stops at NUL: longer secrets would
    # share a hash with others (AT-025, AT-026, CVE-2025-22228), so they never match.
    if len(secret) > _BCRYPT_BYTES or b"\0" in secret:
        return None
    try:
        return bcrypt.checkpw(secret, encoded.encode())
    except ValueError:
        return None


def _split(stored: str | None) -> tuple[str, str]:
    marked = _PEPPERED.fullmatch(stored or "")
    return (marked[1], marked[2]) if marked else ("", stored or "")


def _parameters(encoded: str) -> _Parameters | None:
    match = _ARGON2ID.fullmatch(encoded)
    if match is None:
        return None
    memory, passes, lanes = int(match[1]), int(match[2]), int(match[3])
    if memory > _MAX_STORED_MEMORY_KIB or passes > _MAX_STORED_PASSES:
        return None
    return _Parameters(memory, passes, lanes, len(match[4]) * 3 // 4, len(match[5]) * 3 // 4)


def _dummy_hash(wanted: _Parameters) -> str:
    # Random salt and tag: a full run that matches nothing, made without running one.
    sizes = (wanted.salt_bytes, wanted.tag_bytes)
    salt, tag = (base64.b64encode(rng.random_bytes(n)).decode().rstrip("=") for n in sizes)
    costs = f"m={wanted.memory_kib},t={wanted.time_cost},p={wanted.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${tag}"


def _key_id(pepper: str) -> str:
    return hashlib.sha256(b"iam pepper id\0" + pepper.encode()).hexdigest()[:8]


def _secret(password: str) -> bytes:
    text = normalise(password)
    if len(text) > MAX_CODE_POINTS:
        raise _too_long()
    return text.encode()


def _utf8(password: str) -> bytes:
    try:
        return password.encode()
    except UnicodeEncodeError:
        raise InvalidInput(code="password.characters", field="password") from None


def _too_long() -> InvalidInput:
    return InvalidInput(N_("That password is too long"), code="password.too_long", field="password")


_gates: WeakSet[Gate] = WeakSet()


def _reset_gates() -> None:
    for gate in _gates:
        gate.reset()


if hasattr(os, "register_at_fork"):  # a pre-forking server may fork while a thread hashes
    os.register_at_fork(after_in_child=_reset_gates)
