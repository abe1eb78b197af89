from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog.testing
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.certificates import DAY, Authority, pem_of
from tests.unit.fakes import steady
from usageflow.domain.errors import InvalidArgument
from usageflow.rpc.server import ServerOptions
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.settings import Settings, load_settings
from usageflow.runtime.tls import ServerCertificate, TlsFiles, check_key, date_fault, read_certificate

AUTHORITY = Authority()
PAIR = AUTHORITY.issue()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A good certificate and its key; the environment names nothing."""
    for name in list(os.environ):
        if name.startswith("USAGEFLOW_"):
            monkeypatch.delenv(name)
    return PAIR.write(tmp_path)


def load(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(f"USAGEFLOW_{name}", value)
    return load_settings()


def refused(monkeypatch: pytest.MonkeyPatch, **values: str) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as error:
        load(monkeypatch, **values)
    assert all(fault.fix != "correct it" for fault in error.value.faults)
    return {
        fault.field.removeprefix("USAGEFLOW_"): f"{fault.message}; {fault.fix}"
        for fault in error.value.faults
    }


def test_tls_opens_the_service_to_other_machines(
    monkeypatch: pytest.MonkeyPatch, files: tuple[str, str]
) -> None:
    cert, key = files
    assert set(refused(monkeypatch, LISTEN="0.0.0.0:1")) == {"LISTEN"}
    settings = load(monkeypatch, LISTEN="0.0.0.0:1", TLS_CERT=cert, TLS_KEY=key)
    assert settings.tls == TlsFiles(Path(cert), Path(key))
    assert "in plaintext" in refused(monkeypatch, HTTP_LISTEN="0.0.0.0:2")["HTTP_LISTEN"]


def test_without_files_there_is_no_tls(monkeypatch: pytest.MonkeyPatch, files: tuple[str, str]) -> None:
    assert load(monkeypatch, TLS_CERT="", TLS_KEY="", TLS_CLIENT_CA="").tls is None


def test_every_fault_of_the_files_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, files: tuple[str, str], tmp_path: Path
) -> None:
    cert, key = files
    bad = tmp_path / "bad.pem"
    bad.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    faults = refused(
        monkeypatch, TLS_CERT=str(bad), TLS_KEY=key, TLS_CLIENT_CA=str(tmp_path / "none"), LISTEN="x"
    )
    assert set(faults) == {"TLS_CERT", "TLS_CLIENT_CA", "LISTEN"}
    assert "no certificate that can be read" in faults["TLS_CERT"]
    assert "No such file" in faults["TLS_CLIENT_CA"]
    faults = refused(monkeypatch, TLS_CERT=cert, TLS_KEY=str(bad), TLS_CLIENT_CA=key, LISTEN="127.0.0.1:0")
    assert set(faults) == {"TLS_KEY", "TLS_CLIENT_CA"}
    assert "no private key" in faults["TLS_KEY"]


def test_certificate_and_key_go_together(monkeypatch: pytest.MonkeyPatch, files: tuple[str, str]) -> None:
    cert, key = files
    assert "USAGEFLOW_TLS_CERT is" in refused(monkeypatch, TLS_CERT=cert)["TLS_KEY"]
    faults = refused(monkeypatch, TLS_CERT="", TLS_KEY=key, TLS_CLIENT_CA=cert)
    assert "set USAGEFLOW_TLS_CERT" in faults["TLS_KEY"]
    assert "set USAGEFLOW_TLS_CERT too" in faults["TLS_CLIENT_CA"]


def key_file(folder: Path, data: bytes) -> Path:
    path = folder / "other.key"
    path.write_bytes(data)
    return path


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    PAIR.write(tmp_path)
    certificate = read_certificate(tmp_path / "server.pem")
    check_key(tmp_path / "server.key", certificate)
    other = ec.generate_private_key(ec.SECP256R1())
    locked = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    edwards = ed25519.Ed25519PrivateKey.generate()
    raw = edwards.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for data, said in (
        (pem_of(other), "not the key of the certificate"),
        (locked, "is encrypted"),
        (raw, "neither an RSA nor an ECDSA key"),
        (PAIR.cert, "no private key"),
    ):
        with pytest.raises(ValueError, match=said):
            check_key(key_file(tmp_path, data), certificate)


def said_of(read: Callable[[], object]) -> str | None:
    try:
        read()
    except ValueError as error:
        return str(error)
    return None


@steady
@given(st.binary(max_size=200), st.sampled_from([b"", PAIR.cert, PAIR.key]), st.integers(0, 900))
def test_any_bytes_are_read_or_refused_in_our_words(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, good: bytes, at: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = key_file(folder, good[:at] + junk + good[at:])
    certificate = x509.load_pem_x509_certificate(PAIR.cert)
    for said in (said_of(lambda: read_certificate(path)), said_of(lambda: check_key(path, certificate))):
        assert said is None or (": " in said and str(path) in said)


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [(-DAY, DAY, ""), (-2 * DAY, -DAY, "expired at"), (DAY, 2 * DAY, "not valid before")],
)
def test_dates_are_a_warning_and_no_fault(
    monkeypatch: pytest.MonkeyPatch,
    files: tuple[str, str],
    tmp_path: Path,
    begin: object,
    end: object,
    said: str,
) -> None:
    cert, key = AUTHORITY.issue(begin=begin, end=end).write(tmp_path)  # type: ignore[arg-type]
    fault = date_fault(read_certificate(Path(cert)), SystemClock().now_us())
    assert said in fault if said else not fault
    settings = load(monkeypatch, TLS_CERT=cert, TLS_KEY=key)
    assert settings.tls is not None
    with structlog.testing.capture_logs() as logs:
        ServerCertificate(settings.tls, SystemClock())
    assert [said in entry["event"] for entry in logs] == ([True] if said else [])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ServerOptions(reflection=True, max_connection_age_s=0)),
        (
            {"REFLECTION": "0", "MAX_CONNECTION_AGE_S": "30"},
            ServerOptions(reflection=False, max_connection_age_s=30),
        ),
        (
            {"LISTEN": "0.0.0.0:1", "INSECURE": "1"},
            ServerOptions(reflection=False, max_connection_age_s=600),
        ),
        (
            {"LISTEN": "0.0.0.0:1", "INSECURE": "1", "REFLECTION": "1", "MAX_CONNECTION_AGE_S": "0"},
            ServerOptions(reflection=True, max_connection_age_s=0),
        ),
    ],
)
def test_what_other_machines_see(
    monkeypatch: pytest.MonkeyPatch, files: tuple[str, str], values: dict[str, str], expected: ServerOptions
) -> None:
    assert load(monkeypatch, **values).server_options == expected


@pytest.mark.parametrize("age", ["-1", "86401", "soon", ""])
def test_an_age_that_is_none(monkeypatch: pytest.MonkeyPatch, files: tuple[str, str], age: str) -> None:
    with pytest.raises(InvalidArgument, match="USAGEFLOW_MAX_CONNECTION_AGE_S"):
        load(monkeypatch, MAX_CONNECTION_AGE_S=age)
