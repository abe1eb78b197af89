"""TLS as the command meets it: a real server with a certificate, and one sentence for each way that a handshake fails."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from tests.certificates import DAY, Authority, Pair
from tests.unit.cli.conftest import Run, Service, handlers
from usageflow.cli.failure import Failure
from usageflow.cli.settings import read_settings
from usageflow.v1 import common_pb2
from usageflow.v1.decision_pb2 import CheckResponse

CHECK = ("check", "--method", "GET", "--path", "/a")
AUTHORITY = Authority()


@contextmanager
def serving(pair: Pair) -> Iterator[str]:
    """A service that allows everything, over TLS; yields its address."""
    service = Service()
    service.will("Check", CheckResponse(decision=common_pb2.DECISION_ALLOW))
    with ThreadPoolExecutor(max_workers=1) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers(handlers(service))
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pair.key, pair.cert)]))
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("pair", "signed_by", "sentence"),
    [
        (AUTHORITY.issue(), AUTHORITY, ""),
        (
            AUTHORITY.issue(),
            Authority("stranger"),
            "{} shows a certificate that nobody trusted here has signed: ",
        ),
        (
            AUTHORITY.issue("10.1.2.3"),
            AUTHORITY,
            "the certificate of {} is for another name: set USAGEFLOW_ADDR",
        ),
        (AUTHORITY.issue(begin=-2 * DAY, end=-DAY), AUTHORITY, "the certificate of {} has expired: renew it"),
    ],
)
def test_a_handshake_works_or_is_one_sentence(
    bare: Run, tmp_path: Path, pair: Pair, signed_by: Authority, sentence: str
) -> None:
    with serving(pair) as address:
        env = {"USAGEFLOW_ADDR": address, "USAGEFLOW_CA_FILE": signed_by.write(tmp_path)}
        result = bare(*CHECK, USAGEFLOW_API_KEY="uf_x", **env)
    assert result.exit_code == (1 if sentence else 0)
    assert result.stderr.startswith(sentence.format(address))
    assert len(result.stderr.splitlines()) == (1 if sentence else 0)


def test_a_service_without_tls(run: Run, tmp_path: Path) -> None:
    result = run(*CHECK, USAGEFLOW_CA_FILE=AUTHORITY.write(tmp_path))
    assert result.exit_code == 1
    assert "does not speak TLS: unset USAGEFLOW_CA_FILE" in result.stderr


@pytest.mark.parametrize("named", ["CA_FILE", "CLIENT_CERT", "CLIENT_KEY"])
def test_pem_files_that_are_not_there(bare: Run, tmp_path: Path, named: str) -> None:
    good = AUTHORITY.write(tmp_path)
    env = {f"USAGEFLOW_{name}": good for name in ("CA_FILE", "CLIENT_CERT", "CLIENT_KEY")}
    result = bare(*CHECK, USAGEFLOW_API_KEY="uf_x", **{**env, f"USAGEFLOW_{named}": "nope"})
    assert result.exit_code == 1
    assert (
        result.stderr == f"cannot read nope: No such file or directory; set USAGEFLOW_{named} to a PEM file\n"
    )


@pytest.mark.parametrize(
    ("env", "uses_tls"),
    [
        ({}, False),
        ({"USAGEFLOW_ADDR": "unix:/x"}, False),
        ({"USAGEFLOW_CA_FILE": "ca"}, True),
        ({"USAGEFLOW_CLIENT_CERT": "c", "USAGEFLOW_CLIENT_KEY": "k"}, True),
        ({"USAGEFLOW_ADDR": "h:1"}, True),
        ({"USAGEFLOW_ADDR": "h:1", "USAGEFLOW_INSECURE": "1"}, False),
        ({"USAGEFLOW_ADDR": "h:1", "USAGEFLOW_INSECURE": "1", "USAGEFLOW_CA_FILE": "ca"}, True),
    ],
)
def test_when_tls_is_spoken(env: dict[str, str], uses_tls: bool) -> None:
    assert read_settings({"USAGEFLOW_DATA": "/dev/null", **env}).uses_tls is uses_tls


@pytest.mark.parametrize("one", ["USAGEFLOW_CLIENT_CERT", "USAGEFLOW_CLIENT_KEY"])
def test_a_clients_certificate_goes_with_its_key(one: str) -> None:
    with pytest.raises(Failure, match="USAGEFLOW_CLIENT_CERT and USAGEFLOW_CLIENT_KEY go together"):
        read_settings({"USAGEFLOW_DATA": "/dev/null", one: "x"})
