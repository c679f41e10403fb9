"""The system log: form by RFC 5424, no line of somebody else's, an end to every wait."""

from __future__ import annotations

import re
import socket
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.core.errors import UpstreamFailed
from app.core.network import syslog
from app.core.network.syslog import CRITICAL, Line
from tests.support.collectors import SyslogServer

AT = datetime(2026, 3, 10, 12, 0, 0, 5, tzinfo=UTC)


def test_m5_a_line_has_the_form_of_rfc_5424() -> None:
    text = syslog.encode(Line("critical", "Zoë did it", AT, CRITICAL)).decode()
    form = r"<106>1 2026-03-10T12:00:00\.000005Z \S+ iam \d+ critical - \ufeffZoë did it"
    assert re.fullmatch(form, text)


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\0", "\u2028", "\x1b[2J", "\x85"])
def test_at_401_a_text_cannot_begin_a_line_of_its_own(mark) -> None:
    sent = syslog.encode(Line("critical", f"a{mark}<106>1 forged", AT)).decode()
    assert mark not in sent
    assert len(sent.splitlines()) == 1


@pytest.mark.parametrize("kind", ["", "two words", "é", "a\nb"])
def test_at_401_a_name_with_a_space_or_a_line_break_is_refused(kind) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        syslog.encode(Line(kind, "x", AT))


def test_m5_a_long_line_is_cut_between_characters() -> None:
    data = syslog.encode(Line("critical", "ü" * 4000, AT))
    assert len(data) <= 2048
    assert data.decode().endswith("ü")


def test_m5_a_collector_receives_it_over_udp() -> None:
    with SyslogServer() as server:
        syslog.send(server.target, Line("critical", "hello", AT))
        assert server.line().endswith("hello")


def test_m5_a_collector_receives_it_over_a_unix_socket() -> None:
    # Not in the folder of the test: the path of such a socket holds a hundred bytes.
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "log")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            server.settimeout(5)
            syslog.send(f"unix://{path}", Line("critical", "hello", AT))
            assert server.recv(4096).decode().endswith("hello")


def test_m5_a_collector_that_is_away_is_told_as_such() -> None:
    with pytest.raises(UpstreamFailed):
        syslog.send("unix:///nowhere/at/all", Line("critical", "hello", AT))


@pytest.mark.parametrize(
    "target",
    ["", "/dev/log", "tcp://host:514", "udp://", "udp://host:99999", "unix://host/log",
     "udp://host/path", "unix:log"],
)  # fmt: skip
def test_at_466_an_address_that_is_none_is_refused(target) -> None:
    with pytest.raises(ValueError, match=r"must be|[Pp]ort"):
        syslog.address(target)
