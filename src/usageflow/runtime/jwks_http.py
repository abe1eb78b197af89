"""Fetches JWKS documents, from public addresses only unless private ones are allowed.

The addresses that a name resolves to are checked, and the connection goes to one of these: a name that resolves
differently a moment later (DNS rebinding) changes nothing. Redirects are not followed, proxies are not used.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

import h11

from usageflow.domain.errors import Unavailable

MAX_BYTES = 256 * 1024
"""The largest document."""

TIMEOUT_S = 5.0
"""For everything together: name, connection, request and answer."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class HttpKeyFetcher:
    """A KeyFetcher over HTTPS; with ``allow_private`` also over plain HTTP and to this machine and its networks."""

    def __init__(
        self, *, allow_private: bool, trust: ssl.SSLContext | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._allow_private = allow_private
        self._trust = trust
        self._timeout_s = timeout_s

    async def fetch(self, url: str) -> bytes:
        """Returns the document. Raises Unavailable, which says why there is none."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._get(urlsplit(url))
        except TimeoutError as error:
            raise Unavailable(f"no answer within {self._timeout_s:g} s") from error
        except (OSError, ValueError, h11.ProtocolError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error

    async def _get(self, url: SplitResult) -> bytes:
        host = url.hostname or ""
        if not host or url.scheme not in ({"https", "http"} if self._allow_private else {"https"}):
            raise Unavailable("keys are fetched over https only")
        encrypted = url.scheme == "https"
        port = url.port or (443 if encrypted else 80)
        trust = (self._trust or ssl.create_default_context()) if encrypted else None
        reader, writer = await _connect(await self._addresses(host, port), host, port, trust)
        try:
            return await _exchange(url, reader, writer)
        finally:
            writer.transport.abort()

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Returns where a host is; all of its addresses must be allowed."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(item[4][0]) for item in found]
        if not self._allow_private:
            for address in addresses:
                if not is_public(address):
                    raise Unavailable(
                        f"{host} is {address}, which is not a public address: set USAGEFLOW_JWKS_ALLOW_PRIVATE=1 "
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


async def _exchange(url: SplitResult, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    connection = h11.Connection(h11.CLIENT)
    headers = [("Host", url.netloc), ("Accept", "application/json"), ("Connection", "close")]
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    for event in (h11.Request(method="GET", target=target, headers=headers), h11.EndOfMessage()):
        writer.write(connection.send(event) or b"")
    await writer.drain()
    body = bytearray()
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            case h11.Response(status_code=status) if status != 200:
                raise Unavailable(f"the answer is {status}, not 200")
            case h11.Data(data=data):
                body += data
                if len(body) > MAX_BYTES:
                    raise Unavailable(f"the document is larger than {MAX_BYTES // 1024} KiB")
            case h11.EndOfMessage():
                return bytes(body)
            case h11.ConnectionClosed():
                raise Unavailable("the connection ended before the document did")
