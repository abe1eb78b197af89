"""Reports go on while several processes make parts and send them."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from decimal import Decimal

import pytest
from sqlalchemy import select

from tests.contract.billing_world import DELTA, EVERYTHING, HOUR, NOW_US, TARGET, World
from usageflow.domain.billing import HOUR_S, Part, PartState, Target, hour_of
from usageflow.storage.billing import Claim, PartResult
from usageflow.storage.sql import SqlBilling
from usageflow.storage.sql.tables import METERING_DELTAS

WRITERS, REPORTS = 4, 40


@pytest.fixture
def processes(billing: World, request: pytest.FixtureRequest) -> tuple[SqlBilling, SqlBilling]:
    """What two processes have; of SQLite there is one, whose work stands in a queue."""
    alone = request.node.callspec.params["open_database"] == "sqlite"
    return (billing.store, billing.store if alone else billing.other)


async def test_what_commits_while_parts_are_made_is_in_the_next(
    billing: World, processes: tuple[SqlBilling, SqlBilling]
) -> None:
    await billing.report("0")
    claims = [
        await billing.claim(window=hour_of(HOUR + hour * HOUR_S), customer=customer)
        for hour, customer in itertools.product(range(2), ("a", "b"))
    ]
    reporting = asyncio.gather(*(keep_reporting(billing) for _ in range(WRITERS)))
    freezing = [
        asyncio.create_task(keep_freezing(store, some, reporting))
        for store, some in zip(processes, (claims, claims[::-1]), strict=True)
    ]
    await reporting
    made = [part for each in freezing for part in await each]
    made += await billing.store.freeze(claims, now_us=NOW_US)
    assert sum((part.units for part in made), Decimal(0)) == WRITERS * REPORTS
    assert sum(part.requests for part in made) == WRITERS * REPORTS + 1
    assert len(made) > 4
    await every_delta_is_in_one(billing, made)


async def keep_reporting(billing: World) -> None:
    for number in range(REPORTS):
        await billing.report("1", second=HOUR + number % 2 * HOUR_S)


async def keep_freezing(
    store: SqlBilling, claims: list[Claim], reporting: asyncio.Future[list[None]]
) -> list[Part]:
    made: list[Part] = []
    while not reporting.done():
        made += await store.freeze(claims, now_us=NOW_US)
    return made


async def every_delta_is_in_one(billing: World, made: list[Part]) -> None:
    claimed = Counter(await billing.claimed())
    assert None not in claimed
    assert claimed.keys() == {part.part_id for part in made}
    assert all(claimed[part.part_id] == part.requests for part in made)
    stored = await billing.store.parts(billing.application_id, EVERYTHING, after=0, limit=999)
    assert {part.identifier for part in stored} == {part.identifier for part in made}
    assert len({part.identifier for part in made}) == len(made)
    numbers: dict[tuple[str, int], list[int]] = {}
    for part in sorted(made, key=lambda part: part.part_id):
        numbers.setdefault((part.customer, part.window.start_s), []).append(part.number)
    assert all(each == list(range(1, len(each) + 1)) for each in numbers.values())


async def test_new_ledgers_that_meet_are_made_once_and_wait_in_no_circle(
    billing: World, processes: tuple[SqlBilling, SqlBilling]
) -> None:
    await billing.report()
    targets = [Target(TARGET.trigger, f"price_{number}", "") for number in range(2, 8)]
    for target in targets:
        for number in range(8):
            await billing.report(price=target.price, second=HOUR + number * HOUR_S)
    claims = [
        await billing.claim(target=target, window=hour_of(HOUR + number * HOUR_S), terms=DELTA)
        for target in targets
        for number in range(8)
    ]
    in_turn = itertools.cycle(processes)
    turned = [claims, claims[::-1], claims[7:] + claims[:7], claims[::2] + claims[1::2]]
    made = await asyncio.gather(*(next(in_turn).freeze(each, now_us=NOW_US) for each in turned))
    parts = [part for some in made for part in some]
    assert (len(parts), {part.number for part in parts}) == (48, {1})


async def test_each_part_is_sent_by_one(billing: World, processes: tuple[SqlBilling, SqlBilling]) -> None:
    for number in range(30):
        await billing.report(identity=f"v:{number}")
    claims = [await billing.claim(f"v:{number}", customer=f"c{number}") for number in range(30)]
    parts = await billing.store.freeze(claims, now_us=NOW_US)
    sent: Counter[int] = Counter()

    async def work(store: SqlBilling, name: str) -> None:
        while len(sent) < len(parts):
            mine = await store.claim_parts(name, now_us=NOW_US, until_us=2**60, limit=3, without=())
            sent.update(part.part_id for part in mine)
            results = [PartResult(part.part_id, part.attempts, PartState.SENT) for part in mine]
            assert await store.settle_parts(results, now_us=NOW_US) == len(mine)

    workers = (work(store, str(number)) for number, store in enumerate(processes * 2))
    await asyncio.gather(*workers)
    assert sent == Counter({part.part_id: 1 for part in parts})


async def test_a_delta_is_claimed_once_by_claims_that_meet(
    billing: World, processes: tuple[SqlBilling, SqlBilling]
) -> None:
    for number in range(5):
        await billing.report(second=HOUR + number)
    claims = [await billing.claim(customer=f"c{number}") for number in range(8)]
    in_turn = itertools.cycle(processes)
    made = await asyncio.gather(*(next(in_turn).freeze([each], now_us=NOW_US) for each in claims))
    (part,) = [part for some in made for part in some]
    rows = await billing.database.read(lambda c: c.execute(select(METERING_DELTAS.c.part)).scalars().all())
    assert (part.units, set(rows)) == (Decimal(5), {part.part_id})
