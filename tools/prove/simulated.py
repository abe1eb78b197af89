"""Several counter stores on one real Redis under a clock that stands still until it is moved: long windows in no time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from tools.prove.promises import FITS
from tools.prove.readings import Judged
from tools.prove.table_of_accuracy import Cell
from usageflow.domain.clock import ManualClock
from usageflow.domain.limits import Rule
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import MAX_TAKES, CounterStore, LimitTake, Take
from usageflow.storage.redis import open_redis

_S = 1_000_000
_STEPS = 100
"""Steps of a window: what comes in one step comes at one instant, to all stores at once."""


async def simulate(url: str, cell: Cell, windows: int, name: str) -> tuple[int, Judged]:
    """Returns how many requests there were in so many windows, and what became of them. ``name`` is not used by others there."""
    clock = ManualClock()
    stores = [open_redis(url, clock, prefix=name) for _ in range(cell.processes)]
    try:
        await asyncio.gather(*(store.restore_windows([]) for store in stores))
        return await _run(cell, windows, clock, stores)
    finally:
        for store in stores:
            await store.close()


async def _run(
    cell: Cell, windows: int, clock: ManualClock, stores: Sequence[CounterStore]
) -> tuple[int, Judged]:
    rule = Rule(Algorithm(cell.algorithm), cell.limit, cell.window_s * _S)
    take = Take((LimitTake("k", rule, 1),))
    random = Random(f"{cell}")  # noqa: S311 - the same arrivals every time
    arrived: list[int] = []
    admitted: list[int] = []
    for count in _arrivals(cell, windows, random):
        split = [0] * len(stores)
        for _ in range(count):
            split[random.randrange(len(stores))] += 1
        taken = await asyncio.gather(
            *(_take(store, take, part) for store, part in zip(stores, split, strict=True) if part)
        )
        arrived += [clock.now_us()] * count
        admitted += [clock.now_us()] * sum(taken)
        clock.advance(seconds=cell.window_s / _STEPS)
    fits = FITS[cell.algorithm]
    sure = len(fits(admitted, cell.limit, cell.window_s * _S))
    allowed = len(fits(arrived, cell.limit, cell.window_s * _S))
    return len(arrived), Judged(allowed, len(admitted), len(admitted) - sure)


def _arrivals(cell: Cell, windows: int, random: Random) -> list[int]:
    """Returns how many requests come in each step: evenly, each up to one gap late."""
    counts = [0] * (_STEPS * windows)
    per_step = cell.load * cell.limit / _STEPS
    for number in range(int(per_step * len(counts))):
        step = int((number + random.random()) / per_step)
        counts[min(step, len(counts) - 1)] += 1
    return counts


async def _take(store: CounterStore, take: Take, count: int) -> int:
    admitted = 0
    for first in range(0, count, MAX_TAKES):
        taken = await store.take([take] * min(MAX_TAKES, count - first))
        admitted += sum(one.admitted for one in taken)
    return admitted
