"""TXT lookups against a real name server on loopback: answers, silence, lies, sizes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from app.core.network import dns
from tests.support.dns_server import DnsServer

NAME = "_iam-challenge.example.org"


@pytest.fixture
def server() -> Iterator[DnsServer]:
    """Return a name server that knows one name."""
    with DnsServer({NAME: ["iam-domain-verification=abc"]}) as running:
        yield running


def ask(server: DnsServer, name: str = NAME, **limits: float) -> list[str]:
    return dns.txt(name, servers=[server.address], **limits)


def test_records_are_read_as_text(server: DnsServer) -> None:
    server.records[NAME] = ["first", 'quoted "text"']
    assert sorted(ask(server)) == ["first", 'quoted "text"']


def test_the_strings_of_one_record_are_joined(server: DnsServer) -> None:
    """RFC 7208, 3.3: a text over 255 octets stands in several strings."""
    server.records[NAME] = ["x" * 700]
    assert ask(server) == ["x" * 700]


def test_a_name_that_does_not_exist_has_no_records(server: DnsServer) -> None:
    assert ask(server, "nothing.example.org") == []


def test_a_name_without_txt_records_has_none(server: DnsServer) -> None:
    server.empty.add("bare.example.org")
    assert ask(server, "bare.example.org") == []


@pytest.mark.parametrize("mode", ["servfail", "refused", "broken", "silent", "other"])
def test_a_server_that_stutters_is_not_a_record_that_is_gone(server: DnsServer, mode: str) -> None:
    server.mode = mode
    with pytest.raises(dns.DnsFailed) as caught:
        ask(server, seconds=0.6)
    assert caught.value.status == 502
    assert caught.value.code == "upstream.dns"


def test_one_good_server_is_enough(server: DnsServer) -> None:
    with DnsServer(mode="servfail") as bad:
        found = dns.txt(NAME, servers=[bad.address, server.address])
    assert found == ["iam-domain-verification=abc"]


def test_what_does_not_fit_into_a_datagram_comes_over_tcp(server: DnsServer) -> None:
    server.records[NAME] = [f"{number:03}" + "x" * 200 for number in range(20)]
    assert sorted(ask(server)) == sorted(server.records[NAME])
    assert [transport for _name, transport in server.asked] == ["udp", "tcp"]


def test_an_answer_is_bounded(server: DnsServer) -> None:
    """A name of an attacker's may carry as much as DNS can: no more than this is looked at."""
    server.records[NAME] = [*(f"{number:04}" for number in range(200)), "x" * 3000]
    found = ask(server)
    assert len(found) <= 64
    assert max(map(len, found)) <= 2048


def test_the_whole_question_has_one_deadline(server: DnsServer) -> None:
    server.mode = "silent"
    before = time.monotonic()
    with pytest.raises(dns.DnsFailed):
        ask(server, seconds=1.0)
    assert time.monotonic() - before < 2.5


def test_an_answer_in_time_is_taken_however_slow(server: DnsServer) -> None:
    server.mode = "slow"
    assert ask(server) == ["iam-domain-verification=abc"]


def test_bytes_that_are_no_text_do_no_harm(server: DnsServer) -> None:
    server.records[NAME] = ["\\255\\000"]
    assert len(ask(server)) == 1


def test_a_name_that_cannot_be_asked_is_refused(server: DnsServer) -> None:
    with pytest.raises(dns.DnsFailed):
        ask(server, "a" * 64 + ".example.org")
    assert not server.asked


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_servers_are_addresses_with_or_without_a_port(text: str, meant: tuple[str, int]) -> None:
    assert dns.server(text) == meant


@pytest.mark.parametrize(
    "text",
    ["", "dns.example", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:99999", "[2001:db8::1", "[::1]5"],
)
def test_anything_else_is_no_server(text: str) -> None:
    with pytest.raises(ValueError):
        dns.server(text)
