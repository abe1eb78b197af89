"""The loop that keeps the tables of reports in shape."""

from __future__ import annotations

from structlog.testing import capture_logs

from meter.upkeep import Upkeep
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import Unavailable
from usageflow.storage.upkeep import Forgotten, IdPosition


class FakeStore:
    """Has no room to make, two days to drop, and seven old ids; ``busy`` says that somebody is in the way."""

    def __init__(self, *, busy: bool = False) -> None:
        self.busy = busy
        self.ids = 7

    async def make_room(self, *, now_us: int) -> int:
        assert now_us == ManualClock().now_us()
        return 0

    async def drop_days(self, *, now_us: int) -> int:
        if self.busy:
            raise Unavailable("somebody is in the way")
        return 2

    async def forget_ids(self, *, now_us: int, after: IdPosition, limit: int) -> Forgotten:
        gone = min(limit, self.ids)
        self.ids -= gone
        return Forgotten(gone, IdPosition(after.part, "a", "b", 0) if self.ids else None)


async def tended(store: FakeStore) -> list[tuple[object, object]]:
    with capture_logs() as logs:
        await Upkeep(store, ManualClock(), batch=3, pause_s=0).tend()
    return [(entry["log_level"], entry.get("number")) for entry in logs]


async def test_days_are_dropped_and_ids_forgotten_a_few_at_a_time() -> None:
    store = FakeStore()
    assert await tended(store) == [("info", 2), ("info", 7)]
    assert store.ids == 0


async def test_who_is_in_the_way_of_one_thing_keeps_no_other_from_being_done() -> None:
    store = FakeStore(busy=True)
    assert await tended(store) == [("warning", None), ("info", 7)]
