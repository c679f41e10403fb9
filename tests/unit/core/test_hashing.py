"""Password hashing: formats, pepper, dummy runs and the gate that bounds memory."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import statistics
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import argon2
import bcrypt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidInput, Misconfigured, Unavailable
from app.core.hashing import (
    FLOORS,
    UNUSABLE,
    Gate,
    PasswordHasher,
    Verification,
    calibrate,
    meets_floor,
    normalise,
)

PASSWORD = "correct horse battery staple"
TINY: dict[str, Any] = {"time_cost": 1, "memory_kib": 8, "parallelism": 1}
REFUSED = Verification(ok=False, needs_rehash=False)
passwords = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
quick = settings(max_examples=60, deadline=None, database=None)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def hasher() -> PasswordHasher:
    return PasswordHasher(**TINY)


def test_c2_default_parameters_are_the_owasp_floor_with_16_byte_salt_and_32_byte_tag() -> None:
    stored = PasswordHasher().hash(PASSWORD)
    found = argon2.extract_parameters(stored)
    assert (found.memory_cost, found.time_cost, found.parallelism) == (19456, 2, 1)
    assert (found.salt_len, found.hash_len, found.type) == (16, 32, argon2.Type.ID)
    assert argon2.PasswordHasher().verify(stored, PASSWORD)


def test_c2_a_password_verifies_and_another_does_not(hasher: PasswordHasher) -> None:
    stored = hasher.hash(PASSWORD)
    assert hasher.verify(stored, PASSWORD) == Verification(ok=True, needs_rehash=False)
    assert hasher.verify(stored, PASSWORD + "x") == REFUSED


@quick
@given(passwords)
def test_c2_property_every_password_verifies_against_its_hash(password: str) -> None:
    hasher = PasswordHasher(**TINY)
    assert hasher.verify(hasher.hash(password), password).ok


@quick
@given(passwords, passwords)
def test_c2_property_no_other_password_verifies(password: str, other: str) -> None:
    assume(normalise(password) != normalise(other))
    hasher = PasswordHasher(**TINY, pepper="a pepper")
    assert hasher.verify(hasher.hash(password), other) == REFUSED


@quick
@given(passwords)
def test_at_027_property_nfc_and_nfd_are_one_password(password: str) -> None:
    hasher = PasswordHasher(**TINY)
    stored = hasher.hash(unicodedata.normalize("NFD", password))
    assert hasher.verify(stored, unicodedata.normalize("NFC", password)).ok


@pytest.mark.parametrize(
    "other", [f" {PASSWORD}", f"{PASSWORD} ", PASSWORD.upper(), "\uff43orrect"]
)
def test_at_027_case_spaces_and_compatibility_forms_are_significant(
    hasher: PasswordHasher, other: str
) -> None:
    assert not hasher.verify(hasher.hash(PASSWORD), other).ok
    assert hasher.verify(hasher.hash(other), other).ok


@pytest.mark.parametrize(
    "changed", [{"time_cost": 2}, {"memory_kib": 16}, {"parallelism": 2, "memory_kib": 16}]
)
def test_c2_raised_parameters_ask_for_a_rehash(
    hasher: PasswordHasher, changed: dict[str, int]
) -> None:
    newer = PasswordHasher(**{**TINY, **changed})
    assert newer.verify(hasher.hash(PASSWORD), PASSWORD) == Verification(True, True)
    assert newer.verify(hasher.hash(PASSWORD), "wrong") == REFUSED


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_c2_bcrypt_verifies_once_and_asks_for_a_rehash(hasher: PasswordHasher, prefix: str) -> None:
    stored = prefix + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()[4:]
    assert hasher.verify(stored, PASSWORD) == Verification(True, True)
    assert hasher.verify(stored, "wrong") == REFUSED


def test_at_025_bcrypt_refuses_what_it_would_cut_at_72_bytes(hasher: PasswordHasher) -> None:
    exact = "é" * 36
    stored = bcrypt.hashpw(exact.encode(), bcrypt.gensalt(4)).decode()
    assert hasher.verify(stored, exact).ok
    assert hasher.verify(stored, exact + "x") == REFUSED
    assert hasher.verify(stored, exact + "y") == REFUSED


def test_at_025_argon2id_uses_every_byte(hasher: PasswordHasher) -> None:
    long = "p" * 127
    assert hasher.verify(hasher.hash(long + "x"), long + "y") == REFUSED


def test_at_026_nothing_stops_at_a_nul_byte() -> None:
    for pepper in (None, "a pepper"):
        hasher = PasswordHasher(**TINY, pepper=pepper)
        assert not hasher.verify(hasher.hash("abc\0def"), "abc\0xyz").ok
    stored = bcrypt.hashpw(b"abc", bcrypt.gensalt(4)).decode()
    assert PasswordHasher(**TINY).verify(stored, "abc\0def") == REFUSED


def test_at_026_the_pepper_is_base64_of_hmac_not_a_raw_pre_hash() -> None:
    stored = PasswordHasher(**TINY, pepper="a pepper").hash("caf\u0065\u0301")
    encoded = stored.partition("$")[1] + stored.partition("$")[2]
    keyed = hmac.new(b"a pepper", "café".encode(), hashlib.sha256).digest()
    assert argon2.PasswordHasher().verify(encoded, base64.b64encode(keyed))
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(encoded, hashlib.sha256("café".encode()).digest())


def test_at_472_peppers_rotate_and_name_their_key() -> None:
    plain = PasswordHasher(**TINY)
    old = PasswordHasher(**TINY, pepper="old pepper")
    both = PasswordHasher(**TINY, pepper=["new pepper", "old pepper"])
    assert both.verify(plain.hash(PASSWORD), PASSWORD) == Verification(True, True)
    assert both.verify(old.hash(PASSWORD), PASSWORD) == Verification(True, True)
    assert both.verify(both.hash(PASSWORD), PASSWORD) == Verification(True, False)
    assert both.hash(PASSWORD).startswith("pep.")
    assert len(both.hash(PASSWORD)) < 128


def test_at_472_a_hash_under_a_lost_pepper_never_verifies(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stored = PasswordHasher(**TINY, pepper="old pepper").hash(PASSWORD)
    for pepper in (None, "new pepper"):
        assert PasswordHasher(**TINY, pepper=pepper).verify(stored, PASSWORD) == REFUSED
    assert "pepper that is not configured" in caplog.text
    assert stored not in caplog.text


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        UNUSABLE,
        PASSWORD,
        "md5$" + hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest(),
        "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHR4e$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$argon2id$v=19$m=8,t=999,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
        "$2b$31$" + "." * 53,
        "$2x$04$" + "." * 53,
        "pep.00000000$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
    ],
)
def test_at_013_what_cannot_verify_is_refused_without_an_error(
    hasher: PasswordHasher, stored: str | None
) -> None:
    assert hasher.verify(stored, PASSWORD) == REFUSED


@pytest.mark.parametrize("stored", [None, UNUSABLE, "garbage", "pep.00000000$argon2id$"])
def test_at_012_a_missing_hash_costs_what_a_wrong_password_costs(stored: str | None) -> None:
    hasher = PasswordHasher(time_cost=2, memory_kib=4096)
    real = hasher.hash(PASSWORD)

    def cost(target: str | None) -> float:
        # Processor time, so that other work on the machine does not count.
        start = time.process_time()
        for _ in range(12):
            hasher.verify(target, "wrong")
        return time.process_time() - start

    ratios = [cost(stored) / cost(real) for _ in range(5)]
    assert 0.75 < statistics.median(ratios) < 1.33


def test_at_021_an_empty_password_never_matches_and_is_never_hashed(
    hasher: PasswordHasher,
) -> None:
    empty = argon2.PasswordHasher(1, 8, 1, 32, 16).hash("")
    for stored in (None, "", UNUSABLE, empty):
        assert hasher.verify(stored, "") == REFUSED
    with pytest.raises(InvalidInput) as refused:
        hasher.hash("")
    assert refused.value.code == "password.empty"


@pytest.mark.parametrize("password", ["x" * 129, "é" * 129, "x" * 10_000_000, "\U0001f511" * 257])
def test_at_023_an_oversized_password_is_refused_before_any_work(
    hasher: PasswordHasher, password: str
) -> None:
    stored = hasher.hash(PASSWORD)
    start = time.perf_counter()
    for attempt in (lambda: hasher.hash(password), lambda: hasher.verify(stored, password)):
        with pytest.raises(InvalidInput) as refused:
            attempt()
        assert (refused.value.code, refused.value.field) == ("password.too_long", "password")
    assert time.perf_counter() - start < 0.05


def test_v6_2_9_128_four_byte_characters_are_accepted(hasher: PasswordHasher) -> None:
    password = "\U0001f511" * 128
    assert hasher.verify(hasher.hash(password), password).ok


def test_at_019_a_lone_surrogate_is_a_typed_refusal(hasher: PasswordHasher) -> None:
    for attempt in (lambda: hasher.hash("a\ud800"), lambda: hasher.verify(None, "a\ud800")):
        with pytest.raises(InvalidInput) as refused:
            attempt()
        assert refused.value.code == "password.characters"


def test_c2_parameters_that_argon2_cannot_run_stop_the_start() -> None:
    with pytest.raises(Misconfigured):
        PasswordHasher(time_cost=1, memory_kib=8, parallelism=2)


@pytest.mark.parametrize(
    ("memory_kib", "time_cost", "enough"),
    [
        (47104, 1, True),
        (19456, 2, True),
        (12288, 3, True),
        (9216, 4, True),
        (7168, 5, True),
        (65536, 3, True),
        (19455, 2, False),
        (19456, 1, False),
        (7167, 100, False),
    ],
)
def test_c2_the_floor_is_the_owasp_table(memory_kib: int, time_cost: int, enough: bool) -> None:
    assert meets_floor(memory_kib=memory_kib, time_cost=time_cost) is enough


def test_a8_calibration_proposes_parameters_that_meet_the_floor_within_the_target() -> None:
    proposals = calibrate(150)
    assert proposals
    for row in proposals:
        assert meets_floor(time_cost=row.time_cost, memory_kib=row.memory_kib)
        assert 0 < row.milliseconds <= 150


def test_a8_calibration_shows_the_floor_where_the_target_cannot_be_met() -> None:
    rows = calibrate(0.001)
    assert {(row.memory_kib, row.time_cost) for row in rows} == set(FLOORS)
    assert all(row.milliseconds > 0.001 for row in rows)


class Occupied:
    """A gate whose slots are held by real threads until `release` is called."""

    def __init__(self, gate: Gate) -> None:
        self._done = threading.Event()
        inside = threading.Barrier(gate.slots + 1)
        self.threads = [
            threading.Thread(target=gate.run, args=(1, lambda: (inside.wait(), self._done.wait())))
            for _ in range(gate.slots)
        ]
        for thread in self.threads:
            thread.start()
        inside.wait(5)

    def release(self) -> None:
        self._done.set()
        for thread in self.threads:
            thread.join(5)


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.perf_counter() + seconds
    while not condition() and time.perf_counter() < end:
        time.sleep(0.001)
    assert condition()


def test_c2_beyond_the_queue_callers_get_503_with_retry_after() -> None:
    gate = Gate(2, 3, 30)
    held = Occupied(gate)
    with ThreadPoolExecutor(3) as pool:
        queued = [pool.submit(gate.run, 1, lambda: "done") for _ in range(3)]
        wait_until(lambda: gate.waiting() == 3)
        with pytest.raises(Unavailable) as refused:
            gate.run(1, lambda: "never")
        held.release()
        assert [item.result(5) for item in queued] == ["done"] * 3
    assert (refused.value.code, refused.value.retry_after) == ("hashing.busy", 30)
    assert refused.value.status == 503


def test_c2_a_caller_that_waited_too_long_gets_503_and_leaves_no_trace() -> None:
    gate = Gate(1, 3, 0.05)
    held = Occupied(gate)
    with pytest.raises(Unavailable) as refused:
        gate.run(1, lambda: "never")
    assert refused.value.code == "hashing.busy"
    assert gate.waiting() == 0
    held.release()
    assert gate.run(1, lambda: "free again") == "free again"


def test_c2_the_queue_is_first_come_first_served() -> None:
    gate = Gate(1, 50, 30)
    held = Occupied(gate)
    order: list[int] = []
    threads = []
    for number in range(20):
        thread = threading.Thread(target=gate.run, args=(1, partial(order.append, number)))
        thread.start()
        threads.append(thread)
        wait_until(lambda: gate.waiting() == len(threads))
    held.release()
    for thread in threads:
        thread.join(5)
    assert order == list(range(20))


def test_c2_a_failure_inside_gives_the_slot_back() -> None:
    gate = Gate(1, 0, 1)
    with pytest.raises(ZeroDivisionError):
        gate.run(1, lambda: 1 // 0)
    assert gate.run(1, lambda: "free") == "free"


def test_c2_never_more_than_the_cap_run_at_once_under_a_storm() -> None:
    gate = Gate(3, 1000, 30)
    lock = threading.Lock()
    load = {"now": 0, "peak": 0}

    def work(weight: int) -> None:
        with lock:
            load["now"] += weight
            load["peak"] = max(load["peak"], load["now"])
        time.sleep(0.001)
        with lock:
            load["now"] -= weight

    with ThreadPoolExecutor(32) as pool:
        weights = [1 + number % 3 for number in range(300)]
        list(pool.map(lambda weight: gate.run(weight, lambda: work(weight)), weights))
    assert load["peak"] == 3
    assert gate.waiting() == 0


def test_c2_a_heavier_stored_hash_takes_more_slots_and_still_fits() -> None:
    heavy = PasswordHasher(time_cost=1, memory_kib=64).hash(PASSWORD)
    light = PasswordHasher(time_cost=1, memory_kib=8, max_parallel=2)
    assert light.verify(heavy, PASSWORD) == Verification(True, True)


def test_c2_the_hasher_refuses_with_503_when_its_queue_is_full() -> None:
    hasher = PasswordHasher(time_cost=6, memory_kib=32768, max_parallel=1, max_queue=1)
    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(hasher.verify, None, PASSWORD) for _ in range(8)]
        errors = [item.exception(60) for item in results]
    busy = [error for error in errors if isinstance(error, Unavailable)]
    assert len(busy) >= 4
    assert {error.code for error in busy} == {"hashing.busy"}
    assert errors.count(None) >= 2


def output_of(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    return done.stdout.strip()


def test_c2_a_forked_child_does_not_inherit_taken_slots() -> None:
    script = (
        "import os, threading\n"
        "from app.core.hashing import Gate\n"
        "gate = Gate(1, 0, 1)\n"
        "inside, done = threading.Event(), threading.Event()\n"
        "work = lambda: (inside.set(), done.wait())\n"
        "threading.Thread(target=gate.run, args=(1, work), daemon=True).start()\n"
        "inside.wait()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(gate.run(1, lambda: 7))\n"
        "done.set()\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert output_of(script) == "7"


def test_x3_the_gate_and_parsing_add_little_to_the_raw_hash() -> None:
    hasher = PasswordHasher(**TINY)
    stored = hasher.hash(PASSWORD)
    raw = argon2.PasswordHasher(1, 8, 1, 32, 16)

    def best(check: Callable[[], object]) -> float:
        times = []
        for _ in range(400):
            start = time.perf_counter()
            check()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    overhead = best(lambda: hasher.verify(stored, PASSWORD)) - best(
        lambda: raw.verify(stored, PASSWORD)
    )
    # 50 µs is the target on a quiet machine; a loaded one gets some slack.
    assert overhead < 400e-6


@on_linux
def test_x4_thirty_two_threads_stay_within_the_cap_times_m() -> None:
    script = (
        "import threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from app.core.hashing import PasswordHasher\n"
        "pages = lambda: int(open('/proc/self/statm').read().split()[1])\n"
        "hasher = PasswordHasher(max_parallel=2)\n"
        "stored = hasher.hash('a password')\n"
        "idle = peak = pages()\n"
        "def login(_):\n"
        "    global peak\n"
        "    hasher.verify(stored, 'a password')\n"
        "    peak = max(peak, pages())\n"
        "with ThreadPoolExecutor(32) as pool:\n"
        "    list(pool.map(login, range(96)))\n"
        "print((peak - idle) // 256)\n"
    )
    assert int(output_of(script)) < 2 * 19 + 150
