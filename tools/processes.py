"""Starts and ends real processes of the product: for the demo, the proofs and the end-to-end tests. Loopback only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
COMMAND = BIN / "usageflow"
READY = "usageflow ready on "


class ProcessFailed(Exception):
    """A process did not do what it was started for; the text holds what it printed."""


def clean_environment(**more: str) -> dict[str, str]:
    """Returns this environment without USAGEFLOW_* and with ``more``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("USAGEFLOW_")}
    return {**kept, **more}


def free_port() -> int:
    """Returns a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Process:
    """A running process whose output is kept. Use it in a ``with`` block: it ends with it."""

    arguments: list[str]
    environment: dict[str, str]
    folder: Path = ROOT
    lines: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            self.arguments,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        if self._process.stdout is not None:
            self.lines.extend(iter(self._process.stdout.readline, ""))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(timeout=5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Returns its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Tells whether it has not ended."""
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """Returns what it printed so far."""
        return "".join(self.lines)

    def wait_for(self, text: str, timeout_s: float = 30) -> float:
        """Returns the seconds from its start until it printed ``text``. Raises ProcessFailed."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if text in self.output:
                return time.monotonic() - self.started
            if self._process.poll() is not None:
                self._reader.join(timeout=5)
                if text in self.output:
                    return time.monotonic() - self.started
                raise ProcessFailed(
                    f"{self.arguments[0]} ended with {self._process.returncode}:\n{self.output}"
                )
            time.sleep(0.02)
        raise ProcessFailed(f"{self.arguments[0]} did not print {text!r} in {timeout_s} s:\n{self.output}")

    def wait_until(self, holds: Callable[[], bool], timeout_s: float = 30) -> None:
        """Returns once it holds. Raises ProcessFailed."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.arguments[0]} did not do it in {timeout_s} s:\n{self.output}")
            time.sleep(0.05)

    def stop(self, signal_number: int = signal.SIGTERM, timeout_s: float = 15) -> tuple[int, float]:
        """Sends a signal; returns the exit code and the seconds until it ended. Raises ProcessFailed."""
        sent = time.monotonic()
        self._process.send_signal(signal_number)
        code = self.wait(timeout_s)
        return code, time.monotonic() - sent

    def wait(self, timeout_s: float) -> int:
        """Returns the exit code once it has ended by itself. Raises ProcessFailed."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"{self.arguments[0]} did not end in {timeout_s} s:\n{self.output}") from None


class Service(Process):
    """A UsageFlow service in a data folder of its own, on a free port; ``settings`` are further USAGEFLOW_* variables."""

    def __init__(self, data: Path, listen: str = "127.0.0.1:0", **settings: str) -> None:
        self.data = data
        usual = {"USAGEFLOW_LISTEN": listen, "USAGEFLOW_LOG_LEVEL": "WARNING"}
        super().__init__(
            [str(COMMAND), "serve"], clean_environment(**{"USAGEFLOW_DATA": str(data), **usual, **settings})
        )

    def wait_ready(self) -> str:
        """Returns the address once it is ready."""
        self.ready_after_s = self.wait_for(READY)
        return address_of(self.lines)

    @property
    def credentials(self) -> dict[str, str]:
        """Returns what credentials.toml holds."""
        fields = tomllib.loads((self.data / "credentials.toml").read_text())
        return {name: str(value) for name, value in fields.items()}

    def command(
        self, *arguments: str, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs the command ``usageflow`` against this service, with ``environment`` set."""
        return subprocess.run(
            [str(COMMAND), *arguments],
            env=clean_environment(USAGEFLOW_DATA=str(self.data), **environment),
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


class EdgeReplica(Process):
    """A decision process over a snapshot file, without a database; ``settings`` are further USAGEFLOW_* variables."""

    def __init__(self, snapshot: Path, listen: str = "127.0.0.1:0", **settings: str) -> None:
        super().__init__(
            [str(COMMAND), "serve", "decision", "--snapshot", str(snapshot)],
            clean_environment(**{"USAGEFLOW_LISTEN": listen, "USAGEFLOW_LOG_LEVEL": "WARNING", **settings}),
        )

    def wait_ready(self) -> str:
        """Returns the address once it is ready."""
        self.wait_for(READY)
        return address_of(self.lines)


@contextmanager
def edge_replicas(snapshot: Path, number: int, **settings: str) -> Iterator[list[EdgeReplica]]:
    """Starts replicas of one file side by side and yields them once all are ready; ``wait_ready`` tells each address."""
    with ExitStack() as running:
        replicas = [running.enter_context(EdgeReplica(snapshot, **settings)) for _ in range(number)]
        for replica in replicas:
            replica.wait_ready()
        yield replicas


def address_of(lines: list[str]) -> str:
    """Returns the address of the ready line."""
    return next(line.removeprefix(READY).strip() for line in lines if line.startswith(READY))


class App(Process):
    """The FastAPI quick start, asking a service."""

    def __init__(self, address: str, api_key: str) -> None:
        self.port = free_port()
        super().__init__(
            [str(BIN / "python"), str(ROOT / "examples" / "quickstart_fastapi.py")],
            clean_environment(
                USAGEFLOW_ADDR=address,
                USAGEFLOW_API_KEY=api_key,
                # On a busy machine 50 ms pass easily, and a check that times out is allowed: both sides would still agree, but
                # not on the number of denials that is expected here.
                USAGEFLOW_DEADLINE_MS="5000",
                PORT=str(self.port),
            ),
        )

    def wait_ready(self) -> float:
        """Returns the seconds until it accepts connections."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return time.monotonic() - self.started
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise ProcessFailed(f"the app did not start:\n{self.output}")
