"""The breached-password check, against a real server that behaves well or badly."""

from __future__ import annotations

import time
import unicodedata

import pytest

from app.auth.passwords.breached import BreachCheckUnavailable, times_breached
from app.core.errors import InvalidInput, UpstreamFailed
from tests.support.breach_server import BreachServer, corpus_digest

KNOWN = "correct horse battery staple"


def seen(server: BreachServer, password: str = KNOWN, timeout: float = 2.0) -> int:
    return times_breached(password, url=server.url, allow_private=True, timeout=timeout)


def test_c3_a_breached_password_is_counted_and_another_is_not() -> None:
    with BreachServer([KNOWN], count=4711) as server:
        assert seen(server) == 4711
        assert seen(server, "another password altogether") == 0


def test_v6_2_12_only_five_hash_digits_leave_and_padding_is_asked_for() -> None:
    with BreachServer([KNOWN]) as server:
        seen(server)
        [(path, headers)] = server.requests
    digest = corpus_digest(KNOWN)
    assert path == f"/range/{digest[:5]}"
    assert headers["Add-Padding"] == "true"
    assert not {"Authorization", "Cookie", "Referer"} & set(headers)
    assert digest[5:] not in str(headers)


def test_c3_a_padding_row_counts_nothing() -> None:
    with BreachServer([KNOWN], count=0) as server:
        assert seen(server) == 0


def test_c3_nfc_and_nfd_are_looked_up_alike() -> None:
    with BreachServer(["café au lait"], count=3) as server:
        assert seen(server, unicodedata.normalize("NFD", "café au lait")) == 3


def test_c3_a_base_address_may_end_in_a_slash_or_have_a_path() -> None:
    with BreachServer([KNOWN]) as server:
        found = times_breached(KNOWN, url=f"{server.url}/mirror/", allow_private=True)
        assert found == 42
        assert server.requests[0][0].startswith("/mirror/range/")


@pytest.mark.parametrize("mode", ["error", "garbage", "oversized", "empty"])
def test_c3_a_broken_service_is_unavailable_and_never_a_clean_bill(mode: str) -> None:
    with BreachServer([KNOWN], mode=mode) as server, pytest.raises(BreachCheckUnavailable) as bad:
        seen(server)
    assert bad.value.code == "password.breach_check_unavailable"
    assert isinstance(bad.value, UpstreamFailed)


@pytest.mark.parametrize("mode", ["hang", "trickle"])
def test_at_417_a_slow_service_costs_no_more_than_the_timeout(mode: str) -> None:
    start = time.perf_counter()
    with BreachServer([KNOWN], mode=mode) as server, pytest.raises(BreachCheckUnavailable):
        seen(server, timeout=0.4)
    assert time.perf_counter() - start < 1.5


def test_c3_a_service_that_is_away_is_unavailable() -> None:
    with BreachServer() as server:
        url = server.url
    with pytest.raises(BreachCheckUnavailable):
        times_breached(KNOWN, url=url, allow_private=True)


def test_at_410_a_private_mirror_needs_the_setting() -> None:
    with BreachServer([KNOWN]) as server:
        with pytest.raises(BreachCheckUnavailable):
            times_breached(KNOWN, url=server.url)
        assert server.requests == []


def test_at_023_an_oversized_password_is_refused_before_any_request() -> None:
    with BreachServer() as server:
        with pytest.raises(InvalidInput):
            seen(server, "x" * 1_000_000)
        assert server.requests == []
