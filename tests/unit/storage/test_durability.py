"""An acknowledged report is on the disk. Run as a program, this file is the process that the test kills."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from usageflow.domain.analytics import UsageGroup, UsageQuery
from usageflow.domain.changes import Actor, Cause
from usageflow.domain.clock import ManualClock
from usageflow.domain.usage import EndpointName, Outcome, Series, UsageDelta, UsageRecord
from usageflow.storage.sql import Database, SqlAnalytics, SqlControlStore, SqlUsageStore, open_sqlite, prepare


def record(number: int) -> UsageRecord:
    endpoint = EndpointName("GET", "/orders")
    delta = UsageDelta(Series(endpoint, 200, False, "OK", "", "p"), "ann", 60, 1, Decimal("0.1"))
    return UsageRecord(f"id-{number}", 0, bytes(16), (delta,))


async def sums(database: Database, application_id: str) -> tuple[int, Decimal]:
    query = UsageQuery(0, groups=(UsageGroup.ENDPOINT,))
    total = (await SqlAnalytics(database).sums(application_id, query, lambda _: bytes(32))).total
    return total.requests, total.units


async def test_what_was_acknowledged_outlives_a_killed_process(tmp_path: Path) -> None:
    path, clock = tmp_path / "usageflow.db", ManualClock()
    prepare(path, clock)
    acknowledged = _run_until_killed(path, after_lines=25)
    database = open_sqlite(path)
    try:
        application = await SqlControlStore(database, clock).find_application("demo")
        assert application is not None
        store = SqlUsageStore(database, clock)
        counted, _ = await sums(database, application.application_id)
        # Sending all of it once more adds what was lost on the way, and nothing twice.
        everything = [record(number) for number in range(max(acknowledged) + 200)]
        (outcomes,) = await store.ingest([(application.application_id, everything)])
        assert {outcomes[number] for number in acknowledged} == {Outcome.DUPLICATE}
        assert outcomes.count(Outcome.DUPLICATE) == counted
        assert await sums(database, application.application_id) == (
            len(everything),
            len(everything) * Decimal("0.1"),
        )
    finally:
        await database.close()


def _run_until_killed(path: Path, *, after_lines: int) -> list[int]:
    """Returns the numbers of the records that a child process had seen accepted when it was killed in mid-run."""
    acknowledged: list[int] = []
    with subprocess.Popen([sys.executable, __file__, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in itertools.islice(child.stdout, after_lines):
            acknowledged.extend(map(int, line.split()))
        child.send_signal(signal.SIGKILL)
        for line in child.stdout:
            # The last line may be torn; what stands on whole lines was acknowledged.
            if line.endswith("\n"):
                acknowledged.extend(map(int, line.split()))
    assert child.returncode == -signal.SIGKILL
    assert len(acknowledged) >= after_lines
    return acknowledged


_NOBODY = Cause(Actor("", "test"), "test")


async def _ingest_for_ever(path: Path) -> None:
    clock = ManualClock()
    database = open_sqlite(path)
    application = await SqlControlStore(database, clock).create_application("demo", [], cause=_NOBODY)
    store = SqlUsageStore(database, clock)

    async def ingest(numbers: range) -> None:
        await store.ingest([(application.application_id, [record(number) for number in numbers])])
        sys.stdout.write(" ".join(map(str, numbers)) + "\n")
        sys.stdout.flush()

    for start in itertools.count(step=40):
        await asyncio.gather(*(ingest(range(start + part, start + part + 10)) for part in range(0, 40, 10)))


if __name__ == "__main__":
    asyncio.run(_ingest_for_ever(Path(sys.argv[1])))
