"""The server's certificate: read and checked at the start, and again whenever its files change.

Every reader raises ValueError as "what is wrong: what to do about it", the form of a setting's fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from usageflow.domain.clock import Clock

log = structlog.get_logger()

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
"""What gRPC's TLS signs with."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the certificate with its chain, its key, and with ``client_ca`` the authorities of clients, which then
    must show a certificate.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None


def read_certificate(path: Path) -> x509.Certificate:
    """Returns the first certificate of a PEM file: the server's own, before its chain; or an authority's."""
    try:
        return x509.load_pem_x509_certificates(_bytes_of(path))[0]
    except ValueError as error:
        if isinstance(error, _Unreadable):
            raise
        raise ValueError(
            f"{path} holds no certificate that can be read: name a PEM file (-----BEGIN CERTIFICATE-----)"
        ) from None


def check_key(path: Path, certificate: x509.Certificate) -> None:
    """Checks that a PEM file holds the certificate's private key."""
    if _public_bytes(_key_of(path)) != _public_bytes(certificate):
        raise ValueError(f"{path} is not the key of the certificate: name the two that were made together")


def _public_bytes(holder: _Key | x509.Certificate) -> bytes:
    try:
        return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except UnsupportedAlgorithm:
        return b""


def _key_of(path: Path) -> _Key:
    try:
        key = load_pem_private_key(_bytes_of(path), password=None)
    except TypeError:
        raise ValueError(
            f"{path} is encrypted: take its password off with `openssl pkey` and keep it readable by the service alone"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, _Unreadable):
            raise
        raise ValueError(
            f"{path} holds no private key that can be read: name a PEM file (-----BEGIN PRIVATE KEY-----)"
        ) from None
    if isinstance(key, _Key):
        return key
    raise ValueError(f"{path} is neither an RSA nor an ECDSA key: have a certificate made for one")


class _Unreadable(ValueError):
    """A file that is not there or not ours to read."""


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _Unreadable(
            f"{path} cannot be read ({error.strerror}): name a PEM file that the service may read"
        ) from None


def date_fault(certificate: x509.Certificate, now_us: int) -> str:
    """Returns why clients refuse a certificate at this time, "" where its dates are good."""
    now = datetime.fromtimestamp(now_us / 1e6, UTC)
    if now > certificate.not_valid_after_utc:
        return f"the certificate expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: clients refuse it; renew it"
    if now < certificate.not_valid_before_utc:
        begin = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return f"the certificate is not valid before {begin}: clients refuse it; check this machine's clock"
    return ""


class ServerCertificate:
    """What gRPC asks for at every handshake: the certificate as it is on disk. A renewal needs no restart; files that do not
    fit together, such as half of a renewal, are left until they change again, and the last good ones go on.
    """

    def __init__(self, files: TlsFiles, clock: Clock) -> None:
        """Reads the files. Raises ValueError."""
        self._files = files
        self._clock = clock
        self._seen = self._state()
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Returns credentials that follow the files."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._renewed,  # type: ignore[arg-type]  # None means "no change"; the stub does not know
            require_client_authentication=self._files.client_ca is not None,
        )

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Returns the new certificate, None to go on with the last: gRPC calls this from a thread of its own."""
        state = self._state()
        if state == self._seen:
            return None
        self._seen = state
        try:
            renewed = self._read()
        except ValueError as error:
            log.warning("the renewed certificate is not used; going on with the last one", error=str(error))
            return None
        log.info("the certificate was renewed", file=str(self._files.cert))
        return renewed

    def _read(self) -> grpc.ServerCertificateConfiguration:
        files = self._files
        certificate = read_certificate(files.cert)
        check_key(files.key, certificate)
        if files.client_ca is not None:
            read_certificate(files.client_ca)
        fault = date_fault(certificate, self._clock.now_us())
        if fault:
            log.warning(fault, file=str(files.cert))
        clients = _bytes_of(files.client_ca) if files.client_ca is not None else None
        return grpc.ssl_server_certificate_configuration(
            [(_bytes_of(files.key), _bytes_of(files.cert))], clients
        )

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(
            _stat(path) for path in (self._files.cert, self._files.key, self._files.client_ca) if path
        )


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
