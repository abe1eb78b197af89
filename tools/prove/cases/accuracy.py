"""The accuracy table: what several decision processes admit together, of what the algorithm allows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tools.processes import ROOT
from tools.prove.offered import offer, policies_for
from tools.prove.showing import ensure
from tools.prove.simulated import simulate
from tools.prove.stores import REDIS, fleet
from tools.prove.table_of_accuracy import (
    LEAST_SHARE,
    LIMITS,
    PROCESSES,
    WINDOWS_S,
    Cell,
    Row,
    cells,
    page,
    table,
)
from tools.redis_servers import RedisServer

_REAL = cells((1, 10), (10, 100))
_SIMULATED = [cell for cell in cells(WINDOWS_S, LIMITS) if cell not in _REAL]
_SECONDS = 22.0
_TRIES = 3
_MOST_UNANSWERED = 0.01
_OUT = ROOT / "bench" / "out" / "accuracy.md"


def accuracy(folder: Path) -> str:
    """{1, 3, 5} decision processes x limits {10, 100, 10,000} x windows {1 s, 10 s, 1 min} x load {0.9, 1, 1.5, 2} on one Redis:
    nothing beyond the algorithm's promise is admitted, and at least 99 % of what it allows.
    """
    with RedisServer() as server:
        rows = asyncio.run(simulated_rows(server.url, _SIMULATED))
    for number in PROCESSES:
        rows += _real_rows(folder / str(number), [cell for cell in _REAL if cell.processes == number])
    print(table(rows), flush=True)
    _OUT.parent.mkdir(parents=True, exist_ok=True)
    _OUT.write_text(page(rows))
    return f"{verdict(rows)}; the table is in {_OUT.relative_to(ROOT)}"


async def simulated_rows(url: str, wanted: Sequence[Cell]) -> list[Row]:
    """Returns a row for each cell under a simulated clock."""
    rows = []
    for number, cell in enumerate(wanted):
        # Two windows of a large limit are as many requests as a thousand of a small one.
        asked, judged = await simulate(url, cell, 2 if cell.limit > 1_000 else 4, f"accuracy-{number}")
        rows.append(Row(cell, True, asked, 0, *judged))
    return rows


def _real_rows(folder: Path, wanted: Sequence[Cell]) -> list[Row]:
    """Returns a row for each cell with real decision processes; again where a busy machine left too much unanswered."""
    number = wanted[0].processes
    rows: list[Row] = []
    with REDIS.settings() as settings, fleet(folder, policies_for(wanted), settings, number) as running:
        for attempt in range(_TRIES):
            rows = asyncio.run(
                offer(running.addresses, running.api_key, wanted, _SECONDS, mark=f"-{attempt}")
            )
            if sum(row.unanswered for row in rows) <= _MOST_UNANSWERED * sum(row.asked for row in rows):
                break
    return rows


def verdict(rows: Sequence[Row]) -> str:
    """Returns the figure. Raises NotShown with the rows that do not hold."""
    wrong = [row for row in rows if not row.holds]
    ensure(not wrong, f"{len(wrong)} of {len(rows)} rows do not hold:\n{table(wrong)}")
    real = [row for row in rows if not row.simulated]
    asked, unanswered = sum(row.asked for row in real), sum(row.unanswered for row in real)
    ensure(unanswered <= _MOST_UNANSWERED * asked, f"{unanswered} of {asked} requests were not answered")
    least = min(row.share for row in rows)
    return (
        f"{len(rows)} rows ({len(real)} with real processes and {asked} requests, {unanswered} of them not answered): 0 beyond the "
        f"promise, at least {least:.2%} of what is allowed (bound {LEAST_SHARE:.0%}, a unit of reading error and those not "
        "answered aside)"
    )
