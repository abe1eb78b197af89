from __future__ import annotations

import os
from pathlib import Path

import pytest

from usageflow.domain.errors import InvalidArgument
from usageflow.runtime.settings import Address, Settings, load_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("USAGEFLOW_"):
            monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(f"USAGEFLOW_{name}", value)
    return load_settings()


def refused(monkeypatch: pytest.MonkeyPatch, **values: str) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as error:
        load(monkeypatch, **values)
    return {fault.field: f"{fault.message}; {fault.fix}" for fault in error.value.faults}


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch)
    assert (str(settings.grpc_address), str(settings.http_address)) == ("127.0.0.1:50051", "127.0.0.1:50052")
    assert (settings.data, settings.insecure, settings.log_level) == (Path(".usageflow"), False, "INFO")


@pytest.mark.parametrize(
    ("listen", "http", "expected"),
    [
        ("127.0.0.1:6000", None, "127.0.0.1:0"),
        ("127.0.0.1:50051", "", "None"),
        ("127.0.0.1:6000", "127.0.0.1:6001", "127.0.0.1:6001"),
        ("unix:/run/uf.sock", None, "127.0.0.1:0"),
    ],
)
def test_where_http_is_served(
    monkeypatch: pytest.MonkeyPatch, listen: str, http: str | None, expected: str
) -> None:
    values = {"LISTEN": listen} | ({} if http is None else {"HTTP_LISTEN": http})
    assert str(load(monkeypatch, **values).http_address) == expected


def test_every_fault_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = refused(
        monkeypatch,
        LISTEN="0.0.0.0:50051",
        HTTP_LISTEN="[::]:80",
        HASH_KEY="abc",
        LOG_LEVEL="loud",
        DATABASE_URL="mysql://u:secret@db/x",
        REDIS_URL="redis://u:secret@x:port",
    )
    assert set(faults) == {
        "USAGEFLOW_LISTEN",
        "USAGEFLOW_HTTP_LISTEN",
        "USAGEFLOW_HASH_KEY",
        "USAGEFLOW_LOG_LEVEL",
        "USAGEFLOW_DATABASE_URL",
        "USAGEFLOW_REDIS_URL",
    }
    assert "secret" not in str(faults)
    assert "abc" not in faults["USAGEFLOW_HASH_KEY"]


@pytest.mark.parametrize(
    "listen", ["", "50051", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "host:x", "h:١"]
)
def test_what_is_no_address(monkeypatch: pytest.MonkeyPatch, listen: str) -> None:
    assert set(refused(monkeypatch, LISTEN=listen)) == {"USAGEFLOW_LISTEN"}


@pytest.mark.parametrize("name", ["LISTEN", "HTTP_LISTEN"])
@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", ":1", "10.0.0.1:1", "example.org:1"])
def test_plaintext_beyond_this_machine_needs_to_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    faults = refused(monkeypatch, **{name: address})
    assert set(faults) == {f"USAGEFLOW_{name}"}
    assert "USAGEFLOW_INSECURE=1" in faults[f"USAGEFLOW_{name}"]
    assert load(monkeypatch, **{name: address, "INSECURE": "1"}).insecure


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/tmp/x"])
def test_this_machine_needs_no_leave(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    assert str(load(monkeypatch, LISTEN=address).grpc_address) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[::1]:50051", Address("::1", 50051)),
        (":50051", Address("0.0.0.0", 50051)),
        ("unix:/tmp/a:b", Address("/tmp/a:b", 0, unix=True)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert Address.parse(text) == address


def test_a_key_of_32_bytes_is_taken_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, HASH_KEY="ab" * 32, LOG_LEVEL="debug")
    assert settings.hash_key.get_secret_value() == "ab" * 32
    assert "abab" not in repr(settings)
    assert settings.log_level == "DEBUG"


def test_an_address_of_redis_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, REDIS_URL="redis://u:secret@127.0.0.1:6379")
    assert settings.redis_url.get_secret_value() == "redis://u:secret@127.0.0.1:6379"
    assert "u:secret" not in repr(settings)
