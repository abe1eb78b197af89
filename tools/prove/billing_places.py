"""Installations that the proofs of billing run against: one process over SQLite, or services over PostgreSQL with two meters."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.postgres_servers import PostgresServer
from tools.processes import Process, ProcessFailed, Service, free_port
from tools.shared_form import Installation
from tools.standin import StandIn

_OPEN = "SELECT COUNT(*) FROM metering_deltas WHERE part IS NULL"
_GOING = "SELECT state, COUNT(*) FROM billing_parts WHERE state IN ('FROZEN', 'SENDING') GROUP BY state"
_SUPERVISED_S = 30
"""For so long a meter that ends while it starts is started again, as a supervisor does."""

_SETTINGS = {"USAGEFLOW_METER_SETTLE_S": "0", "USAGEFLOW_METER_LEASE_S": "5"}


class Place(ABC):
    """A running installation whose meters bill at a stand-in. Use it in a ``with`` block: it ends with it."""

    address = ""
    api_key = ""

    def __init__(self, folder: Path, stripe: StandIn) -> None:
        self.folder = folder
        self.settings = {**_SETTINGS, **stripe.settings}
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @abstractmethod
    def start(self) -> None:
        """Starts it over an empty database."""

    @abstractmethod
    def empty(self) -> None:
        """Starts it anew over another empty database."""

    @abstractmethod
    def kill_meter(self, number: int) -> None:
        """Kills (-9) the process that bills, or one of those, and starts another in its place."""

    @abstractmethod
    def command(self, *arguments: str) -> Any:
        """Runs a command against it."""

    @abstractmethod
    def read(self, statement: str) -> list[tuple[Any, ...]]:
        """Returns rows of the database."""

    def apply(self, policies: str) -> None:
        """Applies the text of a policy file. Raises ProcessFailed."""
        path = self.folder / "policies.yaml"
        path.write_text(policies)
        applied = self.command("apply", "-f", str(path))
        if applied.returncode:
            raise ProcessFailed(applied.stderr)

    def flush(self) -> None:
        """Asks for everything to be billed now; a service that is just coming up is asked again by whoever waits."""
        self.command("meter", "flush")

    def has_part(self, state: str) -> bool:
        """Tells whether a part is in a state."""
        with contextlib.suppress(Exception):  # the database may be on its way up
            found = self.read(f"SELECT COUNT(*) FROM billing_parts WHERE state = '{state}'")  # noqa: S608 - our own names
            return bool(found[0][0])
        return False

    def unsettled(self) -> str:
        """Returns what is not settled yet, "" for nothing."""
        try:
            waiting = self.read(_OPEN)[0][0]
            going = dict(self.read(_GOING))
        except Exception as error:  # noqa: BLE001 - the database may be on its way up
            return str(error)
        return f"{waiting} deltas open, parts {going}" if waiting or going else ""

    def states(self) -> dict[str, int]:
        """Returns how many parts are in which state."""
        return dict(self.read("SELECT state, COUNT(*) FROM billing_parts GROUP BY state"))


class EmbeddedPlace(Place):
    """One process over SQLite; ``settings`` are further USAGEFLOW_* variables."""

    def __init__(self, folder: Path, stripe: StandIn, **settings: str) -> None:
        super().__init__(folder, stripe)
        self.settings |= settings

    def memory_mib(self) -> float:
        """Returns the process's resident memory."""
        text = Path(f"/proc/{self._service.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) / 1024

    def start(self) -> None:
        """See Place."""
        self._begin("data")

    def _begin(self, name: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._data = self.folder / name
        self._serve()
        self.api_key = self._service.credentials["api_key"]

    def _serve(self) -> None:
        self._service = self._running.enter_context(Service(self._data, self.address, **self.settings))
        self._service.wait_ready()

    def empty(self) -> None:
        """See Place."""
        self._service.stop(9)
        self._begin("another")

    def kill_meter(self, number: int) -> None:
        """See Place."""
        del number
        self._service.stop(9)
        self._serve()

    def command(self, *arguments: str) -> Any:
        """See Place."""
        return self._service.command(*arguments)

    def read(self, statement: str) -> list[tuple[Any, ...]]:
        """See Place."""
        path = self._data / "usageflow.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute(statement).fetchall()


class SharedPlace(Place):
    """Administration and decisions in one process, and two meters, over PostgreSQL."""

    def __init__(self, folder: Path, stripe: StandIn, server: PostgresServer) -> None:
        super().__init__(folder, stripe)
        self.server = server
        self._rounds = 0

    def start(self) -> None:
        """See Place."""
        self._database = self.server.new_database()
        self._rounds += 1
        folder = self.folder / f"round-{self._rounds}"
        folder.mkdir(parents=True)
        self._installation = Installation(self.server.url(self._database), folder, self.settings)
        self._installation.bootstrap()
        self.api_key = self._installation.api_key
        admin, decision = (self._started(role, role) for role in ("admin", "decision"))
        self._installation.admin_address, self.address = admin.wait_ready(), decision.wait_ready()
        self._others: list[Process] = [admin, decision]
        self._meters = [self._started("meter", f"meter-{number}") for number in range(2)]
        self._addresses = [meter.wait_ready() for meter in self._meters]

    def _started(self, role: str, name: str) -> Any:
        return self._running.enter_context(self._installation.role(role, name))

    def empty(self) -> None:
        """See Place."""
        for process in (*self._others, *self._meters):
            process.stop(9)
        self.start()

    def kill_meter(self, number: int) -> None:
        """See Place."""
        self._meters[number].stop(9)
        deadline = time.monotonic() + _SUPERVISED_S
        while True:
            meter = self._meters[number] = self._started("meter", f"meter-{number}")
            try:
                self._addresses[number] = meter.wait_ready()
            except ProcessFailed:  # PostgreSQL may be starting, too
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def command(self, *arguments: str) -> Any:
        """See Place."""
        if arguments[0] != "meter":
            return self._installation.command(*arguments)
        own = {
            "USAGEFLOW_ADDR": self._addresses[0],
            "USAGEFLOW_ADMIN_TOKEN": self._installation.admin_token,
        }
        return self._installation.run(*arguments, **own)

    def read(self, statement: str) -> list[tuple[Any, ...]]:
        """See Place."""
        with self.server.connection(self._database) as connection:
            return [tuple(row) for row in connection.execute(statement)]
