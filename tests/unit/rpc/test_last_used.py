from __future__ import annotations

from collections.abc import Mapping

from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import Unavailable
from usageflow.rpc.last_used import LastUsed


class Store:
    """Keeps what is written; ``down`` makes it fail."""

    def __init__(self) -> None:
        self.written: list[Mapping[str, int]] = []
        self.down = False

    async def record_uses(self, uses: Mapping[str, int]) -> None:
        if self.down:
            raise Unavailable("the database is down")
        self.written.append(uses)


async def test_each_credential_is_written_at_most_once_a_minute() -> None:
    store, clock = Store(), ManualClock()
    uses = LastUsed(store, clock)
    await uses.write_due()
    for second in range(130):
        uses.note("a", second)
        if second == 70:
            uses.note("b", second)
        await uses.write_due()
        clock.advance(seconds=1)
    assert store.written == [{"a": 0}, {"a": 60}, {"b": 70}, {"a": 120}]
    await uses.flush()
    assert store.written[-1] == {"a": 129}


async def test_what_could_not_be_written_is_written_later_and_only_the_newest() -> None:
    store, clock = Store(), ManualClock()
    uses = LastUsed(store, clock)
    store.down = True
    uses.note("a", 1)
    uses.note("b", 1)
    await uses.write_due()
    uses.note("a", 2)
    store.down = False
    await uses.write_due()
    assert store.written == [{"a": 2, "b": 1}]
