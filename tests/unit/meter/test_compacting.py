from __future__ import annotations

import asyncio

import pytest

from meter.compacting import EVERY_S, Compactor
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import Unavailable
from usageflow.storage.analytics import Backlog


class FakeRollups:
    """Folds what waits; the first ``failures`` calls find no database."""

    def __init__(self, waiting: int, failures: int = 0) -> None:
        self.waiting = waiting
        self.failures = failures
        self.batches: list[int] = []

    async def fold(self, most: int) -> int:
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        self.batches.append(min(most, self.waiting))
        self.waiting -= self.batches[-1]
        return self.batches[-1]

    async def backlog(self) -> Backlog:
        return Backlog(self.waiting, 1_699_999_990 if self.waiting else None)


class Pauses:
    """Notes pauses, and ends after some that are seconds."""

    def __init__(self, seconds: int) -> None:
        self.left = seconds
        self.noted: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.noted.append(seconds)
        self.left -= seconds > 0
        if not self.left:
            raise asyncio.CancelledError


async def run(rollups: FakeRollups, seconds: int) -> tuple[Compactor, list[float]]:
    pauses = Pauses(seconds)
    compactor = Compactor(rollups, ManualClock(), 100, pauses)
    with pytest.raises(asyncio.CancelledError):
        await compactor.run_for_ever()
    return compactor, pauses.noted


async def test_full_batches_are_followed_at_once() -> None:
    rollups = FakeRollups(250)
    compactor, pauses = await run(rollups, 2)
    assert rollups.batches == [100, 100, 50, 0]
    assert pauses == [0, 0, EVERY_S, EVERY_S]
    assert compactor.progress.folded == 250


async def test_a_silent_database_is_asked_again() -> None:
    rollups = FakeRollups(5, failures=2)
    await run(rollups, 3)
    assert rollups.batches == [5]


async def test_progress_tells_what_waits_and_for_how_long() -> None:
    compactor, _ = await run(FakeRollups(7), 1)
    assert (compactor.progress.waiting, round(compactor.progress.oldest_age_s)) == (7, 10)
    compactor, _ = await run(FakeRollups(7), 6)
    assert (compactor.progress.waiting, compactor.progress.oldest_age_s) == (0, 0)
