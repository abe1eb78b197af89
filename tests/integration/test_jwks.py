"""Keys over real sockets: what an issuer may do wrong, and what must not be reached."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from decision.keyring import RETRY_S, KeyRing
from tests.unit.tokens import jwks, private_key
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import Unavailable
from usageflow.runtime.jwks_http import MAX_BYTES, HttpKeyFetcher
from usageflow.runtime.safe_http import is_public

HERE = HttpKeyFetcher(allow_private=True)


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


class Issuer:
    def __init__(self) -> None:
        self.answer = answer(jwks("k1"))
        self.requests: list[bytes] = []
        self.stall = False
        self.open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        with contextlib.suppress(ConnectionError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer[:20] if self.stall else self.answer)
            if self.stall:
                await reader.read()  # until the caller goes
        writer.close()

    async def closed(self) -> None:
        for writer in self.open:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


@asynccontextmanager
async def serving(issuer: Issuer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = await asyncio.start_server(issuer.serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://localhost:{port}/jwks.json?v=1"
        await issuer.closed()


async def refused(url: str, fetcher: HttpKeyFetcher = HERE) -> str:
    with pytest.raises(Unavailable) as error:
        await fetcher.fetch(url)
    return str(error.value)


async def test_a_document_is_fetched_and_the_request_names_its_host() -> None:
    issuer = Issuer()
    async with serving(issuer) as url:
        assert await HERE.fetch(url) == jwks("k1")
        chunk = jwks("k1")
        issuer.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
            len(chunk),
            chunk,
        )
        assert await HERE.fetch(url) == jwks("k1")
    assert issuer.requests[0].startswith(b"GET /jwks.json?v=1 HTTP/1.1\r\nHost: localhost:")


async def test_what_an_issuer_may_do_wrong() -> None:
    issuer = Issuer()
    async with serving(issuer) as url:
        issuer.answer = answer(b"", "302 Found", f"Location: {url}")
        assert "302" in await refused(url)
        issuer.answer = answer(b"", "500 Oops")
        assert "500" in await refused(url)
        issuer.answer = answer(b"x" * (MAX_BYTES + 1))
        assert "larger" in await refused(url)
        issuer.answer = answer(b"{}")[:-1]
        assert await refused(url)
        issuer.answer = b"SSH-2.0-OpenSSH\r\n\r\n"
        assert await refused(url)
        issuer.stall, issuer.answer = True, answer(b"{}")
        assert "0.2 s" in await refused(url, HttpKeyFetcher(allow_private=True, timeout_s=0.2))
    assert await refused(url), "nobody listens any more"


async def test_plain_http_and_private_addresses_are_refused_unless_allowed() -> None:
    strict = HttpKeyFetcher(allow_private=False)
    issuer = Issuer()
    async with serving(issuer) as url:
        assert "https only" in await refused(url, strict)
        for host in (
            url.replace("http:", "https:"),
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://10.1.2.3/",
        ):
            assert "USAGEFLOW_JWKS_ALLOW_PRIVATE=1" in await refused(host, strict)
    assert not issuer.requests


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_what_is_no_public_address(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822"])
def test_what_is_a_public_address(address: str) -> None:
    assert is_public(address)


async def test_a_certificate_must_be_trusted_and_name_the_host(tmp_path: Path) -> None:
    issuer = Issuer()
    async with serving(issuer, _tls(tmp_path)) as url:
        assert "CERTIFICATE_VERIFY_FAILED" in await refused(url)
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        assert await HttpKeyFetcher(allow_private=True, trust=trust).fetch(url) == jwks("k1")
        assert "CERTIFICATE_VERIFY_FAILED" in await refused(
            url.replace("localhost", "127.0.0.1"), HttpKeyFetcher(allow_private=True, trust=trust)
        )


def _tls(folder: Path) -> ssl.SSLContext:
    key, name = private_key("tls"), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_keys_rotate_and_survive_an_outage_over_the_wire() -> None:
    issuer, clock = Issuer(), ManualClock()
    ring = KeyRing(HERE, clock)

    async def kids() -> list[str]:
        ring.missed(url)
        clock.advance(seconds=RETRY_S)
        await ring.refresh()
        return [key.kid for key in ring.keys(url)]

    async with serving(issuer) as url:
        ring.use("app", [url])
        await ring.refresh()
        assert await kids() == ["k1"]
        issuer.answer = answer(jwks("k1", "k2"))
        assert await kids() == ["k1", "k2"]
    assert await kids() == ["k1", "k2"]
    assert len(issuer.requests) == 3
