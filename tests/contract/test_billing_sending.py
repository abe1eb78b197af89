"""The contract of BillingStore, as far as parts are on their way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select

from tests.causes import NOBODY, by
from tests.contract.billing_world import DELTA, HOUR, NOW_US, TOTAL, World
from usageflow.domain.billing import HOUR_S, HoldReason, Method, Part, PartState, Target, Window
from usageflow.domain.policies import Trigger
from usageflow.storage.audit import AuditLog
from usageflow.storage.billing import Hold, Move, PartFilter, Pause
from usageflow.storage.sql.tables import BILLING_SPANS, METERING_DELTAS

FROZEN, SENDING, SENT = PartState.FROZEN, PartState.SENDING, PartState.SENT


async def test_a_part_is_claimed_once_until_its_claim_ends(billing: World) -> None:
    part = await billing.frozen()
    (mine,) = await billing.store.claim_parts("a", now_us=NOW_US, until_us=NOW_US + 60, limit=9, without=())
    claimed = replace(part, state=SENDING, attempts=1, first_attempt_us=NOW_US, next_us=NOW_US + 60)
    assert mine == claimed
    assert await billing.due(store=billing.other, now_us=NOW_US + 59) == []
    (theirs,) = await billing.other.claim_parts(
        "b", now_us=NOW_US + 60, until_us=NOW_US + 99, limit=9, without=()
    )
    late = replace(claimed, attempts=2, next_us=NOW_US + 99, updated_us=NOW_US + 60)
    assert theirs == late
    assert await billing.settle(part, SENT, attempt=1) == 0
    assert await billing.settle(part, SENT, attempt=2) == 1
    assert await billing.settle(part, PartState.REJECTED, attempt=2) == 0
    assert await billing.state(part) is SENT
    assert await billing.due(now_us=2**60) == []


async def test_oldest_windows_go_first_and_no_more_than_asked_for(billing: World) -> None:
    windows = [Window(HOUR + number * HOUR_S, HOUR + (number + 1) * HOUR_S) for number in (2, 0, 1)]
    parts: list[Part] = []
    for window in windows:
        await billing.report(second=window.start_s)
        parts += await billing.freeze(window=window)
    third, first, second = (part.part_id for part in parts)
    assert await billing.due(limit=2) == [first, second]
    assert await billing.due(limit=2) == [third]


async def test_what_goes_to_a_paused_destination_stays(billing: World) -> None:
    part = await billing.frozen()
    other = await billing.frozen(terms=replace(DELTA, method=Method.FILE_LINE))
    assert await billing.due(without=[part.destination, "acct_9/meter_event"]) == [other.part_id]
    assert await billing.due() == [part.part_id]


async def test_an_outcome_is_recorded_as_it_was_told(billing: World) -> None:
    part = await billing.frozen()
    await billing.due()
    told: dict[str, Any] = {
        "note": "no answer\0\ud800" + "x" * 900,
        "next_us": NOW_US + 5,
        "stripe_id": "mtr_1",
        "stripe_request": "req_1",
    }
    assert await billing.settle(part, SENDING, **told, now_us=NOW_US + 1) == 1
    kept = await billing.part(part)
    assert (kept.note[:12], len(kept.note)) == ("no answer??x", 500)
    assert (kept.state, kept.next_us, kept.updated_us) == (SENDING, NOW_US + 5, NOW_US + 1)
    assert (kept.stripe_id, kept.stripe_request) == ("mtr_1", "req_1")
    assert await billing.settle(part, SENT) == 0  # it is in nobody's hands
    assert await billing.due(now_us=NOW_US + 4) == []
    assert await billing.due(now_us=NOW_US + 5) == [part.part_id]
    again = await billing.part(part)
    assert (again.attempts, again.first_attempt_us) == (2, NOW_US)
    assert await billing.settle(part, SENT, attempt=2, next_us=NOW_US + 9) == 1
    done = await billing.part(part)
    assert (done.state, done.next_us, done.stripe_id, done.note) == (SENT, 0, "mtr_1", "")


async def test_where_no_attempt_counts_the_next_is_the_first(billing: World) -> None:
    part = await billing.frozen()
    await billing.send(part, FROZEN, next_us=NOW_US + 7)
    assert (await billing.part(part)).first_attempt_us == 0
    assert await billing.due(now_us=NOW_US + 7) == [part.part_id]
    assert (await billing.part(part)).first_attempt_us == NOW_US + 7


async def test_results_of_one_call_count_each_for_itself(billing: World) -> None:
    assert await billing.store.settle_parts([], now_us=NOW_US) == 0
    part = await billing.frozen()
    assert await billing.settle(part, SENT) == 0  # nobody claimed it
    assert await billing.settle(part.part_id + 1, SENT) == 0


async def test_of_a_total_only_the_first_that_is_unsettled_goes(billing: World) -> None:
    first, second, third = [await billing.frozen(terms=TOTAL) for _ in range(3)]
    apart = await billing.frozen(terms=replace(TOTAL, payee="cus_2"))
    free = await billing.frozen(terms=replace(DELTA, span=TOTAL.span))
    assert await billing.due() == [first.part_id, apart.part_id, free.part_id]
    await billing.settle(first, SENDING, next_us=NOW_US + 1)
    assert await billing.due() == []
    assert await billing.due(now_us=NOW_US + 1) == [first.part_id]
    await billing.settle(first, PartState.AMBIGUOUS, attempt=2)
    assert await billing.due() == []
    await move(billing, Move.MARK_SENT, first.part_id)
    await move(billing, Move.HOLD, second.part_id)
    assert await billing.due() == []
    await move(billing, Move.RELEASE, second.part_id)
    await billing.send(second, PartState.REJECTED)
    await billing.send(third)


async def move(billing: World, move: Move, *part_ids: int) -> int:
    return await billing.store.move_parts(
        billing.application_id, PartFilter(part_ids=part_ids), move, cause=NOBODY, now_us=NOW_US
    )


async def test_no_total_is_sent_behind_a_later_one(billing: World) -> None:
    early, late = [await billing.frozen(terms=TOTAL) for _ in range(2)]
    await billing.send(early, PartState.REJECTED)
    await billing.due(until_us=NOW_US + 60)
    assert await move(billing, Move.RETRY, early.part_id) == 1
    assert await billing.due() == []  # the later one is being sent
    await billing.settle(late, PartState.AMBIGUOUS)
    assert await billing.due() == []  # it may count
    assert await move(billing, Move.MARK_SENT, late.part_id) == 1
    assert await billing.due() == []
    found = await billing.part(early)
    assert (found.state, found.note, found.attempts) == (SENT, "a later total holds its units", 1)


async def test_an_earlier_total_goes_before_a_later_one_that_waits(billing: World) -> None:
    early, late = [await billing.frozen(terms=TOTAL) for _ in range(2)]
    await billing.send(early, PartState.REJECTED)
    await billing.send(late, SENDING, next_us=NOW_US + 1)
    assert await move(billing, Move.RETRY, early.part_id) == 1
    assert await billing.due(now_us=NOW_US + 1) == [early.part_id]
    await billing.settle(early, SENT, attempt=2)
    assert await billing.due(now_us=NOW_US + 1) == [late.part_id]


async def test_processes_share_the_work(billing: World) -> None:
    made = [(await billing.frozen()).part_id for _ in range(12)]
    stores = [billing.store, billing.other] * 3
    shares = await asyncio.gather(*(billing.due(store=store, limit=3) for store in stores))
    assert sorted(part_id for share in shares for part_id in share) == made[: sum(map(len, shares))]
    assert sorted([each for share in shares for each in share] + await billing.due(limit=99)) == made


async def test_what_was_refused_afterwards_is_rejected(billing: World) -> None:
    sent, waits = await billing.frozen(), await billing.frozen(customer="b")
    assert set(await billing.due()) == {sent.part_id, waits.part_id}
    await billing.settle(sent, SENT)
    why = {sent.identifier: "no such customer\0", waits.identifier: "x", "uf1_nobody": "x"}
    assert await billing.store.refuse_sent(why, now_us=NOW_US + 3) == 1
    assert await billing.store.refuse_sent(why, now_us=NOW_US + 4) == 0
    found = await billing.part(sent)
    assert (found.state, found.note, found.updated_us) == (
        PartState.REJECTED,
        "no such customer?",
        NOW_US + 3,
    )
    assert await billing.state(waits) is SENDING


async def test_old_parts_are_forgotten_with_their_deltas(billing: World) -> None:
    sent, cancelled = await billing.frozen(), await billing.frozen()
    await billing.due()
    await billing.settle(sent, SENT)
    await billing.settle(cancelled, SENT)
    await billing.store.cancelled(cancelled.part_id, note="", cause=NOBODY, now_us=NOW_US)
    kept = await billing.frozen()
    await billing.report("5")
    assert await billing.store.forget_parts(before_s=HOUR + HOUR_S) == 0
    assert await billing.store.forget_parts(before_s=HOUR + HOUR_S + 1) == 2
    assert await billing.store.forget_parts(before_s=HOUR + HOUR_S + 1) == 0
    assert await billing.store.parts(billing.application_id, PartFilter(), after=0, limit=9) == [kept]
    assert await billing.claimed() == [kept.part_id, None]


async def test_many_old_parts_are_forgotten_some_at_a_time(billing: World) -> None:
    for number in range(60):
        await billing.report(identity=f"v:{number}")
    claims = [await billing.claim(f"v:{number}", customer=f"c{number}") for number in range(60)]
    parts = await billing.store.freeze(claims, now_us=NOW_US)
    await billing.due(limit=99)
    for part in parts:
        await billing.settle(part, SENT)
    gone = [await billing.store.forget_parts(before_s=2**40) for _ in range(3)]
    assert (sum(gone), gone[-1]) == (60, 0)
    assert await count(billing, METERING_DELTAS) == 0


async def count(billing: World, table: object) -> int:
    statement = select(func.count()).select_from(table)  # type: ignore[arg-type] # any table
    return await billing.database.read(lambda connection: int(connection.execute(statement).scalar_one()))


async def test_a_total_lasts_as_long_as_its_span_and_its_parts(billing: World) -> None:
    month = replace(TOTAL, span=Window(HOUR - HOUR_S, HOUR + 720 * HOUR_S))
    for terms in (TOTAL, month):
        await billing.send(await billing.frozen(terms=terms))
    await billing.frozen(terms=TOTAL)
    assert await billing.store.forget_parts(before_s=HOUR + 2 * HOUR_S) == 2
    assert await count(billing, BILLING_SPANS) == 2
    assert (await billing.frozen(terms=month)).value == 2
    assert (await billing.frozen(terms=TOTAL)).value == 3
    while await billing.due(until_us=NOW_US + 1):
        for part in await billing.store.parts(
            billing.application_id, PartFilter(states=frozenset({SENDING})), after=0, limit=9
        ):
            await billing.settle(part, SENT)
    assert await billing.store.forget_parts(before_s=2**40) == 3
    assert await count(billing, BILLING_SPANS) == 0


async def test_holds_are_what_the_last_round_found(billing: World, application_id: str) -> None:
    target = Target(Trigger.STRIPE_INVOICE, "price_9")
    some = [
        Hold("acme", target, HoldReason.NO_SUBSCRIPTION, "none\0", 1, Decimal("0.5"), HOUR),
        Hold("", target, HoldReason.UNMAPPED, "nobody's", 2, Decimal(2), HOUR),
    ]
    await billing.store.replace_holds({application_id: some}, now_us=5)
    found = await billing.other.holds(application_id)
    assert found == [replace(some[1], since_us=5), replace(some[0], since_us=5, message="none?")]
    more = replace(some[0], requests=9, message="still none")
    new = replace(some[0], reason=HoldReason.LATE_USAGE)
    await billing.other.replace_holds({application_id: [more, new]}, now_us=6)
    assert set(await billing.store.holds(application_id)) == {
        replace(more, since_us=5),
        replace(new, since_us=6, message="none?"),
    }
    await billing.store.replace_holds({}, now_us=7)
    assert await billing.store.holds(application_id) == []


async def test_a_pause_lasts_until_a_person_ends_it(billing: World, audit: AuditLog) -> None:
    await billing.store.pause("b/x", "denied", now_us=5)
    await billing.store.pause("a/x", "denied\0", now_us=6)
    await billing.other.pause("b/x", "denied again", now_us=7)
    assert await billing.other.pauses() == [Pause("a/x", "denied?", 6), Pause("b/x", "denied again", 5)]
    assert await billing.store.resume("b/x", cause=by("ann"))
    assert not await billing.store.resume("b/x", cause=by("ann"))
    assert [each.destination for each in await billing.store.pauses()] == ["a/x"]
