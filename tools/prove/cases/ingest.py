"""Reported usage is counted exactly once, whatever is killed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from tools.postgres_servers import PostgresServer
from tools.processes import Process, ProcessFailed, Service, free_port
from tools.prove.report_clients import ReportClient
from tools.prove.reported import POLICIES, Call, Reports, Totals, reports
from tools.prove.showing import NotShown, ensure
from tools.shared_form import Installation

_PATIENCE_S = 600.0
_FOLDED_S = 300.0
_SERIES = ("usage_minutes", "usage_hours", "usage_days")
_IDENTITIES = ("identity_hours", "identity_days")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is reported and how often something is killed meanwhile."""

    events: int = 200_000
    batches: int = 200
    clients: int = 8
    service_kills: int = 10
    database_kills: int = 3
    seed: int = 20_261_123


def ingest(folder: Path) -> str:
    """200,000 events and 200 count batches of 8 clients, one in ten twice, in a random order, one in a hundred bad, while the service is killed (-9)
    ten times and, on PostgreSQL, the database three times: events, rollups and metering deltas equal the distinct good reports to the unit.
    """
    embedded = show_ingest_embedded(folder / "sqlite", Size())
    with PostgresServer() as server:
        shared = show_ingest_shared(folder / "postgresql", server, Size())
    return f"{embedded}\n  {shared}"


def show_ingest_embedded(folder: Path, size: Size) -> str:
    """Shows it on SQLite, in the embedded form; returns the figure. Raises NotShown."""
    address = f"127.0.0.1:{free_port()}"
    with _Place(lambda: Service(folder, address), address) as place:
        place.api_key = place.service.credentials["api_key"]
        _apply(place.service, folder)
        sent = asyncio.run(_show(place, size, []))
        _ensure_told(_told(place.service.command), sent.reports.totals)
        _until_folded(place.service, lambda: _sqlite(folder, "SELECT COUNT(*) FROM usage_deltas")[0][0])
        place.service.stop()
        figure = _judged(lambda statement: _sqlite(folder, statement), sent.reports.totals)
    return f"SQLite: {sent.figure()}; {figure}"


def show_ingest_shared(folder: Path, server: PostgresServer, size: Size) -> str:
    """Shows it on PostgreSQL, with all services in one process; returns the figure. Raises NotShown."""
    database, address = server.new_database(), f"127.0.0.1:{free_port()}"
    installation = Installation(server.url(database), folder)
    folder.mkdir(parents=True, exist_ok=True)
    installation.bootstrap()

    def start() -> Process:
        return installation.role("all", "all", USAGEFLOW_LISTEN=address)

    def read(statement: str) -> list[tuple[Any, ...]]:
        with server.connection(database) as connection:
            return [tuple(row) for row in connection.execute(statement)]

    # A server ends with the thread that started it, so that thread lives until all is read.
    with _Place(start, address, installation.api_key) as place, ThreadPoolExecutor(1) as hands:
        installation.admin_address = address
        installation.apply(POLICIES)
        database_kills = [lambda: hands.submit(_killed, server).result()] * size.database_kills
        sent = asyncio.run(_show(place, size, database_kills))
        _ensure_told(_told(installation.command), sent.reports.totals)
        _until_folded(place.service, lambda: read("SELECT COUNT(*) FROM usage_deltas")[0][0])
        place.service.stop()
        figure = _judged(read, sent.reports.totals)
    return f"PostgreSQL: {sent.figure()}; {figure}"


@dataclass
class _Place:
    """A service at an address, which ends with the ``with`` block, and how another is started there."""

    start: Callable[[], Any]
    address: str
    api_key: str = ""

    def __enter__(self) -> Self:
        self.service = self.start().__enter__()
        self.service.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.service.__exit__(None, None, None)

    def replace(self) -> None:
        """Kills the service and starts another; returns once it is ready."""
        self.service.stop(9)
        self.service.__exit__(None, None, None)
        self.service = self.start().__enter__()
        self.service.wait_ready()


@dataclass
class _Sent:
    """What was sent, and how it went."""

    reports: Reports
    done: int = 0
    again: int = 0
    accepted: int = 0
    duplicates: int = 0
    kills: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def figure(self) -> str:
        totals = self.reports.totals
        return (
            f"{totals.events} good events and the counts beside them are {totals.requests} requests; {self.kills} kills, "
            f"{self.again} calls sent again, {self.duplicates} duplicates told, {self.reports.bad} bad items each refused by index and "
            f"field, {self.seconds:.0f} s"
        )


async def _show(place: _Place, size: Size, further: list[Callable[[], None]]) -> _Sent:
    """Sends everything from all clients while the service, and what ``further`` kills, are killed in turn."""
    sent = _Sent(
        reports(size.events, size.batches, size.clients, now_us=time.time_ns() // 1000, seed=size.seed)
    )
    kills: list[Callable[[], None]] = [place.replace] * size.service_kills
    for number, kill in enumerate(further, start=1):
        kills.insert(number * len(kills) // (len(further) + 1), kill)
    began = time.monotonic()
    async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as tasks:
        for calls in sent.reports.calls:
            tasks.create_task(_client(place, calls, sent))
        tasks.create_task(_kill(kills, sent))
    sent.seconds = time.monotonic() - began
    ensure(not sent.wrong, "; ".join(sent.wrong[:3]))
    return sent


async def _client(place: _Place, calls: list[Call], sent: _Sent) -> None:
    """Sends the calls one after the other, each until it is answered."""
    async with ReportClient(place.address, place.api_key) as client:
        for call in calls:
            answer = await client.report(call.message)
            told = {
                (error.kind, error.index): (error.status.field, error.status.reason)
                for error in answer.errors
            }
            if told != call.faults:
                sent.wrong.append(f"told {sorted(told.items())}, expected {sorted(call.faults.items())}")
            sent.done += 1
            sent.moved.set()
            sent.accepted += answer.accepted
            sent.duplicates += answer.duplicates
        sent.again += client.again


async def _kill(kills: list[Callable[[], None]], sent: _Sent) -> None:
    """Kills at even steps of the whole work, each while calls are in flight."""
    total = sum(len(calls) for calls in sent.reports.calls)
    for number, kill in enumerate(kills, start=1):
        while sent.done < number * total // (len(kills) + 1):
            sent.moved.clear()
            await sent.moved.wait()
        await asyncio.to_thread(kill)
        sent.kills += 1


def _killed(server: PostgresServer) -> None:
    server.kill()
    time.sleep(1)
    server.start()
    server.wait_ready()


def _apply(service: Service, folder: Path) -> None:
    path = folder / "policies.yaml"
    path.write_text(POLICIES)
    applied = service.command("apply", "-f", str(path))
    if applied.returncode:
        raise ProcessFailed(applied.stderr)


def _told(command: Callable[..., Any]) -> dict[str, Any]:
    """Returns what the commands tell: sums by status, and units that wait to be billed."""
    answers = {
        "usage": ("usage", "--by", "status", "--since", "3d", "--output", "json"),
        "pending": ("meter", "status", "--output", "json"),
    }
    return {name: _asked(command, arguments) for name, arguments in answers.items()}


def _asked(command: Callable[..., Any], arguments: tuple[str, ...]) -> Any:
    """Returns what a command answers; a service that says "try again" is asked again, as people would."""
    deadline = time.monotonic() + _FOLDED_S
    while (answered := command(*arguments)).returncode:
        if "try again" not in answered.stderr or time.monotonic() > deadline:
            raise ProcessFailed(answered.stderr)
        time.sleep(1)
    return json.loads(answered.stdout, parse_float=Decimal)


def _ensure_told(told: dict[str, Any], totals: Totals) -> None:
    """Holds what the commands tell against what was reported."""
    for name, expected in (
        ("requests", totals.requests),
        ("denied", totals.denied),
        ("errors", totals.errors),
        ("units", totals.units),
    ):
        found = sum(row[name] for row in told["usage"])
        ensure(found == expected, f"usage tells {found} {name} of {expected}")
    billed = {row["price"]: (row["requests"], Decimal(row["units"])) for row in told["pending"]}
    expected_bills = {
        price: (number, totals.metered_units[price]) for price, number in totals.metered.items()
    }
    ensure(billed == expected_bills, f"to be billed: {billed}, of {expected_bills}")


def _until_folded(service: Process, waiting: Callable[[], int]) -> None:
    """Returns once the compactor has folded everything."""
    deadline = time.monotonic() + _FOLDED_S
    while left := waiting():
        if time.monotonic() > deadline:
            raise NotShown(f"{left} deltas are not folded after {_FOLDED_S:.0f} s: {service.output[-500:]}")
        time.sleep(0.2)


def _judged(read: Callable[[str], list[tuple[Any, ...]]], totals: Totals) -> str:
    """Holds every table that sums against what was reported."""
    ((events,),) = read("SELECT COUNT(*) FROM events")
    ensure(events == totals.events, f"{events} events of {totals.events} are stored")
    for table in (*_SERIES, *_IDENTITIES):
        ((requests, whole, pico, sent),) = read(
            f"SELECT SUM(requests), SUM(whole), SUM(pico), SUM(response_bytes) FROM {table}"  # noqa: S608
        )
        units = Decimal(int(whole)) + Decimal(int(pico)).scaleb(-12)
        found = (int(requests), units, int(sent))
        expected = (totals.requests, totals.units, totals.response_bytes)
        ensure(found == expected, f"{table}: {found} of {expected}")
    ((requests, whole, pico),) = read(
        "SELECT SUM(requests), SUM(whole), SUM(pico) FROM metering_deltas WHERE part IS NULL"
    )
    metered = (int(requests), Decimal(int(whole)) + Decimal(int(pico)).scaleb(-12))
    expected_metered = (sum(totals.metered.values()), sum(totals.metered_units.values(), Decimal(0)))
    ensure(metered == expected_metered, f"metering deltas: {metered} of {expected_metered}")
    return f"events, {len(_SERIES) + len(_IDENTITIES)} rollup tables and metering deltas equal to the unit ({format(totals.units, 'f')} units)"


def _sqlite(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{folder / 'usageflow.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()
