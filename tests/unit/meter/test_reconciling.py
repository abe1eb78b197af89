from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from meter.customers import BilledCustomers
from meter.reconciling import NIGHT_S, Reconciling
from meter.sinks import Reckoned
from meter.works import Works
from tests.unit.fakes import KEY_OF, FakeControl, FakeIdentities
from usageflow.domain.billing import HOUR_S, Target, Window
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import FailedPrecondition, InvalidArgument, Unavailable
from usageflow.domain.policies import Trigger
from usageflow.storage.billing import SentSum

TARGET = Target(Trigger.STRIPE_USAGE, "price_1")
DAY_S = 86_400
MIDNIGHT_S = 1_700_000_000 // DAY_S * DAY_S


class Book:
    """Knows one hour's units, and notes which windows it is asked for."""

    def __init__(self) -> None:
        self.asked: list[Window] = []
        self.down = 0

    async def sent_sums(self, application_id: str, window: Window) -> list[SentSum]:
        self.asked.append(window)
        if self.down:
            self.down -= 1
            raise Unavailable("the database does not answer")
        return [SentSum("cus_1", "acme", TARGET, window.start_s, Decimal(3), 1, 0)]


class Destination:
    """Counts one unit more."""

    async def reckoned(self, wanted: Any, window: Window) -> list[Any]:
        return [Reckoned(payee, target, window.start_s, Decimal(4)) for payee, target in wanted]


def reconciling(
    book: Any, clock: ManualClock, *, works: bool = True, pause: Any = asyncio.sleep
) -> Reconciling:
    control: Any = FakeControl()
    control.add()
    nothing: Any = None
    sink: Any = Destination()
    customers = BilledCustomers(control, FakeIdentities(), KEY_OF)
    found = Works(sink, nothing, nothing) if works else None
    return Reconciling(book, control, customers, clock, found, pause)


def at(second: int) -> ManualClock:
    return ManualClock(second * 1_000_000)


async def test_each_night_looks_at_two_days() -> None:
    book, clock, steps = Book(), at(MIDNIGHT_S + NIGHT_S + 5), 0
    book.down = 1

    async def pause(_: float) -> None:
        nonlocal steps
        steps += 1
        if steps > 72:
            raise asyncio.CancelledError
        clock.advance(seconds=HOUR_S)

    nightly = reconciling(book, clock, pause=pause)
    with pytest.raises(asyncio.CancelledError):
        await nightly.run_for_ever()
    starts = [MIDNIGHT_S + night * DAY_S + NIGHT_S for night in (1, 2, 3)]
    # Two o'clock is past by some seconds: the hour before has not been added up there yet.
    assert [window.end_s for window in book.asked] == [start - HOUR_S for start in starts]
    assert {window.end_s - window.start_s for window in book.asked} == {47 * HOUR_S}
    assert nightly.drifted == 1


async def test_a_customer_is_compared_alone() -> None:
    nightly = reconciling(Book(), at(MIDNIGHT_S))
    (found,) = await nightly.compare("demo", MIDNIGHT_S - DAY_S, None)
    assert (found.customer, found.drift) == ("acme", Decimal(1))


async def test_what_cannot_be_compared_is_said() -> None:
    nightly = reconciling(Book(), at(MIDNIGHT_S))
    with pytest.raises(InvalidArgument, match="35 days"):
        await nightly.compare("demo", MIDNIGHT_S - 36 * DAY_S, None)
    with pytest.raises(InvalidArgument, match="no whole hour"):
        await nightly.compare("demo", MIDNIGHT_S - 60, None)
    with pytest.raises(FailedPrecondition, match="sent nowhere"):
        await reconciling(Book(), at(MIDNIGHT_S), works=False).compare("demo", MIDNIGHT_S - DAY_S, None)
