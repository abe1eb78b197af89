"""The servers that tests and proofs start: what a kill leaves, and that none outlives whoever started it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tools.postgres_servers import PostgresServer, paused
from tools.processes import ROOT

STARTER = """
import sys, time
from tools.postgres_servers import PostgresServer
with PostgresServer(quick=True) as server:
    print((server.folder / "data" / "postmaster.pid").read_text().split()[0], server.folder, flush=True)
    time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]


def test_what_was_committed_outlives_a_kill_and_a_stop(own_postgres: PostgresServer) -> None:
    own_postgres.execute("CREATE TABLE songs (title TEXT)")
    for end in (own_postgres.kill, own_postgres.stop):
        own_postgres.execute("INSERT INTO songs VALUES ('one')")
        end()
        assert not own_postgres.is_running
        with pytest.raises(psycopg.OperationalError):
            own_postgres.connection()
        own_postgres.start()
        own_postgres.wait_ready()
    with own_postgres.connection() as connection:
        assert connection.execute("SELECT count(*) FROM songs").fetchone() == (2,)


def test_a_paused_server_answers_nothing_until_it_goes_on(own_postgres: PostgresServer) -> None:
    with own_postgres.connection() as connection:
        with paused(own_postgres), pytest.raises(psycopg.OperationalError):
            psycopg.connect(own_postgres.url(), connect_timeout=2)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_databases_are_copies_of_one(own_postgres: PostgresServer) -> None:
    template = own_postgres.new_database()
    own_postgres.execute("CREATE TABLE songs (title TEXT)", template)
    copy = own_postgres.new_database(template)
    own_postgres.execute("INSERT INTO songs VALUES ('one')", copy)
    own_postgres.drop_database(template)
    assert copy != template


def test_a_server_ends_with_a_process_that_was_killed(postgres_server: PostgresServer) -> None:
    program = [sys.executable, "-c", STARTER]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid, folder = starter.stdout.readline().split()
        assert is_running(int(pid))
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while is_running(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    ended = not is_running(int(pid))
    shutil.rmtree(folder, ignore_errors=True)
    assert ended
