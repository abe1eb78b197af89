"""HTTP to addresses that people entered: public ones only, unless private ones are allowed.

The addresses that a name resolves to are checked, and the connection goes to one of these: a name that resolves
differently a moment later (DNS rebinding) changes nothing. Redirects are not followed, proxies are not used.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import h11

from usageflow.domain.errors import Unavailable

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an exchange may take, in seconds, its connection first, and how large the answer may be. What is beyond ``max_bytes``
    is not read: ``cut`` takes the answer without it, else it is none.
    """

    total_s: float
    connect_s: float
    max_bytes: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whatever its status is."""

    status: int
    body: bytes


class SafeHttp:
    """Sends single requests. ``setting`` is the variable that allows plain HTTP, and this machine and its networks."""

    def __init__(
        self, limits: Limits, setting: str, *, allow_private: bool, trust: ssl.SSLContext | None = None
    ) -> None:
        self._limits = limits
        self._setting = setting
        self._allow_private = allow_private
        self._trust = trust

    def takes(self, scheme: str) -> bool:
        """Tells whether addresses of that scheme are asked."""
        return scheme in ({"https", "http"} if self._allow_private else {"https"})

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Returns the answer. Raises Unavailable, which says why there is none and names the host only."""
        try:
            async with asyncio.timeout(self._limits.total_s):
                return await self._send(method, urlsplit(url), headers, body)
        except TimeoutError as error:
            raise Unavailable(f"no answer within {self._limits.total_s:g} s") from error
        except (OSError, ValueError, h11.ProtocolError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error

    async def _send(self, method: str, url: SplitResult, headers: Mapping[str, str], body: bytes) -> Answer:
        host = url.hostname or ""
        if not host or not self.takes(url.scheme):
            raise Unavailable("only https addresses are asked")
        encrypted = url.scheme == "https"
        port = url.port or (443 if encrypted else 80)
        trust = (self._trust or ssl.create_default_context()) if encrypted else None
        reader, writer = await self._connected(host, port, trust)
        try:
            return await _exchange(method, url, headers, body, (reader, writer), self._limits)
        finally:
            writer.transport.abort()

    async def _connected(
        self, host: str, port: int, trust: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(self._limits.connect_s):
                return await _connect(await self._addresses(host, port), host, port, trust)
        except TimeoutError as error:
            raise Unavailable(f"no connection within {self._limits.connect_s:g} s") from error

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Returns where a host is; all of its addresses must be allowed."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(item[4][0]) for item in found]
        if not self._allow_private:
            for address in addresses:
                if not is_public(address):
                    raise Unavailable(
                        f"{host} is {address}, which is not a public address: set {self._setting}=1 "
                        "where that is meant"
                    )
        return addresses


def is_public(address: str) -> bool:
    """Tells whether an address is one of the internet's, also where IPv6 wraps an IPv4 address."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not parsed.is_multicast


async def _connect(
    addresses: Sequence[str], host: str, port: int, trust: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Returns a connection to the first address that answers; certificates are checked against the host's name."""
    name = host if trust is not None else None
    for address in addresses[:-1]:
        with contextlib.suppress(ConnectionError):
            return await asyncio.open_connection(address, port, ssl=trust, server_hostname=name)
    return await asyncio.open_connection(addresses[-1], port, ssl=trust, server_hostname=name)


async def _exchange(
    method: str,
    url: SplitResult,
    headers: Mapping[str, str],
    body: bytes,
    link: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    limits: Limits,
) -> Answer:
    reader, writer = link
    connection = h11.Connection(h11.CLIENT)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    fields = [("Host", url.netloc), *headers.items(), ("Connection", "close")]
    if body:
        fields.append(("Content-Length", str(len(body))))
    events: list[h11.Event] = [h11.Request(method=method, target=target, headers=fields)]
    events += [h11.Data(data=body)] if body else []
    for event in (*events, h11.EndOfMessage()):
        writer.write(connection.send(event) or b"")
    await writer.drain()
    return await _answer(connection, reader, limits)


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader, limits: Limits) -> Answer:
    status, received = 0, bytearray()
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            case h11.Response(status_code=code):
                status = code
            case h11.Data(data=data):
                received += data
                if len(received) > limits.max_bytes:
                    if limits.cut:
                        return Answer(status, bytes(received[: limits.max_bytes]))
                    raise Unavailable(f"the document is larger than {limits.max_bytes // 1024} KiB")
            case h11.EndOfMessage():
                return Answer(status, bytes(received))
            case h11.ConnectionClosed():
                raise Unavailable("the connection ended before the document did")
