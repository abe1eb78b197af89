"""Authorities and certificates for tests, made in the test."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    cert: bytes
    key: bytes

    def write(self, folder: Path, name: str = "server") -> tuple[str, str]:
        """Writes NAME.pem and NAME.key; returns their paths."""
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        cert.write_bytes(self.cert)
        key.write_bytes(self.key)
        return str(cert), str(key)


class Authority:
    """Signs certificates; ``pem`` is its own."""

    def __init__(self, name: str = "authority") -> None:
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        begin = datetime.now(UTC) - DAY
        unsigned = _unsigned(self._name, self._name, self._key, begin, begin + 30 * DAY)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        signed = unsigned.add_extension(constraints, critical=True).sign(self._key, hashes.SHA256())
        self.pem = signed.public_bytes(Encoding.PEM)

    def write(self, folder: Path, name: str = "ca") -> str:
        """Writes NAME.pem; returns its path."""
        path = folder / f"{name}.pem"
        path.write_bytes(self.pem)
        return str(path)

    def issue(self, host: str = "127.0.0.1", *, begin: timedelta = -DAY, end: timedelta = DAY) -> Pair:
        """Issues a certificate for an address, valid from ``begin`` to ``end`` from now."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        unsigned = _unsigned(_name("service"), self._name, key, now + begin, now + end)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        signed = unsigned.add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        return Pair(signed.public_bytes(Encoding.PEM), pem_of(key))


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Returns a private key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
