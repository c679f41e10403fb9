"""The outgoing door: address rules, pinning, TLS names, deadlines, sizes, redirects."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core import http
from app.core.errors import UpstreamFailed
from app.core.http import AddressRefused, Response, fetch, is_public

Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A real server on the loopback; `answer` writes each response, `seen` is what came."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        site = self
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.stop = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                site.seen.append((self.command, self.path, headers, self.rfile.read(length)))
                try:
                    answer(self)
                except OSError:
                    return

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *args: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_args: None  # type: ignore[method-assign]
        self.port = self.server.server_address[1]
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@contextmanager
def serving(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[Site]:
    site = Site(answer, context)
    try:
        yield site
    finally:
        site.close()


def plain(body: bytes = b'{"ok": true}', status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


class Names:
    """A resolver that gives a list of answers, one per question, and counts them."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def test_a_get_returns_status_headers_and_body() -> None:
    with serving(plain(X_Kind="test")) as site:
        url = f"http://127.0.0.1:{site.port}/path?q=1"
        answer = fetch("GET", url, headers={"X-Asked": "yes"}, allow_private=True)
    assert (answer.status, answer.json(), answer.headers["x-kind"]) == (200, {"ok": True}, "test")
    method, path, headers, _body = site.seen[0]
    assert (method, path, headers["x-asked"]) == ("GET", "/path?q=1", "yes")


def test_a_post_sends_its_content() -> None:
    with serving(plain(status=404)) as site:
        url = f"http://127.0.0.1:{site.port}/"
        answer = fetch("POST", url, content=b"a=b", allow_private=True)
    assert answer.status == 404
    assert (site.seen[0][0], site.seen[0][3]) == ("POST", b"a=b")


def test_a_caller_cannot_set_host_or_framing() -> None:
    with serving(plain()) as site:
        headers = {"Host": "evil.example", "Transfer-Encoding": "chunked", "content-length": "0"}
        fetch(
            "POST",
            f"http://127.0.0.1:{site.port}/",
            headers=headers,
            content=b"x" * 9,
            allow_private=True,
        )
    seen = site.seen[0][2]
    assert seen["host"] == f"127.0.0.1:{site.port}"
    assert seen["content-length"] == "9"
    assert "transfer-encoding" not in seen


def test_a_header_that_breaks_the_line_is_refused() -> None:
    with serving(plain()) as site:
        url = f"http://127.0.0.1:{site.port}/"
        with pytest.raises(UpstreamFailed):
            fetch("GET", url, headers={"X-A": "b\r\nX-C: d"}, allow_private=True)
    assert site.seen == []


PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "0.0.0.0", "0.1.2.3",  # noqa: S104
    "192.0.0.192", "198.18.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1",
    "ff02::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "100::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_at_410_no_inner_address_is_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111"])
def test_at_410_ordinary_addresses_are_public(address: str) -> None:
    assert is_public(address)


@settings(max_examples=300, deadline=None, database=None)
@given(st.ip_addresses())
def test_at_410_property_nothing_python_calls_private_is_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize("address", PRIVATE)
def test_at_410_a_literal_inner_address_is_refused(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(AddressRefused) as refused:
        fetch("GET", f"http://{host}:9/", timeout=1)
    assert refused.value.code == "upstream.address_refused"
    assert address not in refused.value.title


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["fe80::1%eth0"]])
def test_at_410_a_name_with_an_inner_address_is_refused_whole(answers: list[str]) -> None:
    with pytest.raises(AddressRefused):
        fetch("GET", "https://hooks.example/", timeout=1, resolve=Names(answers))


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1",
                "0.0.0.1", "224.0.0.1", "2002:a9fe:a9fe::"]
)  # fmt: skip
def test_at_410_metadata_and_multicast_are_refused_even_in_private_mode(address: str) -> None:
    with pytest.raises(AddressRefused):
        fetch("GET", "http://x.example/", allow_private=True, resolve=Names([address]), timeout=1)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "//example.com/",
        "example.com",
        "http:///path",
        "http://",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://8.8.8.8./",
        "http://example.com:99999/",
        "http://exa mple.com/",
        "http://example.com\r\nX: y/",
        "http://[::1/",
        "",
    ],
)
def test_at_413_disguised_or_foreign_urls_are_refused(url: str) -> None:
    for private in (False, True):
        with pytest.raises(AddressRefused):
            fetch("GET", url, timeout=1, allow_private=private, resolve=Names(["8.8.8.8"]))


@settings(max_examples=200, deadline=None, database=None)
@given(st.text(max_size=40))
def test_at_413_property_any_text_gives_a_typed_refusal(text: str) -> None:
    for url in (text, f"http://{text}", f"http://localhost:1/{text}"):
        with pytest.raises(UpstreamFailed):
            fetch("GET", url, timeout=1, resolve=Names(["127.0.0.1"]))


def test_at_411_the_name_is_resolved_once_and_the_connection_pinned() -> None:
    names = Names(["127.0.0.1"], ["127.0.0.9"])
    with serving(plain()) as site:
        url = f"http://rebind.example:{site.port}/"
        answer = fetch("GET", url, allow_private=True, resolve=names)
    assert answer.status == 200
    assert names.asked == ["rebind.example"]
    assert site.seen[0][2]["host"] == f"rebind.example:{site.port}"


def test_the_next_checked_address_is_tried_when_one_does_not_answer() -> None:
    with serving(plain()) as site:
        url = f"http://two.example:{site.port}/"
        names = Names(["127.0.0.77", "127.0.0.1"])
        assert fetch("GET", url, allow_private=True, resolve=names).status == 200


def test_at_412_a_redirect_is_returned_and_not_followed() -> None:
    with serving(plain(status=302, Location="http://169.254.169.254/")) as site:
        answer = fetch("GET", f"http://127.0.0.1:{site.port}/", allow_private=True)
    assert answer.status == 302
    assert len(site.seen) == 1


@pytest.mark.parametrize("target", ["http://169.254.169.254/", "file:///etc/passwd", "http://[::1"])
def test_at_412_each_hop_is_checked_again(target: str) -> None:
    with serving(plain(status=302, Location=target)) as site:
        url = f"http://127.0.0.1:{site.port}/"
        with pytest.raises(AddressRefused):
            fetch("GET", url, allow_private=True, follow_redirects=True)


def test_at_412_credentials_stay_with_their_origin() -> None:
    with serving(plain()) as second:
        target = f"http://other.example:{second.port}/end"
        with serving(plain(status=302, Location=target)) as first:
            answer = fetch(
                "POST",
                f"http://first.example:{first.port}/",
                headers={"Authorization": "Bearer secret", "X-Kept": "yes"},
                content=b"body",
                allow_private=True,
                follow_redirects=True,
                resolve=Names(["127.0.0.1"]),
            )
    assert (answer.status, answer.url) == (200, target)
    method, _path, headers, body = second.seen[0]
    assert (method, body) == ("GET", b"")
    assert "authorization" not in headers
    assert headers["x-kept"] == "yes"


def test_at_417_a_redirect_loop_ends() -> None:
    with serving(plain(status=307, Location="/again")) as site:
        url = f"http://127.0.0.1:{site.port}/"
        with pytest.raises(UpstreamFailed) as refused:
            fetch("GET", url, allow_private=True, follow_redirects=True)
    assert refused.value.code == "upstream.too_many_redirects"
    assert len(site.seen) == http.MAX_REDIRECTS + 1


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def trickling_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100):
        handler.wfile.write(b"X-%d: y\r\n" % number)
        time.sleep(0.05)


def silent(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def huge_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"y" * 1_000_000 + b"\r\n\r\n")


def not_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (endless, "upstream.too_large"),
        (plain(b"x" * 2000), "upstream.too_large"),
        (trickling_headers, "upstream.timeout"),
        (silent, "upstream.timeout"),
        (huge_headers, "upstream.unreachable"),
        (not_http, "upstream.unreachable"),
        (plain(b"\x1f\x8b", Content_Encoding="gzip"), "upstream.unreadable"),
    ],
)
def test_at_417_slow_endless_and_broken_answers_are_typed_failures(
    answer: Answer, code: str
) -> None:
    with serving(answer) as site:
        start = time.perf_counter()
        url = f"http://127.0.0.1:{site.port}/"
        with pytest.raises(UpstreamFailed) as failed:
            fetch("GET", url, allow_private=True, timeout=0.5, max_bytes=1000)
        assert time.perf_counter() - start < 2
    assert failed.value.code == code


def test_at_417_a_slow_name_server_counts_against_the_deadline() -> None:
    def slow(host: str, port: int) -> list[str]:
        time.sleep(2)
        return ["8.8.8.8"]

    start = time.perf_counter()
    with pytest.raises(UpstreamFailed) as failed:
        fetch("GET", "https://slow.example/", timeout=0.2, resolve=slow)
    assert failed.value.code == "upstream.timeout"
    assert time.perf_counter() - start < 1


def test_an_unknown_name_is_unreachable() -> None:
    with pytest.raises(UpstreamFailed) as failed:
        fetch("GET", "https://nowhere.invalid/", timeout=5)
    assert failed.value.code in {"upstream.unreachable", "upstream.timeout"}


def test_a_closed_port_is_unreachable() -> None:
    with serving(plain()) as site:
        port = site.port
    with pytest.raises(UpstreamFailed) as failed:
        fetch("GET", f"http://127.0.0.1:{port}/", allow_private=True, timeout=2)
    assert failed.value.code == "upstream.unreachable"


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe\xfd", b"[" * 200_000])
def test_a_body_that_is_not_json_is_a_typed_failure(body: bytes) -> None:
    with pytest.raises(UpstreamFailed) as failed:
        Response(200, httpx.Headers(), body, "https://x.example/").json()
    assert failed.value.code == "upstream.unreadable"


def test_the_environment_cannot_put_a_proxy_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with serving(plain()) as site:
        assert fetch("GET", f"http://127.0.0.1:{site.port}/", allow_private=True).status == 200


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Write one certificate for idp.example, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "idp.example")])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("idp.example")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path / "site.pem"
    path.write_bytes(pem + secret)
    return path


@pytest.fixture
def secure_site(authority: Path) -> Iterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    with serving(plain(), context) as site:
        yield site


@pytest.fixture
def trusted(authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    http.tls_context.cache_clear()
    yield
    http.tls_context.cache_clear()


def test_at_421_the_certificate_is_checked_against_the_original_name(
    secure_site: Site, trusted: None
) -> None:
    names = Names(["127.0.0.1"])
    url = f"https://idp.example:{secure_site.port}/"
    assert fetch("GET", url, allow_private=True, resolve=names).status == 200
    assert secure_site.seen[0][2]["host"] == f"idp.example:{secure_site.port}"


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1"])
def test_at_421_a_certificate_of_another_name_is_refused(
    secure_site: Site, trusted: None, host: str
) -> None:
    url = f"https://{host}:{secure_site.port}/"
    with pytest.raises(UpstreamFailed):
        fetch("GET", url, allow_private=True, resolve=Names(["127.0.0.1"]))
    assert secure_site.seen == []


def test_at_421_an_unknown_authority_is_refused(secure_site: Site) -> None:
    url = f"https://idp.example:{secure_site.port}/"
    with pytest.raises(UpstreamFailed):
        fetch("GET", url, allow_private=True, resolve=Names(["127.0.0.1"]))
    assert secure_site.seen == []
