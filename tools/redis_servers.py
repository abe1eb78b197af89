"""Starts and ends real Redis servers, alone or as a cluster, on loopback: for tests, proofs and benchmarks.

They keep nothing on disk. Each is ended by its process id, never by a name.
"""

from __future__ import annotations

import contextlib
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

from redis import Redis
from redis.exceptions import RedisError

from tools.processes import ProcessFailed, free_port

COMMAND = "redis-server"
NEEDED = "redis-server 7 or newer is not installed: run `make services`"
SLOTS = 16_384
_READY_S = 15


def is_installed() -> bool:
    """Tells whether this machine has a redis-server."""
    return shutil.which(COMMAND) is not None


class RedisServer:
    """A redis-server on a free loopback port. Use it in a ``with`` block, or call ``start`` and ``close``."""

    def __init__(self, *options: str, cluster: bool = False) -> None:
        self.port = free_port()
        self.bus_port = free_port()
        self._options = options
        if cluster:
            self._options += ("--cluster-enabled", "yes", "--cluster-port", str(self.bus_port))
        self._folder = Path(tempfile.mkdtemp(prefix="usageflow-redis-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Returns where it listens."""
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        self.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Starts it, empty, on the same port as before. Raises ProcessFailed where it is not installed."""
        if not is_installed():
            raise ProcessFailed(NEEDED)
        settings = {
            "--bind": "127.0.0.1",
            "--port": str(self.port),
            "--save": "",
            "--appendonly": "no",
            "--dir": str(self._folder),
            "--logfile": str(self._folder / "log"),
            "--enable-debug-command": "yes",
        }
        words = [word for pair in settings.items() for word in pair]
        self._process = subprocess.Popen([COMMAND, *words, *self._options])

    def wait_ready(self) -> None:
        """Returns once it answers. Raises ProcessFailed."""
        deadline = time.monotonic() + _READY_S
        with self.client() as client:
            while time.monotonic() < deadline:
                with contextlib.suppress(RedisError):
                    client.ping()
                    return
                if self._process is not None and self._process.poll() is not None:
                    break
                time.sleep(0.01)
        log = self._folder / "log"
        raise ProcessFailed(f"redis-server did not start:\n{log.read_text() if log.exists() else ''}")

    def client(self) -> Redis:
        """Returns a plain client: close it after use."""
        return Redis(port=self.port, socket_timeout=5)

    @property
    def is_running(self) -> bool:
        """Tells whether it was started and not killed."""
        return self._process is not None

    def kill(self) -> None:
        """Ends it at once, as a crash does: everything it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kills it and starts it again, empty, on the same port."""
        self.kill()
        self.start()
        self.wait_ready()

    def pause(self) -> None:
        """Stops its process: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a paused one go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)

    def close(self) -> None:
        """Ends it and removes its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class RedisCluster:
    """A cluster of primaries without replicas, each owning an equal share of the slots. Use it in a ``with`` block."""

    def __init__(self, size: int = 3) -> None:
        self.nodes = [RedisServer(cluster=True) for _ in range(size)]

    @property
    def url(self) -> str:
        """Returns where it listens: each node is enough to find the others."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            for node in self.nodes:
                node.wait_ready()
            self._join()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _join(self) -> None:
        share = -(-SLOTS // len(self.nodes))
        for number, node in enumerate(self.nodes):
            last = min(SLOTS, (number + 1) * share) - 1
            with node.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * share, last)
                for other in self.nodes[:number]:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus_port)

    def wait_ready(self) -> None:
        """Returns once every node sees all slots served. Raises ProcessFailed."""
        deadline = time.monotonic() + _READY_S
        waiting = list(self.nodes)
        while waiting and time.monotonic() < deadline:
            waiting = [node for node in waiting if not self._sees_all(node)]
            time.sleep(0.02 if waiting else 0)
        if waiting:
            raise ProcessFailed("the cluster of Redis servers did not come up")

    def _sees_all(self, node: RedisServer) -> bool:
        with node.client() as client:
            told = client.execute_command("CLUSTER INFO")
        return told["cluster_state"] == "ok" and int(told["cluster_known_nodes"]) == len(self.nodes)

    def close(self) -> None:
        """Ends all nodes."""
        for node in self.nodes:
            node.close()


@contextlib.contextmanager
def paused(server: RedisServer) -> Iterator[None]:
    """Pauses a server for the length of a ``with`` block."""
    server.pause()
    try:
        yield
    finally:
        server.resume()
