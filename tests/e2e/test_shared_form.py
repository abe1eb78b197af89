"""Services as processes of their own over a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tools.postgres_servers import PostgresServer
from tools.processes import COMMAND, ROOT, ProcessFailed, clean_environment, free_port
from tools.prove.cases import database_down, propagation, revoked, signups
from tools.redis_servers import RedisServer
from tools.shared_form import Installation, Role, shared_form

EXAMPLE = (ROOT / "examples" / "usageflow.yaml").read_text()

pytestmark = pytest.mark.timeout(
    300
)  # several processes start in each, which takes its time on a busy machine

CHECK = ("check", "--method", "POST", "--path", "/api/transactions", "--header", "X-User-Id: alice")


def refusal(role: str, data: Path, *options: str, **settings: str) -> str:
    """Returns what a process says on stderr that must not start."""
    result = subprocess.run(
        [str(COMMAND), "serve", role, *options],
        env=clean_environment(USAGEFLOW_DATA=str(data), **{"USAGEFLOW_LISTEN": "127.0.0.1:0", **settings}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def fetched(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
        text: str = response.read().decode()
        return text


async def test_changes_revocations_and_customers_reach_every_process(
    empty_postgres_url: str, tmp_path: Path
) -> None:
    size = propagation.Size(changes=3, policies=3, decisions=2)
    policies = propagation.policies_at(1_000_000, size)
    with shared_form(empty_postgres_url, tmp_path, policies, decisions=size.decisions) as form:
        assert "3 changes of one of 3 policies" in await propagation.show_propagation(
            form, size, enforced_s=10.0
        )
        status = json.loads(form.installation.command("status", "--output", "json").stdout)
        (application,) = status["applications"]
        assert application["revision"] == 4
        assert sorted(replica["address"] for replica in status["replicas"]) == sorted(form.addresses)
        for replica in status["replicas"]:
            assert replica["live"]
            assert [state["revision"] for state in replica["enforced"]] == [4]
        form.installation.apply(revoked.POLICIES)
        assert form.installation.command("status", "--wait").returncode == 0
        few = revoked.Size(keys=2, callers=1, decisions=2)
        assert "2 keys, 2 decision processes" in await revoked.show_revoked(form, few, dead_s=10.0)
        some = signups.Size(customers=20, seconds=1.0, looked_at=4, decisions=2)
        assert "20 customers in 1 s" in await signups.show_signups(form, some, enforced_s=10.0)
        ended = form.decisions[0]
        code, _ = ended.stop(signal.SIGTERM)
        assert code == 0, ended.output
        left = json.loads(form.installation.command("status", "--output", "json").stdout)["replicas"]
        assert [replica["pid"] for replica in left] == [form.decisions[1].pid]


async def test_decisions_go_on_without_the_database(own_postgres: PostgresServer, tmp_path: Path) -> None:
    size = database_down.Size(calm_s=0.7, paused_s=2.5, killed_s=1.0, callers=2, decisions=2)
    url = own_postgres.url(own_postgres.new_database())
    with shared_form(url, tmp_path, database_down.policies_at(1_000_000), decisions=size.decisions) as form:
        figure = await database_down.show_outage(form, own_postgres, size, p99_s=5.0)
        assert "without the database" in figure


def test_without_database_and_cache_nothing_starts(tmp_path: Path) -> None:
    url = f"postgresql://nobody:secret@127.0.0.1:{free_port()}/none"
    settings = {"USAGEFLOW_DATABASE_URL": url, "USAGEFLOW_HASH_KEY": "ab" * 32}
    sentence = refusal("decision", tmp_path / "data", **settings)
    assert "no snapshot is cached" in sentence
    assert "secret" not in sentence
    folder = tmp_path / "data" / "snapshots"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "last-good.snapshot.json").write_text("{")
    sentence = refusal("decision", tmp_path / "data", **settings)
    assert "cannot use the snapshot" in sentence
    assert "secret" not in refusal("admin", tmp_path / "data", **settings)


def test_every_fault_of_a_form_is_told_at_once(tmp_path: Path) -> None:
    url = "postgresql://127.0.0.1/none"
    told = refusal(
        "decision",
        tmp_path,
        "--workers",
        "2",
        USAGEFLOW_DATABASE_URL=url,
        USAGEFLOW_LISTEN=f"unix:{tmp_path}/s",
    )
    for name in ("USAGEFLOW_HASH_KEY", "USAGEFLOW_REDIS_URL", "USAGEFLOW_LISTEN"):
        assert name in told
    assert "openssl rand -hex 32" in told
    told = refusal(
        "all",
        tmp_path,
        USAGEFLOW_DATABASE_URL=url,
        USAGEFLOW_HASH_KEY="ab" * 32,
        USAGEFLOW_LISTEN="0.0.0.0:0",
        USAGEFLOW_HTTP_LISTEN="",
        USAGEFLOW_INSECURE="1",
    )
    assert "USAGEFLOW_ADMIN_LISTEN" in told


def test_an_installation_is_bootstrapped_once(empty_postgres_url: str, tmp_path: Path) -> None:
    installation = Installation(empty_postgres_url, tmp_path)
    command = [str(COMMAND), "bootstrap", "--output", "json"]
    environment = clean_environment(**installation.shared)
    attempts = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    ended = [(*attempt.communicate(timeout=60), attempt.returncode) for attempt in attempts]
    (made,) = [json.loads(out) for out, _, code in ended if code == 0]
    for out, sentence, code in ended:
        if code:
            assert (code, out) == (1, "")
            assert "was bootstrapped already" in sentence
    installation.admin_token = made["admin_token"]
    with installation.role("admin", "admin") as admin:
        installation.admin_address = admin.wait_ready()
        assert json.loads(installation.command("status", "--output", "json").stdout)["replicas"] == []
        waited = installation.command("status", "--wait", "--timeout", "0.2")
        assert waited.returncode == 1
        assert "no decision process is running" in waited.stderr


def test_all_in_one_process_with_administration_apart(empty_postgres_url: str, tmp_path: Path) -> None:
    installation = Installation(empty_postgres_url, tmp_path)
    installation.bootstrap()
    admin, http = f"127.0.0.1:{free_port()}", free_port()
    settings = {"USAGEFLOW_ADMIN_LISTEN": admin, "USAGEFLOW_HTTP_LISTEN": f"127.0.0.1:{http}"}
    with installation.role("all", "all", **settings) as process:
        address = process.wait_ready()
        installation.admin_address = admin
        installation.apply(EXAMPLE)
        assert installation.command("status", "--wait").returncode == 0
        elsewhere = installation.run(
            "status", USAGEFLOW_ADDR=address, USAGEFLOW_ADMIN_TOKEN=installation.admin_token
        )
        assert elsewhere.returncode == 1
        checked = installation.run(*CHECK, USAGEFLOW_ADDR=address, USAGEFLOW_API_KEY=installation.api_key)
        assert checked.returncode == 0, checked.stderr
        assert fetched(http, "/readyz") == "ready\n"
        metrics = fetched(http, "/metrics")
        assert "usageflow_snapshot_age_seconds" in metrics
        assert "usageflow_snapshot_from_cache" in metrics
        pending = installation.command("meter", "status")
        assert pending.returncode == 0, pending.stderr
        code, _ = process.stop(signal.SIGTERM)
        assert code == 0, process.output


def _children(process: Role) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def _is_there(pid: int) -> bool:
    """Tells whether a process runs. One that ended but that nobody has asked for is a zombie: orphans wait for the machine's init."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_workers_share_a_port_and_are_replaced(
    empty_postgres_url: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    installation = Installation(empty_postgres_url, tmp_path, {"USAGEFLOW_REDIS_URL": redis_server.url})
    installation.bootstrap()
    with (
        installation.role("admin", "admin") as admin,
        installation.role("decision", "decision", "--workers", "2") as parent,
    ):
        installation.admin_address = admin.wait_ready()
        address = parent.wait_ready()
        installation.apply(EXAMPLE)
        assert installation.command("status", "--wait").returncode == 0
        first = _children(parent)
        assert len(first) == 2
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))):
            pass
        os.kill(first[0], signal.SIGKILL)
        parent.wait_until(lambda: len(set(_children(parent)) - {first[0]}) == 2)
        for _ in range(3):
            checked = installation.run(*CHECK, USAGEFLOW_ADDR=address, USAGEFLOW_API_KEY=installation.api_key)
            assert checked.returncode == 0, checked.stderr
        second = _children(parent)
        code, _ = parent.stop(signal.SIGTERM)
        assert code == 0, parent.output
        assert not any(map(_is_there, second))


def test_workers_end_with_a_parent_that_is_killed(
    empty_postgres_url: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    installation = Installation(empty_postgres_url, tmp_path, {"USAGEFLOW_REDIS_URL": redis_server.url})
    with installation.role("decision", "decision", "--workers", "2") as parent:
        parent.wait_ready()
        workers = _children(parent)
        parent.stop(signal.SIGKILL)
        parent.wait_until(lambda: not any(map(_is_there, workers)), 60)


def test_a_worker_that_cannot_start_ends_all(redis_server: RedisServer, tmp_path: Path) -> None:
    settings = {"USAGEFLOW_REDIS_URL": redis_server.url, "USAGEFLOW_HASH_KEY": "ab" * 32}
    settings["USAGEFLOW_DATABASE_URL"] = f"postgresql://127.0.0.1:{free_port()}/none"
    assert "no snapshot is cached" in refusal("decision", tmp_path / "data", "--workers", "2", **settings)


@pytest.mark.parametrize("name", ["two words", "UPPER", ""])
def test_a_bad_name_is_a_sentence(empty_postgres_url: str, tmp_path: Path, name: str) -> None:
    installation = Installation(empty_postgres_url, tmp_path)
    result = installation.run("bootstrap", "--application", name, **installation.shared)
    assert result.returncode == 1
    assert "--application" in result.stderr


def test_a_form_that_cannot_be_made_says_so(empty_postgres_url: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ProcessFailed, match="USAGEFLOW_HASH_KEY"),
        shared_form(empty_postgres_url, tmp_path, EXAMPLE, USAGEFLOW_HASH_KEY=""),
    ):
        pass
