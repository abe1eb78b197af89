"""The contract of BillingBook."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.causes import NOBODY
from tests.contract.billing_world import DELTA, EVERYTHING, HOUR, NOW_US, TARGET, TOTAL, World
from usageflow.domain.billing import HOUR_S, PartKind, PartState, Window, hour_of
from usageflow.domain.changes import Action, Actor, Cause, Change
from usageflow.domain.errors import AlreadyExists, FailedPrecondition, NotFound
from usageflow.storage.audit import AuditLog, AuditQuery
from usageflow.storage.billing import Correction, Move, PartFilter, PartSum, SentSum, Stop

FROZEN, SENDING, SENT, HELD = PartState.FROZEN, PartState.SENDING, PartState.SENT, PartState.HELD
REJECTED, AMBIGUOUS, EXPIRED = PartState.REJECTED, PartState.AMBIGUOUS, PartState.EXPIRED


def cause(request_id: str = "", payload: bytes = b"") -> Cause:
    change = Change(Action.UPDATED, "billing", "demo")
    return Cause(Actor("id-of-ann", "ann"), "Move", (change,), request_id, payload)


async def entries(audit: AuditLog) -> int:
    found, _ = await audit.audit_entries(AuditQuery(after=0, limit=100, kind="billing"))
    return len(found)


async def move(billing: World, what: Move, wanted: PartFilter = EVERYTHING, *, by: Cause = NOBODY) -> int:
    return await billing.store.move_parts(billing.application_id, wanted, what, cause=by, now_us=NOW_US + 5)


async def in_state(billing: World, state: PartState, customer: str = "acme") -> int:
    """Returns a part that came to this state by being sent."""
    part = await billing.frozen(customer=customer)
    if state is HELD:
        await move(billing, Move.HOLD, PartFilter(part_ids=(part.part_id,)))
    elif state is not FROZEN:
        await billing.send(part, state, next_us=NOW_US + 99 if state is SENDING else 0)
    return part.part_id


async def test_parts_are_listed_newest_first_by_what_is_asked(billing: World) -> None:
    made = [await billing.frozen() for _ in range(2)]
    await billing.report(second=HOUR + HOUR_S)
    made += await billing.freeze(customer="b", window=hour_of(HOUR + HOUR_S))
    await billing.report(price="price_2")
    made += await billing.freeze(target=TARGET._replace(price="price_2"))
    first, second, later, priced = made
    await billing.settle((await billing.due(limit=1))[0], SENT)
    app = billing.application_id

    async def ids(wanted: PartFilter = EVERYTHING, after: int = 0, limit: int = 9) -> list[int]:
        found = await billing.other.parts(app, wanted, after=after, limit=limit)
        return [part.part_id for part in found]

    assert await ids() == [part.part_id for part in reversed(made)]
    assert await ids(limit=2) == [priced.part_id, later.part_id]
    assert await ids(after=later.part_id, limit=1) == [second.part_id]
    assert await ids(PartFilter(states=frozenset({SENT, EXPIRED}))) == [first.part_id]
    assert await ids(PartFilter(customer="b")) == [later.part_id]
    assert await ids(PartFilter(price="price_2")) == [priced.part_id]
    assert await ids(PartFilter(since_s=HOUR + 1)) == [later.part_id]
    at_s = later.terms.timestamp_s
    assert later.part_id in await ids(PartFilter(within=Window(at_s, at_s + 1)))
    assert await ids(PartFilter(within=Window(at_s + 10 * HOUR, at_s + 11 * HOUR))) == []
    assert await ids(PartFilter(until_s=HOUR + HOUR_S)) == [priced.part_id, second.part_id, first.part_id]
    assert await ids(PartFilter(part_ids=(first.part_id, 10**9))) == [first.part_id]
    assert await billing.other.parts("another", EVERYTHING, after=0, limit=9) == []


async def test_parts_add_up_by_target_and_state(billing: World) -> None:
    for units in ("0.1", "0.2", "999999999999999"):
        await billing.frozen(units)
    (due,) = await billing.due(limit=1)
    await billing.settle(due, SENT)
    await billing.report("7", price="price_2")
    second = TARGET._replace(price="price_2")
    await billing.freeze(target=second, customer="b")
    large = Decimal("999999999999999.2")
    assert await billing.other.part_sums(billing.application_id, EVERYTHING) == [
        PartSum(TARGET, FROZEN, 2, 2, large, HOUR),
        PartSum(TARGET, SENT, 1, 1, Decimal("0.1"), HOUR),
        PartSum(second, FROZEN, 1, 1, Decimal(7), HOUR),
    ]
    only = PartFilter(customer="b")
    assert len(await billing.store.part_sums(billing.application_id, only)) == 1


@pytest.mark.parametrize(
    ("what", "becomes"),
    [
        (Move.RETRY, {REJECTED: FROZEN, AMBIGUOUS: FROZEN, SENDING: SENDING}),
        (Move.RETRY_ANEW, {REJECTED: FROZEN, AMBIGUOUS: FROZEN, EXPIRED: FROZEN}),
        (Move.HOLD, {FROZEN: HELD}),
        (Move.RELEASE, {HELD: FROZEN}),
        (Move.MARK_SENT, {AMBIGUOUS: SENT}),
    ],
)
async def test_a_move_applies_to_some_states(
    billing: World, what: Move, becomes: dict[PartState, PartState]
) -> None:
    states = [each for each in PartState if each is not FROZEN]
    made = {state: await in_state(billing, state) for state in [*states, FROZEN]}
    before = {state: await billing.part(part_id) for state, part_id in made.items()}
    assert await move(billing, what) == len(becomes)
    for state, part_id in made.items():
        after = await billing.part(part_id)
        if state not in becomes:
            assert after == before[state]
            continue
        assert (after.state, after.updated_us) == (becomes[state], NOW_US + 5)
        assert after.next_us == (0 if after.state in {HELD, SENT} else NOW_US + 5)


async def test_a_part_in_somebodys_hands_or_of_another_application_stays(billing: World) -> None:
    part = await billing.frozen()
    await billing.due()
    for what in Move:
        assert await move(billing, what) == 0
    await billing.settle(part, AMBIGUOUS)
    wanted = await billing.store.move_parts("another", EVERYTHING, Move.RETRY, cause=NOBODY, now_us=1)
    assert (wanted, await billing.state(part)) == (0, AMBIGUOUS)
    assert await move(billing, Move.RETRY, PartFilter(part_ids=(part.part_id + 1,))) == 0


async def test_what_was_given_up_has_its_time_anew(billing: World) -> None:
    part = await billing.frozen()
    await billing.send(part, AMBIGUOUS)
    await move(billing, Move.RETRY)
    again = await billing.part(part)
    assert (again.first_attempt_us, again.attempts, again.identifier) == (0, 1, part.identifier)
    await billing.due(now_us=NOW_US + 6)
    waits = await billing.part(part)
    await billing.settle(part, SENDING, attempt=2, next_us=NOW_US + 999)
    await move(billing, Move.RETRY)
    assert (await billing.part(part)).first_attempt_us == waits.first_attempt_us == NOW_US + 6


async def test_anew_is_under_another_identifier_and_no_late_worker_ends_it(billing: World) -> None:
    part = await billing.frozen()
    await billing.send(part, REJECTED)
    names = {part.identifier}
    for issue in (1, 2):
        assert await move(billing, Move.RETRY_ANEW) == 1
        anew = await billing.part(part)
        assert (anew.issue, anew.first_attempt_us, anew.number) == (issue, 0, 1)
        names.add(anew.identifier)
        assert await billing.due(now_us=NOW_US + 5) == [part.part_id]
        assert await billing.settle(part, SENT, attempt=issue) == 0
        await billing.settle(part, REJECTED, attempt=issue + 1)
    assert len(names) == 3


async def test_the_same_request_again_changes_nothing_and_is_told_the_same(
    billing: World, audit: AuditLog
) -> None:
    part = await billing.frozen()
    await billing.frozen(customer="b")
    assert await move(billing, Move.HOLD, by=cause("r-1")) == 2
    await move(billing, Move.RELEASE)
    assert await move(billing, Move.HOLD, by=cause("r-1")) == 2
    assert (await billing.state(part), await entries(audit)) == (FROZEN, 1)
    with pytest.raises(AlreadyExists):
        await move(billing, Move.HOLD, by=cause("r-1", b"other"))
    assert await move(billing, Move.RELEASE, by=cause("r-2")) == 0
    assert await entries(audit) == 1
    stop = Stop(billing.application_id, "acme", "")
    assert await billing.store.stop(stop, held=True, cause=cause("r-3"), now_us=1)
    await billing.store.stop(stop, held=False, cause=cause(), now_us=2)
    await billing.store.stop(stop, held=True, cause=cause("r-3"), now_us=3)
    assert (await billing.store.stops(), await entries(audit)) == ([], 3)


async def test_an_end_of_a_pause_is_in_the_audit_log(billing: World, audit: AuditLog) -> None:
    await billing.store.pause("a/x", "denied", now_us=6)
    assert await billing.store.resume("a/x", cause=cause())
    assert not await billing.store.resume("a/x", cause=cause())
    assert await entries(audit) == 1


def correction(billing: World, units: str, **changes: object) -> Correction:
    made = Correction(billing.application_id, "acme", TARGET, hour_of(HOUR), Decimal(units), DELTA, "twice\0")
    return replace(made, **changes)  # type: ignore[arg-type] # fields by name


async def test_a_correction_is_a_part_of_its_own(billing: World, audit: AuditLog) -> None:
    await billing.frozen("2")
    part = await billing.store.correct(correction(billing, "-0.5"), cause=cause(), now_us=NOW_US)
    assert (part.kind, part.number, part.requests) == (PartKind.CORRECTION, 2, 0)
    assert (part.units, part.value, part.state) == (Decimal("-0.5"), Decimal("-0.5"), FROZEN)
    assert (part.note, await entries(audit)) == ("twice?", 1)
    (found,) = await billing.other.parts(billing.application_id, EVERYTHING, after=0, limit=1)
    assert found == part
    assert (await billing.frozen("1")).number == 3
    fresh = correction(billing, "1.5", customer="new", terms=replace(DELTA, whole=True))
    assert (await billing.store.correct(fresh, cause=NOBODY, now_us=NOW_US)).value == 1
    half = replace(fresh, units=Decimal("0.25"))
    assert (await billing.store.correct(half, cause=NOBODY, now_us=NOW_US)).state is SENT


async def test_no_more_is_taken_back_than_a_window_has(billing: World) -> None:
    await billing.frozen("2")
    await billing.store.correct(correction(billing, "-1.5"), cause=cause("r-1"), now_us=NOW_US)
    with pytest.raises(FailedPrecondition, match=r"only 0\.5 units"):
        await billing.store.correct(correction(billing, "-0.75"), cause=NOBODY, now_us=NOW_US)
    await billing.store.correct(correction(billing, "-1.5"), cause=cause("r-1"), now_us=NOW_US)
    await billing.store.correct(correction(billing, "-0.5"), cause=NOBODY, now_us=NOW_US)
    await billing.send_all(PartState.REJECTED)
    with pytest.raises(FailedPrecondition, match="only 0 units"):
        await billing.store.correct(correction(billing, "-1"), cause=NOBODY, now_us=NOW_US)


async def test_a_correction_changes_the_total_of_its_span(billing: World) -> None:
    await billing.frozen("5", terms=TOTAL)
    part = await billing.store.correct(correction(billing, "-2", terms=TOTAL), cause=NOBODY, now_us=NOW_US)
    assert (part.units, part.value) == (Decimal(-2), Decimal(3))
    assert (await billing.frozen("1", terms=TOTAL)).value == 4


async def test_a_correction_is_made_once_per_request(billing: World, audit: AuditLog) -> None:
    wanted = correction(billing, "3")
    stores = [billing.store, billing.other] * 3
    made = await asyncio.gather(
        *(store.correct(wanted, cause=cause("r-1"), now_us=NOW_US) for store in stores)
    )
    assert len({part.part_id for part in made}) == 1
    assert (await entries(audit), len(await billing.due(limit=9))) == (1, 1)
    with pytest.raises(AlreadyExists):
        await billing.store.correct(wanted, cause=cause("r-1", b"x"), now_us=NOW_US)
    await billing.settle(made[0], SENT)
    await billing.store.forget_parts(before_s=2**40)
    with pytest.raises(NotFound, match="deleted"):
        await billing.store.correct(wanted, cause=cause("r-1"), now_us=NOW_US)


async def test_only_what_was_sent_is_taken_back(billing: World, audit: AuditLog) -> None:
    part = await billing.frozen()

    async def cancel() -> bool:
        return await billing.store.cancelled(part.part_id, note="wrong\0", cause=cause(), now_us=NOW_US + 1)

    assert not await cancel()
    await billing.send(part)
    assert await cancel()
    assert not await cancel()
    found = await billing.part(part)
    assert (found.state, found.note, await entries(audit)) == (PartState.CANCELLED, "wrong?", 1)
    assert await billing.claimed() == [part.part_id]


async def test_what_counts_is_what_was_sent(billing: World) -> None:
    one, two = await billing.frozen("0.1"), await billing.frozen("0.2")
    await billing.send_all(SENT)
    open_, unsure = await billing.frozen("4"), await billing.frozen("8")
    await billing.due(limit=1)
    await billing.due(limit=1)
    await billing.settle(unsure, AMBIGUOUS)
    await billing.report("16")
    await billing.freeze(terms=replace(DELTA, timestamp_s=HOUR + HOUR_S, payee="cus_2"), customer="b")
    await billing.send_all(SENT)
    await billing.frozen("32")
    wide = Window(HOUR, HOUR + 2 * HOUR_S)
    first = SentSum("cus_1", "acme", TARGET, HOUR, Decimal("0.3"), 2, 2)
    second = SentSum("cus_2", "b", TARGET, HOUR + HOUR_S, Decimal(16), 1, 0)
    assert await billing.other.sent_sums(billing.application_id, wide) == [first, second]
    assert await billing.store.sent_sums(billing.application_id, hour_of(HOUR)) == [first]
    assert await billing.store.sent_sums("another", wide) == []
    assert await billing.state(open_) is SENDING
    await billing.store.cancelled(two.part_id, note="", cause=NOBODY, now_us=NOW_US)
    await billing.store.refuse_sent({one.identifier: "x"}, now_us=NOW_US)
    (left,) = await billing.store.sent_sums(billing.application_id, hour_of(HOUR))
    assert (left.value, left.parts, left.unsettled) == (Decimal(0), 0, 2)


async def test_customers_who_share_a_payee_share_what_counts(billing: World) -> None:
    await billing.frozen("1", terms=TOTAL)
    await billing.frozen("2", terms=TOTAL, customer="b")
    await billing.send_all(SENT)
    await billing.send_all(SENT)
    (found,) = await billing.store.sent_sums(billing.application_id, hour_of(HOUR))
    assert (found.customer, found.value, found.parts) == ("b", Decimal(3), 2)


async def test_of_totals_the_latest_of_each_span_counts_where_it_begins(billing: World) -> None:
    month = replace(TOTAL, span=Window(HOUR - HOUR_S, HOUR + 700 * HOUR_S), timestamp_s=HOUR + 9)
    half = replace(TOTAL, span=Window(HOUR + 1_800, HOUR + HOUR_S))
    for units, terms in (("1", TOTAL), ("2", TOTAL), ("5", half), ("7", month)):
        await billing.frozen(units, terms=terms)
        await billing.send_all(SENT)
    await billing.frozen("16", terms=TOTAL)
    late = await billing.frozen("32", terms=half)
    await billing.send_all(AMBIGUOUS, late.part_id)
    found = await billing.store.sent_sums(billing.application_id, Window(HOUR - HOUR_S, HOUR + HOUR_S))
    assert [(each.hour_s - HOUR, each.value, each.parts, each.unsettled) for each in found] == [
        (-HOUR_S, Decimal(7), 1, 0),
        (0, Decimal(8), 3, 1),
    ]
