"""Starts and ends real PostgreSQL servers on loopback, each with a cluster of its own: for tests, proofs and benchmarks.

Each is ended by its process id, never by a name, and at the latest with the thread that started it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from tools.processes import ProcessFailed, free_port

NEEDED = "PostgreSQL's server 15 or newer is not installed: run `make services`"
_OLDEST = 15
_DEBIAN = Path("/usr/lib/postgresql")
_READY_S = 30
_USER = "postgres"
"""The owner of the processes where we are root, whom PostgreSQL refuses, and the superuser in every cluster."""

_QUICK = ("fsync=off", "full_page_writes=off", "autovacuum=off", "shared_buffers=64MB")
"""What a machine that loses power would make us regret; a killed server loses nothing by it."""


def programs() -> Path | None:
    """Returns the folder of the newest server that is new enough; None where there is none."""
    found = [path for path in _DEBIAN.glob("*/bin") if path.parent.name.isdecimal()]
    found.sort(key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    return next((path for path in found if _version(path) >= _OLDEST), None)


def _version(folder: Path) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
        return int(told.stdout.split()[2].partition(".")[0])
    return 0


def is_installed() -> bool:
    """Tells whether this machine has a server that is new enough."""
    return programs() is not None


class PostgresServer:
    """A server on a free loopback port and a Unix socket in its folder. Use it in a ``with`` block, or call ``start``,
    ``wait_ready`` and ``close``. Anybody on this machine may connect, without a password.

    It keeps what was committed when it is killed. ``quick`` leaves out what only a loss of power would show. ``settings``
    are further ones, such as ``max_connections=20``.
    """

    def __init__(self, *settings: str, quick: bool = False) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="usageflow-postgres-"))
        self._quick = quick
        self._settings = ((*_QUICK, *settings)) if quick else settings
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def url(self, database: str = "postgres") -> str:
        """Returns where a database of it is."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str = "postgres") -> str:
        """Returns the same by the Unix socket."""
        return f"postgresql:///{database}?user={_USER}&host={self.folder}&port={self.port}"

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Starts it, on the same port and with the same data as before. Raises ProcessFailed where it is not installed."""
        if not (self.folder / "data").exists():
            self._make_cluster()
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "log_destination": "stderr",
        }
        words = [f"{name}={value}" for name, value in options.items()] + list(self._settings)
        arguments = [word for setting in words for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("postgres", "-D", str(self.folder / "data"), *arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: we end it
            )

    def _make_cluster(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, _USER, _USER)
        options = ["-D", str(self.folder / "data"), "-A", "trust", "-U", _USER, "-E", "UTF8", "--locale=C"]
        options += ["--no-instructions", *(["--no-sync"] if self._quick else [])]
        made = subprocess.run(self._command("initdb", *options), capture_output=True, text=True, check=False)
        if made.returncode:
            raise ProcessFailed(f"initdb failed:\n{made.stdout}{made.stderr}")

    def _command(self, program: str, *arguments: str) -> list[str]:
        folder = programs()
        if folder is None:
            raise ProcessFailed(NEEDED)
        command = [str(folder / program), *arguments]
        if shutil.which("setpriv") is None:
            return command
        as_user = [f"--reuid={_USER}", f"--regid={_USER}", "--init-groups"] if os.geteuid() == 0 else []
        return ["setpriv", "--pdeathsig", "QUIT", *as_user, *command]

    def wait_ready(self) -> None:
        """Returns once it answers. Raises ProcessFailed."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError):
                self.connection().close()
                return
            if self._process is not None and self._process.poll() is not None:
                break
            time.sleep(0.02)
        log = self.folder / "log"
        raise ProcessFailed(f"postgres did not start:\n{log.read_text() if log.exists() else ''}")

    def connection(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Returns a plain connection that commits by itself: close it after use."""
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Carries out one statement."""
        with self.connection(database) as connection:
            connection.execute(statement.encode())

    def new_database(self, template: str = "template0") -> str:
        """Returns the name of a new database, a copy of ``template`` (to which nobody may be connected)."""
        name = f"usageflow_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        """Removes a database, and whoever is connected to it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @property
    def is_running(self) -> bool:
        """Tells whether it was started and neither stopped nor killed."""
        return self._process is not None

    def stop(self) -> None:
        """Ends it as an operator does who does not wait for clients ("fast")."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Ends all of its processes at once, as a crash does; what was committed is there after the next start."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        family = self._family()
        self._signal(signal.SIGCONT, family)
        self._signal(number, family if number == signal.SIGKILL else [self._process.pid])
        try:
            self._process.wait(timeout=_READY_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL, family)
            self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Kills it and starts it again, with its data, on the same port."""
        self.kill()
        self.start()
        self.wait_ready()

    def pause(self) -> None:
        """Stops all of its processes: connections stay open, new ones are made by the kernel, and nothing is answered."""
        self._signal(signal.SIGSTOP, self._family())

    def resume(self) -> None:
        """Lets a paused one go on."""
        self._signal(signal.SIGCONT, self._family())

    def _family(self) -> list[int]:
        """Returns the ids of the server's process and of its children, which are all that it has."""
        if self._process is None:
            return []
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        with contextlib.suppress(OSError):
            return [pid, *(int(each) for each in children.read_text().split())]
        return [pid]

    @staticmethod
    def _signal(number: int, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def close(self) -> None:
        """Ends it and removes its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def paused(server: PostgresServer) -> Iterator[None]:
    """Pauses a server for the length of a ``with`` block."""
    server.pause()
    try:
        yield
    finally:
        server.resume()
