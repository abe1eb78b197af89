from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from usageflow.client import ClientConfig, UsageFlowClient, set_consumer, set_metadata, set_quantity
from usageflow.client._core.keys import is_local
from usageflow.client._core.rpc_status import RpcDetails, read_details


def test_the_placeholder_counts_as_not_given() -> None:
    assert ClientConfig.load("YOUR_API_KEY", environ={}).api_key == ""
    assert ClientConfig.load("YOUR_API_KEY", environ={"USAGEFLOW_API_KEY": "uf_1"}).api_key == "uf_1"
    assert ClientConfig.load("uf_2", environ={"USAGEFLOW_API_KEY": "uf_1"}).api_key == "uf_2"
    with pytest.raises(ValueError, match="copy it again"):
        ClientConfig.load("uf_1\nx: y", environ={})


def test_addresses() -> None:
    assert ClientConfig.load(environ={}).address == "127.0.0.1:50051"
    assert ClientConfig.load(environ={"USAGEFLOW_ADDR": "h:1"}).address == "h:1"
    assert ClientConfig.load(address="unix:/run/uf", environ={"USAGEFLOW_ADDR": "h:1"}).plaintext


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/x", "dns:///localhost:1", "127.8.8.8"]
)
def test_local_addresses_may_be_plaintext(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize(
    "address", ["10.0.0.1:1", "example.com:1", "localhost.example.com:1", "[2001:db8::1]:1", "0.0.0.0:1"]
)
def test_others_are_tls_unless_allowed(address: str, caplog: pytest.LogCaptureFixture) -> None:
    assert not is_local(address)
    assert not ClientConfig.load("uf_1", address=address, environ={}).plaintext
    config = ClientConfig.load("uf_1", address=address, environ={"USAGEFLOW_INSECURE": "1"})
    assert config.plaintext
    with caplog.at_level(logging.WARNING):
        UsageFlowClient(config)
    assert "plaintext" in caplog.text


def test_the_ca_file_is_read_or_named(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_bytes(b"PEM")
    env = {"USAGEFLOW_CA_FILE": str(pem)}
    assert ClientConfig.load("uf_1", address="h:1", environ=env).ca_certificates == b"PEM"
    with pytest.raises(ValueError, match="USAGEFLOW_CA_FILE"):
        ClientConfig.load("uf_1", address="h:1", environ={"USAGEFLOW_CA_FILE": str(tmp_path / "no")})


def test_a_pem_file_asks_for_tls_on_this_machine_too(tmp_path: Path) -> None:
    pem = tmp_path / "file.pem"
    pem.write_bytes(b"PEM")
    assert ClientConfig.load("uf_1", environ={}).plaintext
    assert not ClientConfig.load("uf_1", environ={"USAGEFLOW_CA_FILE": str(pem)}).plaintext
    own = {"USAGEFLOW_CLIENT_CERT": str(pem), "USAGEFLOW_CLIENT_KEY": str(pem)}
    config = ClientConfig.load("uf_1", address="h:1", environ={**own, "USAGEFLOW_INSECURE": "1"})
    assert (config.plaintext, config.client_certificate, config.client_key) == (False, b"PEM", b"PEM")
    assert "PEM" not in repr(config).replace("client_certificate=b'PEM'", "")
    with pytest.raises(ValueError, match="USAGEFLOW_CLIENT_KEY go together"):
        ClientConfig.load("uf_1", environ={"USAGEFLOW_CLIENT_CERT": str(pem)})


@pytest.mark.parametrize("bad", [{"fail_mode": "maybe"}, {"deadline_s": 0}, {"max_events": 0}])
def test_senseless_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        ClientConfig(**bad)


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (None, {}, 0.05),
        (None, {"USAGEFLOW_DEADLINE_MS": "200"}, 0.2),
        (1.5, {"USAGEFLOW_DEADLINE_MS": "200"}, 1.5),
    ],
)
def test_the_deadline_comes_from_the_argument_then_the_environment(
    given: float | None, environment: dict[str, str], expected: float
) -> None:
    assert ClientConfig.load("uf_1", deadline_s=given, environ=environment).deadline_s == expected


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "\u0661", "99999999"])
def test_an_unreadable_deadline_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="USAGEFLOW_DEADLINE_MS"):
        ClientConfig.load("uf_1", environ={"USAGEFLOW_DEADLINE_MS": text})


def test_without_a_key_one_warning_and_no_connection(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        client = UsageFlowClient(ClientConfig.load("YOUR_API_KEY", environ={}))
    assert [record.message for record in caplog.records if "no API key" in record.message] == [
        caplog.messages[0]
    ]
    assert client.status().state == "unmetered"
    assert not client.watches("GET", "/")
    client.start()  # outside an event loop: it would raise if it tried to connect


def test_disabled(caplog: pytest.LogCaptureFixture) -> None:
    config = ClientConfig.load("uf_1", environ={"USAGEFLOW_DISABLED": "1"})
    client = UsageFlowClient(config)
    assert client.status().state == "disabled"
    assert not client.watches("GET", "/")
    assert UsageFlowClient(ClientConfig.load("uf_1", environ={})).status().state == "idle"


def test_hooks_outside_a_request_check_their_values_and_do_nothing() -> None:
    set_quantity(3)
    set_consumer("acme")
    set_metadata({"a": 1}, b=2)
    with pytest.raises(ValueError, match="must"):
        set_quantity(-1)
    with pytest.raises(ValueError, match="must"):
        set_consumer("")
    with pytest.raises(ValueError, match="must"):
        set_metadata({"a": object()})


def test_error_details_are_read() -> None:
    status = status_pb2.Status(code=9, message="m")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="PLAN_UNKNOWN", domain="usageflow"))
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.seconds = 2
    status.details.add().Pack(retry)
    status.details.add().Pack(error_details_pb2.BadRequest())
    assert read_details(status.SerializeToString()) == RpcDetails("PLAN_UNKNOWN", 2.0)


@given(st.binary(max_size=200))
def test_garbage_details_are_none(trailer: bytes) -> None:
    assert isinstance(read_details(trailer), RpcDetails)


def test_release_and_service_come_from_the_argument_then_the_environment() -> None:
    environ = {"USAGEFLOW_RELEASE": "v1", "USAGEFLOW_SERVICE": " web\n"}
    assert (loaded := ClientConfig.load(environ=environ)).release == "v1"
    assert loaded.service == "web"
    named = ClientConfig.load(release="v\x002" + "x" * 200, service="worker", environ=environ)
    assert (named.release, named.service) == ("v2" + "x" * 126, "worker")
