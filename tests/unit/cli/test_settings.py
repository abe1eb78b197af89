"""Where the service is and who we are."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from usageflow.cli.failure import Failure
from usageflow.cli.settings import DEFAULT_ADDRESS, read_settings
from usageflow.v1 import common_pb2
from usageflow.v1.decision_pb2 import CheckResponse

CHECK = ("check", "--method", "GET", "--path", "/a")
ALLOWED = CheckResponse(decision=common_pb2.DECISION_ALLOW)


def stored(folder: Path, text: str) -> dict[str, str]:
    (folder / "credentials.toml").write_text(text)
    return {"USAGEFLOW_DATA": str(folder)}


def test_defaults(tmp_path: Path) -> None:
    settings = read_settings({"USAGEFLOW_DATA": str(tmp_path)})
    assert settings.address == DEFAULT_ADDRESS == "127.0.0.1:50051"
    assert (settings.api_key, settings.admin_token, settings.insecure) == ("", "", False)
    assert read_settings({}).credentials_file == Path(".usageflow/credentials.toml")


def test_the_file_beats_the_defaults_and_the_environment_the_file(tmp_path: Path) -> None:
    text = 'api_key = "uf_file"\nadmin_token = "uf_admin_file"\naddress = "127.0.0.1:1"\nhash_key = "x"\n'
    env = stored(tmp_path, text)
    settings = read_settings({**env, "USAGEFLOW_API_KEY": ""})
    assert (settings.api_key, settings.admin_token, settings.address) == (
        "uf_file",
        "uf_admin_file",
        "127.0.0.1:1",
    )
    own = {
        "USAGEFLOW_API_KEY": " uf_env\n",
        "USAGEFLOW_ADMIN_TOKEN": "uf_admin_env",
        "USAGEFLOW_ADDR": "unix:/tmp/s",
    }
    settings = read_settings({**env, **own})
    assert (settings.api_key, settings.admin_token, settings.address) == (
        "uf_env",
        "uf_admin_env",
        "unix:/tmp/s",
    )


@pytest.mark.parametrize("text", ["api_key = ", "\x00", "a = 'é"])
def test_a_broken_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(Failure, match=r"^cannot read .*credentials.toml: .*; correct it, or restore it"):
        read_settings(stored(tmp_path, text))


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "credentials.toml").mkdir()
    with pytest.raises(Failure, match="Is a directory"):
        read_settings({"USAGEFLOW_DATA": str(tmp_path)})


def test_a_data_folder_that_is_none() -> None:
    assert read_settings({"USAGEFLOW_DATA": "/dev/null/x"}).address == DEFAULT_ADDRESS


@pytest.mark.parametrize("key", ["uf_é", "uf key", "x" * 600])
def test_a_key_that_no_key_is(key: str) -> None:
    with pytest.raises(
        Failure, match="USAGEFLOW_API_KEY holds characters that no key has: copy the key again"
    ):
        read_settings({"USAGEFLOW_API_KEY": key, "USAGEFLOW_DATA": "/dev/null"})


@pytest.mark.parametrize(
    "address", ["localhost", "http://x:1", "x:0", "x:70000", "unix:", "a b:1", "::1:5", "x:"]
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(Failure, match="set USAGEFLOW_ADDR to HOST:PORT or unix:PATH"):
        read_settings({"USAGEFLOW_ADDR": address, "USAGEFLOW_DATA": "/dev/null"})


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("unix:/run/x", True),
        ("10.0.0.1:1", False),
        ("[2001:db8::1]:1", False),
        ("localhost.example.com:1", False),
        ("127.0.0.1.example.com:1", False),
        ("0.0.0.0:1", False),
    ],
)
def test_plaintext_stays_on_this_machine(address: str, is_local: bool) -> None:
    settings = read_settings({"USAGEFLOW_ADDR": address, "USAGEFLOW_DATA": "/dev/null"})
    assert settings.is_local is is_local


def test_the_command_reads_the_credentials_file(bare: Any, service: Any, tmp_path: Path) -> None:
    folder = tmp_path / ".usageflow"
    folder.mkdir()
    stored(folder, f'api_key = "uf_file"\naddress = "{service.address}"\n')
    service.will("Check", ALLOWED, ALLOWED)
    assert bare(*CHECK).exit_code == 0
    assert bare(*CHECK, USAGEFLOW_API_KEY="uf_env").exit_code == 0
    assert [call[2]["authorization"] for call in service.calls] == ["Bearer uf_file", "Bearer uf_env"]


def test_no_credential(bare: Any) -> None:
    result = bare(*CHECK)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "no credential: set USAGEFLOW_API_KEY, or start `make run` here, "
        "which writes .usageflow/credentials.toml\n"
    )
    assert "set USAGEFLOW_ADMIN_TOKEN" in bare("usage").stderr


def test_nobody_listens(bare: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody else gets this port
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = bare(*CHECK, USAGEFLOW_API_KEY="uf_x", USAGEFLOW_ADDR=address)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"cannot reach {address}: start it with `make run`\n"


def test_a_root_certificate_that_cannot_be_read(bare: Any) -> None:
    result = bare(
        *CHECK, USAGEFLOW_ADDR="service.test:443", USAGEFLOW_API_KEY="uf_x", USAGEFLOW_CA_FILE="nope"
    )
    assert result.exit_code == 1
    assert result.stderr == (
        "cannot read nope: No such file or directory; set USAGEFLOW_CA_FILE to a PEM file\n"
    )


def test_tls_off_this_machine(bare: Any) -> None:
    result = bare(*CHECK, USAGEFLOW_ADDR="service.invalid:443", USAGEFLOW_API_KEY="uf_x")
    assert result.exit_code == 1
    assert result.stderr == (
        "cannot reach service.invalid:443: start it with `make run`, or check USAGEFLOW_ADDR and, "
        "for its TLS certificate, USAGEFLOW_CA_FILE\n"
    )


def test_plaintext_off_this_machine_warns(bare: Any) -> None:
    env = {"USAGEFLOW_ADDR": "service.invalid:443", "USAGEFLOW_API_KEY": "uf_x", "USAGEFLOW_INSECURE": "1"}
    lines = bare(*CHECK, **env).stderr.splitlines()
    assert lines == [
        "warning: USAGEFLOW_INSECURE=1 sends the key to service.invalid:443 in plain text",
        "cannot reach service.invalid:443: start it with `make run`",
    ]
