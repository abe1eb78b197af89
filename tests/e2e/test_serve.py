"""The life of the process ``usageflow serve``: real processes, real signals, real files."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import stat
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.certificates import Authority
from tools.processes import COMMAND, ROOT, Process, Service, clean_environment, free_port
from usageflow.runtime.embedded import DATABASE_NAME
from usageflow.storage.sql.alembic_runner import downgrade
from usageflow.storage.sql.database import sqlite_engine


def failing(data: Path, **environment: str) -> str:
    """Returns the one sentence on stderr of a service that must not start."""
    result = subprocess.run(
        [str(COMMAND), "serve"],
        env=clean_environment(
            **{"USAGEFLOW_DATA": str(data), "USAGEFLOW_LISTEN": "127.0.0.1:0", **environment}
        ),
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0(data: Path, signal_number: int) -> None:
    with Service(data) as service:
        service.wait_ready()
        code, seconds = service.stop(signal_number)
    assert code == 0, service.output
    assert seconds < 10  # the budget of 2 s is shown by `make prove`, away from other tests


def test_the_first_start_makes_credentials_and_a_second_keeps_them(data: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        assert "uf_" not in service.output
        assert (
            "usageflow check" in service.output.replace("\n", " ") or "check --method POST" in service.output
        )
        first = service.credentials
        service.stop()
    assert stat.S_IMODE((data / "credentials.toml").stat().st_mode) == 0o600
    assert {"api_key", "admin_token", "address"} <= set(first)
    with Service(data) as service:
        service.wait_ready()
        second = service.credentials
        assert "check --method POST" not in service.output
        service.stop()
    assert {**second, "address": ""} == {**first, "address": ""}


def test_the_database_holds_hashes_only(data: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        service.command(
            "check", "--method", "POST", "--path", "/api/transactions", "--header", "X-User-Id: alice"
        )
        secrets = service.credentials
        service.stop()
    stored = b"".join(path.read_bytes() for path in data.glob("usageflow.db*"))
    for name in ("api_key", "admin_token", "hash_key"):
        assert secrets[name].encode() not in stored, name


def test_http_tells_health_readiness_and_metrics(data: Path) -> None:
    port = free_port()
    service = Service(data)
    service.environment["USAGEFLOW_HTTP_LISTEN"] = f"127.0.0.1:{port}"
    with service:
        service.wait_ready()
        for path in ("/healthz", "/readyz"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                assert response.status == 200
        service.command("check", "--method", "GET", "--path", "/x")
        service.command("check", "--method", "POST", "--path", "/api/transactions")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            text = response.read().decode()
        assert re.search(r'usageflow_decision_decisions_total{allowed="true",.*reason="NO_POLICY"} 1', text)
        assert "rpc_server_call_duration_seconds_bucket" in text
        assert re.search(r'usageflow_store_operations_total{.*outcome="ok"} [1-9]', text)
        service.stop()


def test_a_taken_port_is_one_sentence(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        sentence = failing(data, USAGEFLOW_LISTEN=address)
        assert address in sentence
        assert "USAGEFLOW_LISTEN" in sentence
        sentence = failing(data, USAGEFLOW_HTTP_LISTEN=address)
        assert "USAGEFLOW_HTTP_LISTEN" in sentence


def test_an_unwritable_folder_is_one_sentence(data: Path) -> None:
    assert "USAGEFLOW_DATA" in failing(Path("/dev/null/x"))


def test_tls_on_this_machine_and_the_command(data: Path, tmp_path: Path) -> None:
    authority = Authority()
    cert, key = authority.issue().write(tmp_path)
    own = authority.issue().write(tmp_path, "client")
    trust = {
        "USAGEFLOW_CA_FILE": authority.write(tmp_path),
        "USAGEFLOW_CLIENT_CERT": own[0],
        "USAGEFLOW_CLIENT_KEY": own[1],
    }
    service = Service(data)
    service.environment |= {
        "USAGEFLOW_TLS_CERT": cert,
        "USAGEFLOW_TLS_KEY": key,
        "USAGEFLOW_TLS_CLIENT_CA": trust["USAGEFLOW_CA_FILE"],
    }
    with service:
        address = service.wait_ready()
        assert service.credentials["address"] == address
        assert "It speaks TLS: set USAGEFLOW_CA_FILE" in service.output
        assert service.command("check", "--method", "GET", "--path", "/x", **trust).returncode == 0
        stranger = {**trust, "USAGEFLOW_CA_FILE": Authority("stranger").write(tmp_path, "stranger")}
        for environment, sentence in (
            (
                stranger,
                f"{address} shows a certificate that nobody trusted here has signed: set USAGEFLOW_CA_FILE",
            ),
            ({}, f"{address} ends the connection at once: where it serves TLS, set USAGEFLOW_CA_FILE"),
            (
                {"USAGEFLOW_CA_FILE": trust["USAGEFLOW_CA_FILE"]},
                f"{address} ends the connection at once: where it asks for certificates of clients, set",
            ),
        ):
            refused = service.command("check", "--method", "GET", "--path", "/x", **environment)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert refused.stderr.startswith(sentence), refused.stderr
            assert len(refused.stderr.splitlines()) == 1
        service.stop()


def test_a_key_of_another_certificate_is_one_sentence(data: Path, tmp_path: Path) -> None:
    cert, _ = Authority().issue().write(tmp_path)
    _, key = Authority().issue().write(tmp_path, "other")
    sentence = failing(data, USAGEFLOW_TLS_CERT=cert, USAGEFLOW_TLS_KEY=key)
    assert "USAGEFLOW_TLS_KEY" in sentence
    assert "not the key of the certificate" in sentence


def test_a_unix_socket_is_served_and_one_in_no_folder_refused(data: Path, tmp_path: Path) -> None:
    listen = f"unix:{tmp_path}/usageflow.sock"
    with Service(data, listen) as service:
        assert service.wait_ready() == listen
        assert service.command("check", "--method", "GET", "--path", "/x").returncode == 0
        assert "in use" in failing(tmp_path / "other", USAGEFLOW_LISTEN=listen)
        service.stop()
    assert "USAGEFLOW_LISTEN" in failing(data, USAGEFLOW_LISTEN="unix:/nonexistent/usageflow.sock")


def test_a_file_that_is_no_socket_is_left_alone(data: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("kept")
    for setting in ("USAGEFLOW_LISTEN", "USAGEFLOW_HTTP_LISTEN"):
        assert setting in failing(data, **{setting: f"unix:{precious}"})
    assert precious.read_text() == "kept"


def test_only_the_owner_can_read_what_is_stored(data: Path) -> None:
    data.mkdir(mode=0o755)
    with Service(data) as service:
        service.wait_ready()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()}
        service.stop()
    assert all(mode & 0o077 == 0 for mode in modes.values()), modes


def test_one_folder_serves_one_process(data: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        assert "in use" in failing(data)
        service.stop()


def test_a_newer_database_is_one_sentence(data: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        service.stop()
    with sqlite3.connect(data / DATABASE_NAME) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "newer UsageFlow" in failing(data)


def test_lost_credentials_are_one_sentence(data: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        service.stop()
    (data / "credentials.toml").unlink()
    assert "credentials.toml" in failing(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("USAGEFLOW_LISTEN", "0.0.0.0:0"),
        ("USAGEFLOW_LISTEN", "nonsense"),
        ("USAGEFLOW_LISTEN", "unix:"),
        ("USAGEFLOW_REDIS_URL", "http://127.0.0.1"),
        ("USAGEFLOW_DATABASE_URL", "mysql://127.0.0.1/x"),
        ("USAGEFLOW_HASH_KEY", "short"),
        ("USAGEFLOW_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_bad_setting_is_one_sentence(data: Path, name: str, value: str) -> None:
    assert name in failing(data, **{name: value})


def test_single_services_need_a_shared_database(data: Path) -> None:
    for role in ("decision", "admin", "meter"):
        process = Process([str(COMMAND), "serve", role], clean_environment(USAGEFLOW_DATA=str(data)))
        with process:
            code, _ = process.stop(0)
        assert code == 1
        assert "usageflow serve" in process.output
        assert ("--snapshot FILE" in process.output) == (role == "decision")


def test_an_older_folder_migrates_after_a_backup_copy(data: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        service.stop()
    _downgrade(data / DATABASE_NAME)
    with Service(data) as service:
        service.wait_ready()
        answer = service.command("check", "--method", "POST", "--path", "/api/transactions")
        assert answer.returncode == 0, answer.stderr
        service.stop()
    (backup,) = data.glob(f"{DATABASE_NAME}.backup-0001-*")
    with sqlite3.connect(backup) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert connection.execute("SELECT name FROM applications").fetchone() == ("demo",)
    connection.close()


def _downgrade(path: Path) -> None:
    """Takes the database back to revision 0001, as an older version would have left it."""
    engine = sqlite_engine(path, begin="BEGIN IMMEDIATE", threads=1, foreign_keys=False)
    with engine.begin() as connection:
        downgrade(connection, "0001", now_us=0)
    engine.dispose()
