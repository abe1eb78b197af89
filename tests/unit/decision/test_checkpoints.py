from __future__ import annotations

from collections.abc import Sequence

import pytest

from decision.checkpoints import Checkpointer
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import Unavailable
from usageflow.domain.limits import Rule
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import LimitTake, Take
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.ports import WindowState

RULE = Rule(Algorithm.FIXED_WINDOW, 10, 3_600_000_000)


class Shelf:
    """A CheckpointStore in memory."""

    def __init__(self) -> None:
        self.windows: dict[str, WindowState] = {}
        self.down = False
        self.calls = 0

    async def save_windows(self, windows: Sequence[WindowState]) -> None:
        self.calls += 1
        if self.down:
            raise Unavailable("down")
        self.windows |= {window.key: window for window in windows}

    async def load_windows(self, *, now_us: int) -> Sequence[WindowState]:
        return [window for window in self.windows.values() if window.end_us > now_us]

    async def drop_ended(self, *, now_us: int) -> int:
        kept = {key: window for key, window in self.windows.items() if window.end_us > now_us}
        dropped, self.windows = len(self.windows) - len(kept), kept
        return dropped


async def take(store: MemoryCounterStore, key: str, cost: int) -> None:
    await store.take([Take((LimitTake(key, RULE, cost),))])


async def test_a_quota_outlives_a_restart() -> None:
    clock, shelf = ManualClock(), Shelf()
    store = MemoryCounterStore(clock)
    await take(store, "a", 4)
    await take(store, "b", 2)
    await Checkpointer(store, shelf, clock).save()
    fresh = MemoryCounterStore(clock)
    assert await Checkpointer(fresh, shelf, clock).restore() == 2
    (seen,) = await fresh.peek([Take((LimitTake("a", RULE, 1), LimitTake("b", RULE, 1)))])
    assert [standing.remaining for standing in seen.standings] == [6, 8]


async def test_what_cannot_be_saved_is_kept_for_the_next_time() -> None:
    clock, shelf = ManualClock(), Shelf()
    store = MemoryCounterStore(clock)
    checkpointer = Checkpointer(store, shelf, clock)
    shelf.down = True
    for key, cost in (("a", 4), ("b", 2)):
        await take(store, key, cost)
        with pytest.raises(Unavailable):
            await checkpointer.save()
    await take(store, "a", 1)
    shelf.down = False
    await checkpointer.save()
    assert {key: window.used for key, window in shelf.windows.items()} == {"a": 5, "b": 2}
    calls = shelf.calls
    await checkpointer.save()
    assert shelf.calls == calls


async def test_rounds_save_sweep_and_leave_nothing_of_identities_that_never_come_back() -> None:
    clock, shelf = ManualClock(), Shelf()
    store = MemoryCounterStore(clock)
    checkpointer = Checkpointer(store, shelf, clock)
    await take(store, "a", 4)
    await checkpointer.round(1)
    assert set(shelf.windows) == {"a"}
    clock.advance(seconds=2 * 3600)
    for number in range(2, 61):
        await checkpointer.round(number)
    assert shelf.windows == {}
    assert await store.sweep() == 0


async def test_a_silent_database_does_not_stop_the_rounds() -> None:
    clock, shelf = ManualClock(), Shelf()
    store = MemoryCounterStore(clock)
    await take(store, "a", 4)
    shelf.down = True
    await Checkpointer(store, shelf, clock).round(60)
    assert shelf.calls == 1


async def test_counters_of_fail_mode_local_are_swept_too() -> None:
    clock = ManualClock()
    store, local = MemoryCounterStore(clock), MemoryCounterStore(clock)
    await take(local, "a", 4)
    clock.advance(seconds=2 * 3600)
    await Checkpointer(store, Shelf(), clock, swept=[local]).round(1)
    assert await local.sweep() == 0


class Emptied(MemoryCounterStore):
    """Counters that may be lost, and that may not answer."""

    lost = False
    down = False

    async def came_back_empty(self) -> bool:
        if self.down:
            raise Unavailable("down")
        return self.lost

    async def restore_windows(self, windows: Sequence[WindowState]) -> None:
        await super().restore_windows(windows)
        self.lost = False


async def remaining(store: MemoryCounterStore, key: str) -> int:
    (seen,) = await store.peek([Take((LimitTake(key, RULE, 1),))])
    return seen.standings[0].remaining


async def test_counters_that_came_back_empty_are_restored_in_the_next_round() -> None:
    clock, shelf = ManualClock(), Shelf()
    before, store = MemoryCounterStore(clock), Emptied(clock)
    await take(before, "a", 4)
    await Checkpointer(before, shelf, clock).save()
    store.lost = True
    await Checkpointer(store, shelf, clock).round(1)
    assert not store.lost
    assert await remaining(store, "a") == 6


async def test_what_could_not_be_saved_is_restored_too() -> None:
    clock, shelf = ManualClock(), Shelf()
    store = Emptied(clock)
    checkpointer = Checkpointer(store, shelf, clock)
    await take(store, "a", 4)
    shelf.down = True
    await checkpointer.round(1)
    store._states.clear()
    store.lost = True
    await checkpointer.round(2)
    assert await remaining(store, "a") == 6


async def test_a_silent_store_does_not_stop_the_rounds() -> None:
    clock, shelf = ManualClock(), Shelf()
    store = Emptied(clock)
    checkpointer = Checkpointer(store, shelf, clock)
    await take(store, "a", 4)
    store.down = store.lost = True
    await checkpointer.round(1)
    assert set(shelf.windows) == {"a"}
    store.down = False
    await checkpointer.round(2)
    assert not store.lost
