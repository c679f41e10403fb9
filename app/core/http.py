"""The only door out: HTTP to addresses that were checked first.

Owns resolving once and connecting to exactly that answer, address rules, TLS
verification, one deadline for the whole exchange and the size cap. Refuses to own
retries, caching, and what an answer means. ASVS 5.0 1.3.6, 12.3.2 and 15.3.2.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Thread
from typing import Any, Final
from urllib.parse import urljoin

import httpcore
import httpx

from . import clock
from .errors import UpstreamFailed

MIB: Final = 1024 * 1024
MAX_REDIRECTS: Final = 5
USER_AGENT: Final = "flask-iam"

Resolver = Callable[[str, int], list[str]]
"""Turns a host and a port into the addresses to try, as text."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_ADDRESSES = 4
# Numbers that some resolvers read as an address: decimal, octal, hexadecimal (AT-413).
_NUMERIC_LABEL = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
_HOST = re.compile(r"[0-9a-z._-]{1,253}|[0-9a-f:.]{2,45}", re.IGNORECASE)
_OURS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
_CREDENTIALS = {"authorization", "cookie", "proxy-authorization"}


def _networks(*names: str) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(name) for name in names)


# Written out rather than asked of `is_global`, whose answer changes between Python versions.
_NOT_PUBLIC = _networks(
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",  # a cloud's platform channel on a public-looking address
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
    "2001::/23",  # Teredo, ORCHID and other protocol assignments
    "2001:db8::/32",
    "2002::/16",  # 6to4 carries an IPv4 address inside
    "3fff::/20",
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Never a service of anybody's network: metadata endpoints, multicast, "this host".
_NEVER = _networks("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/128", "fe80::/10", "ff00::/8")
_NAT64 = _networks("64:ff9b::/96")


class AddressRefused(UpstreamFailed):
    """The URL or the address behind it is not one we connect to."""

    code = "upstream.address_refused"


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer; `content` is what arrived, never decompressed."""

    status: int
    headers: httpx.Headers
    content: bytes
    url: str

    def json(self) -> Any:
        """Return the parsed body. Raises UpstreamFailed where it is not JSON."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            raise UpstreamFailed(code="upstream.unreadable") from None


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: httpx.URL
    headers: Mapping[str, str]
    content: bytes | None


@dataclass(frozen=True, slots=True)
class _Limits:
    deadline: float
    max_bytes: int
    allow_private: bool
    resolve: Resolver

    def remaining(self) -> float:
        """Return the seconds left; httpcore treats zero as 'do not wait', so never zero."""
        left = self.deadline - clock.monotonic()
        if left <= 0:
            raise httpcore.TimeoutException("deadline")
        return left


def system_resolver(host: str, port: int) -> list[str]:
    """Return every address of `host`, in the operating system's order."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def fetch(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    timeout: float = 10.0,
    max_bytes: int = MIB,
    allow_private: bool = False,
    follow_redirects: bool = False,
    resolve: Resolver = system_resolver,
) -> Response:
    """Send one request and return the whole answer, whatever its status.

    `timeout` is seconds for everything together, names and redirects included.
    `allow_private` admits private networks and loopback, yet no metadata address.
    Raises AddressRefused for a URL or address out of bounds (AT-410 to AT-413),
    UpstreamFailed for everything else that goes wrong.
    """
    limits = _Limits(clock.monotonic() + timeout, max_bytes, allow_private, resolve)
    request = _Request(method, _checked_url(url), _own_headers(headers), content)
    for _ in range(MAX_REDIRECTS + 1):
        response = _exchange(request, limits)
        moved = response.status in _REDIRECTS and "location" in response.headers
        if not (follow_redirects and moved):
            return response
        request = _redirected(request, response)
    raise UpstreamFailed(code="upstream.too_many_redirects")


def is_public(address: str) -> bool:
    """Return whether `address` is an ordinary public unicast address."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    return not _within(ip, _NOT_PUBLIC)


def _is_allowed(address: str, *, allow_private: bool) -> bool:
    try:
        if not allow_private:
            return is_public(address)
        ip = _unwrapped(ipaddress.ip_address(address))
    except ValueError:
        return False
    return not _within(ip, _NEVER)


def _unwrapped(ip: _Address) -> _Address:
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if _within(ip, _NAT64):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _within(ip: _Address, networks: Iterable[_Network]) -> bool:
    return any(ip in network for network in networks if network.version == ip.version)


def _checked_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError, TypeError, ValueError):
        raise AddressRefused(code="upstream.url_refused") from None
    if url.scheme not in ("http", "https") or url.userinfo or not _HOST.fullmatch(host):
        raise AddressRefused(code="upstream.url_refused")
    if url.port is not None and not 0 < url.port < 65536:
        raise AddressRefused(code="upstream.url_refused")
    if _is_disguised_number(host):
        raise AddressRefused
    return url


def _is_disguised_number(host: str) -> bool:
    if not _NUMERIC_LABEL.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _own_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    # The framing and the Host are ours: a caller's value could smuggle a second request.
    given = {name: value for name, value in (headers or {}).items() if name.lower() not in _OURS}
    return {"User-Agent": USER_AGENT, **given}


def _exchange(request: _Request, limits: _Limits) -> Response:
    try:
        addresses = _checked_addresses(request.url, limits)
        with (
            httpcore.ConnectionPool(
                ssl_context=tls_context(), network_backend=_PinnedBackend(addresses, limits)
            ) as pool,
            pool.stream(
                request.method,
                _wire_url(request.url),
                headers=_wire_headers(request),
                content=request.content,
            ) as answer,
        ):
            headers = httpx.Headers(answer.headers)
            body = _read(answer, headers, limits.max_bytes)
    except httpcore.TimeoutException:
        raise UpstreamFailed(code="upstream.timeout") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise UpstreamFailed(code="upstream.unreachable") from error
    return Response(answer.status, headers, body, str(request.url))


def _checked_addresses(url: httpx.URL, limits: _Limits) -> list[str]:
    host = url.raw_host.decode("ascii")
    addresses = _resolve_in_time(host, url.port or (443 if url.scheme == "https" else 80), limits)
    if not addresses:
        raise UpstreamFailed(code="upstream.unreachable")
    # One bad answer among good ones refuses all: that is what rebinding looks like (AT-411).
    if not all(_is_allowed(item, allow_private=limits.allow_private) for item in addresses):
        raise AddressRefused
    return addresses[:_MAX_ADDRESSES]


def _resolve_in_time(host: str, port: int, limits: _Limits) -> list[str]:
    # The system's resolver takes no timeout; a hostile name server could hold a worker.
    answer: Future[list[str]] = Future()

    def ask() -> None:
        try:
            answer.set_result(limits.resolve(host, port))
        except (OSError, UnicodeError) as error:
            answer.set_exception(OSError(str(error)))

    Thread(target=ask, name="iam-resolve", daemon=True).start()
    try:
        return answer.result(timeout=limits.remaining())
    except FutureTimeout:
        raise UpstreamFailed(code="upstream.timeout") from None


def _wire_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


def _wire_headers(request: _Request) -> list[tuple[bytes, bytes]]:
    # Identity only: a compressed answer could unpack to far more than the cap.
    headers = httpx.Headers(request.headers)
    headers["Accept-Encoding"] = "identity"
    headers["Connection"] = "close"
    if request.content is not None or request.method in ("POST", "PUT", "PATCH"):
        headers["Content-Length"] = str(len(request.content or b""))
    return [(b"Host", request.url.netloc), *headers.raw]


def _read(answer: httpcore.Response, headers: httpx.Headers, max_bytes: int) -> bytes:
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UpstreamFailed(code="upstream.unreadable")
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:18]) > max_bytes:
        raise UpstreamFailed(code="upstream.too_large")
    body = bytearray()
    for chunk in answer.iter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise UpstreamFailed(code="upstream.too_large")
    return bytes(body)


def _redirected(request: _Request, response: Response) -> _Request:
    try:
        target = _checked_url(urljoin(str(request.url), response.headers["location"]))
    except ValueError:
        raise AddressRefused(code="upstream.url_refused") from None
    if request.url.scheme == "https" and target.scheme != "https":
        raise AddressRefused(code="upstream.url_refused")
    changed = replace(request, url=target)
    if _origin(target) != _origin(request.url):
        kept = {k: v for k, v in request.headers.items() if k.lower() not in _CREDENTIALS}
        changed = replace(changed, headers=kept)
    if response.status == 303 or (response.status in (301, 302) and request.method == "POST"):
        changed = replace(changed, method="GET", content=None)
    return changed


def _origin(url: httpx.URL) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host, url.port


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Return the one verifying TLS context; `SSL_CERT_FILE` names other authorities."""
    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to the checked addresses, whatever name the request carries.

    The name stays in the URL, so Host, SNI and certificate checks use it unchanged.
    Timeouts that httpcore passes are not used: the deadline is ours.
    """

    def __init__(self, addresses: list[str], limits: _Limits) -> None:
        self._addresses = addresses
        self._limits = limits

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for left, address in zip(range(len(self._addresses), 0, -1), self._addresses, strict=True):
            share = self._limits.remaining() / left
            try:
                stream = httpcore.SyncBackend().connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _DeadlineStream(stream, self._limits)
        raise failure


class _DeadlineStream(httpcore.NetworkStream):
    """Counts every wait against one deadline, so a trickle cannot last for ever (AT-417)."""

    def __init__(self, inner: httpcore.NetworkStream, limits: _Limits) -> None:
        self._inner = inner
        self._limits = limits

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._limits.remaining())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._limits.remaining())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        remaining = self._limits.remaining()
        return _DeadlineStream(
            self._inner.start_tls(ssl_context, server_hostname, remaining), self._limits
        )

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
