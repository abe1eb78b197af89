"""The contract of BillingStore, as far as it makes parts of what is open."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.causes import NOBODY
from tests.contract.billing_world import (
    DELTA,
    EVERYTHING,
    HOUR,
    NOW_US,
    TARGET,
    TOTAL,
    World,
)
from usageflow.domain.applications import ApplicationSettings
from usageflow.domain.billing import HOUR_S, Part, PartKind, PartState, Window, identifier_of
from usageflow.domain.customers import Customer
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.units import format_units
from usageflow.storage.billing import PartFilter, Stop
from usageflow.storage.erasing import Erasure, ErasureStore
from usageflow.storage.ports import ChangeSet, ControlStore
from usageflow.storage.resources import ResourceStore

KEY = bytes(32)


def told(*parts: Part) -> list[tuple[int, str, str, PartState]]:
    return [(part.number, format_units(part.units), str(part.value), part.state) for part in parts]


async def test_the_backlog_is_what_no_part_has_by_who_and_what_and_hour(billing: World) -> None:
    await billing.report("0.5", second=HOUR + 5)
    await billing.report("0.25", second=HOUR + HOUR_S - 1)
    await billing.report("3", second=HOUR + HOUR_S)
    await billing.report("4", second=HOUR - 1, identity="")
    await billing.report("7", price="price_2")
    await billing.report("8", revision=2)
    (ann,) = await billing.pseudonyms("v:ann")
    rows = await billing.store.backlog(before_s=HOUR + HOUR_S, limit=9)
    assert [(row.hour_s - HOUR, *row[3:]) for row in rows] == [
        (-HOUR_S, 0, "", "p", "price_1", 1, 1, Decimal(4), HOUR - 1),
        (0, ann, "", "p", "price_1", 1, 2, Decimal("0.75"), HOUR + 5),
        (0, ann, "", "p", "price_1", 2, 1, Decimal(8), HOUR),
        (0, ann, "", "p", "price_2", 1, 1, Decimal(7), HOUR),
    ]
    assert {(row.application_id, row.application) for row in rows} == {(billing.application_id, "demo")}
    assert len(await billing.store.backlog(before_s=HOUR + HOUR_S + 1, limit=9)) == 5


async def test_the_backlog_is_read_page_by_page(billing: World) -> None:
    for number in range(7):
        await billing.report(
            identity=f"v:{number % 3}", second=HOUR + number % 2 * HOUR_S, policy="pq"[number % 2]
        )
    whole = await billing.store.backlog(before_s=2**40, limit=99)
    assert list(whole) == sorted(whole)
    assert len(whole) == 6
    paged = [(await billing.store.backlog(before_s=2**40, limit=1, after=None))[0]]
    while rows := await billing.store.backlog(before_s=2**40, limit=2, after=paged[-1]):
        paged += rows
    assert paged == list(whole)


async def test_what_was_used_of_an_application_that_is_deleted_is_billed(
    billing: World, resources: ResourceStore
) -> None:
    await billing.report()
    row = await resources.application_row("demo")
    assert row is not None
    settings = ApplicationSettings(name="demo")
    await resources.change_application(
        billing.application_id, settings, deleted=True, version=row.stamp.version, cause=NOBODY
    )
    assert len(await billing.store.backlog(before_s=2**40, limit=9)) == 1
    (part,) = await billing.freeze()
    assert await billing.due() == [part.part_id]


async def test_a_part_is_all_that_it_is_sent_by(billing: World) -> None:
    await billing.report("1.000000000001", second=HOUR)
    await billing.report("999999999999999", second=HOUR + HOUR_S - 1)
    claim = await billing.claim()
    (part,) = await billing.store.freeze([claim], now_us=NOW_US)
    installed = await billing.store.installation_id()
    key = (installed, billing.application_id, "acme", TARGET, claim.window, 1)
    assert part == Part(
        part_id=part.part_id,
        application_id=billing.application_id,
        customer="acme",
        target=TARGET,
        window=claim.window,
        number=1,
        kind=PartKind.USAGE,
        requests=2,
        units=Decimal("1000000000000000.000000000001"),
        value=Decimal(10**15),
        identifier=identifier_of(*key, terms=DELTA),
        terms=DELTA,
        state=PartState.FROZEN,
        next_us=NOW_US,
        created_us=NOW_US,
        updated_us=NOW_US,
    )
    assert await billing.other.parts(billing.application_id, EVERYTHING, after=0, limit=9) == [part]
    assert await billing.other.installation_id() == installed
    assert await billing.store.backlog(before_s=2**40, limit=9) == []
    assert await billing.usage.pending(billing.application_id) == []


async def test_a_claim_takes_only_what_it_names(billing: World, control: ControlStore) -> None:
    await billing.report("1")
    await billing.report("2", identity="v:bob")
    await billing.report("4", second=HOUR - 1)
    await billing.report("8", second=HOUR + HOUR_S)
    await billing.report("16", policy="q")
    await billing.report("32", revision=3)
    await billing.report("64", price="price_2")
    await billing.report("128", revision=2)
    await billing.report("256", identity="")
    (part,) = await billing.freeze("v:ann")
    assert (part.units, part.requests) == (Decimal(129), 2)
    own = part.part_id
    assert await billing.claimed() == [own, None, None, None, None, None, None, own, None]
    other = await billing.claim("v:ann", "v:bob", policies=(("q", 1),))
    (part,) = await billing.store.freeze([other], now_us=NOW_US)
    assert part.units == 16
    another = (await control.create_application("another", [], cause=NOBODY)).application_id
    assert await billing.freeze(application_id=another, policies=(("p", 3),)) == []


async def test_many_identities_of_one_customer_are_one_part(billing: World) -> None:
    await billing.report("1")
    (ann,) = await billing.pseudonyms("v:ann")
    (part,) = await billing.freeze(pseudonyms=(*range(10**6, 10**6 + 1_200), ann))
    assert part.units == 1


async def test_what_is_reported_later_is_the_next_part(billing: World) -> None:
    made = [await billing.frozen(units) for units in ("1", "2", "3")]
    assert told(*made) == [(number, str(number), str(number), PartState.FROZEN) for number in (1, 2, 3)]
    assert len({part.identifier for part in made}) == 3
    await billing.report("4", second=HOUR + HOUR_S)
    later = await billing.freeze(window=Window(HOUR + HOUR_S, HOUR + 2 * HOUR_S))
    assert told(*later) == [(1, "4", "4", PartState.FROZEN)]


async def test_claims_that_find_nothing_make_no_part_and_no_gap(billing: World) -> None:
    first = await billing.frozen()
    assert await billing.freeze() == []
    assert await billing.freeze(pseudonyms=(), bound=()) == []
    assert await billing.freeze(policies=()) == []
    second = await billing.frozen()
    assert (first.number, second.number) == (1, 2)
    assert await billing.store.freeze([], now_us=NOW_US) == []


async def test_claims_of_one_call_are_made_together_or_not_at_all(billing: World) -> None:
    await billing.report("1")
    await billing.report("2", identity="v:bob")
    good = await billing.claim("v:ann")
    twice = [good, await billing.claim("v:bob"), await billing.claim("v:bob", customer="b")]
    made = await billing.store.freeze(twice, now_us=NOW_US)
    assert sorted(told(*made)) == [(1, "1", "1", PartState.FROZEN), (2, "2", "2", PartState.FROZEN)]
    assert {part.customer for part in made} == {"acme"}
    await billing.report("4")
    bad = replace(good, application_id="nowhere")
    with pytest.raises(InvalidArgument):
        await billing.store.freeze([good, bad], now_us=NOW_US)
    assert (await billing.claimed())[-1] is None
    (part,) = await billing.store.freeze([good], now_us=NOW_US)
    assert (part.number, part.units) == (3, Decimal(4))


async def test_pieces_of_an_hour_are_numbered_each_for_itself(billing: World) -> None:
    await billing.report("1", second=HOUR + 9)
    await billing.report("2", second=HOUR + 10)
    pieces = [Window(HOUR, HOUR + 10), Window(HOUR + 10, HOUR + HOUR_S)]
    claims = [await billing.claim(window=window) for window in pieces]
    made = await billing.store.freeze(claims, now_us=NOW_US)
    assert [(part.window, part.number, part.units) for part in made] == [
        (pieces[0], 1, Decimal(1)),
        (pieces[1], 1, Decimal(2)),
    ]


async def test_what_cannot_be_sent_is_carried_on(billing: World) -> None:
    whole = replace(DELTA, whole=True)
    made = [await billing.frozen(units, terms=whole) for units in ("0.6", "0.6", "2.9", "0.9")]
    assert told(*made) == [
        (1, "0.6", "0", PartState.SENT),
        (2, "0.6", "1", PartState.FROZEN),
        (3, "2.9", "3", PartState.FROZEN),
        (4, "0.9", "1", PartState.FROZEN),
    ]
    assert made[0].note == "nothing to send"
    other = await billing.frozen("0.9", terms=whole, customer="b")
    assert other.value == 0
    assert await billing.due() == [part.part_id for part in made[1:]]


async def test_totals_add_up_whoever_shares_them(billing: World) -> None:
    made = [await billing.frozen("2.5", terms=TOTAL), await billing.frozen("0.25", terms=TOTAL)]
    made.append(await billing.frozen("1", terms=TOTAL, customer="cus_1"))
    assert told(*made) == [
        (1, "2.5", "2.5", PartState.FROZEN),
        (2, "0.25", "2.75", PartState.FROZEN),
        (1, "1", "3.75", PartState.FROZEN),
    ]
    apart = [
        replace(TOTAL, payee="cus_2"),
        replace(TOTAL, account="acct_2"),
        replace(TOTAL, environment="live"),
        replace(TOTAL, span=Window(HOUR + 1, HOUR + HOUR_S)),
        replace(TOTAL, span=None),
    ]
    values = [(await billing.frozen("1", terms=terms)).value for terms in apart]
    assert values == [1, 1, 1, 1, Decimal("4.75")]
    other = await billing.frozen("1", terms=TOTAL, target=TARGET._replace(event_name="tokens"))
    assert other.value == 1


async def test_a_total_that_is_there_already_is_not_sent(billing: World) -> None:
    whole = replace(TOTAL, whole=True)
    nothing = await billing.frozen("0.5", terms=whole)
    first = await billing.frozen("1", terms=whole)
    assert told(nothing, first) == [(1, "0.5", "0", PartState.SENT), (2, "1", "1", PartState.FROZEN)]
    waits = await billing.frozen("0.25", terms=whole)
    assert waits.state is PartState.FROZEN  # the same value, which nobody has taken yet
    await billing.send(first)
    await billing.send(waits, PartState.REJECTED)
    again = await billing.frozen("0.125", terms=whole)
    assert (again.value, again.state) == (Decimal(1), PartState.FROZEN)
    await billing.send(again)
    idle = await billing.frozen("0.125", terms=whole)
    assert (idle.value, idle.state) == (Decimal(2), PartState.FROZEN)
    await billing.send(idle)
    assert (await billing.frozen("0.125", terms=whole)).state is PartState.SENT


async def test_a_stop_keeps_units_open_until_it_ends(billing: World) -> None:
    app = billing.application_id
    await billing.report()
    for stop in (
        Stop(app, "acme", "price_1"),
        Stop(app, "", "price_1"),
        Stop(app, "acme", ""),
        Stop(app, "", ""),
    ):
        assert await billing.store.stop(stop, held=True, cause=NOBODY, now_us=1)
        assert not await billing.other.stop(stop, held=True, cause=NOBODY, now_us=2)
        assert await billing.other.stops() == [stop]
        assert await billing.freeze() == []
        assert await billing.other.stop(stop, held=False, cause=NOBODY, now_us=3)
        assert not await billing.store.stop(stop, held=False, cause=NOBODY, now_us=4)
    for stop in (Stop(app, "b", ""), Stop(app, "", "price_2")):
        await billing.store.stop(stop, held=True, cause=NOBODY, now_us=1)
    assert len(await billing.freeze()) == 1


async def test_units_of_whom_an_erasure_forgot_are_claimed_by_whom_they_are_bound_to(
    billing: World, control: ControlStore, erasures: ErasureStore
) -> None:
    app = billing.application_id
    people = {"ann": "cus_1", "bob": ""}
    customers = tuple(
        Customer(name=f"of-{name}", identities=(keyed_hash(KEY, name).hex(),), stripe_customer=account)
        for name, account in people.items()
    )
    change = ChangeSet(None, (), (), (), customers_upserted=customers)
    plan = (await control.versions())[app].plan
    await control.change(app, change, cause=NOBODY, expected_plan_version=plan)
    early = await billing.frozen("1", customer="of-ann")
    for name in people:
        await billing.report("2", identity=f"v:{name}")
        await erasures.erase(app, KEY, Erasure(identity=name), cause=NOBODY)
    rows = await billing.store.backlog(before_s=2**40, limit=9)
    assert sorted((row.bound, row.units) for row in rows) == [("cus_1", Decimal(2)), ("of-bob", Decimal(2))]
    assert await billing.freeze(pseudonyms=tuple(row.pseudonym for row in rows)) == []
    assert await billing.freeze(pseudonyms=(), bound=("cus_2",)) == []
    (ann,) = await billing.freeze(pseudonyms=(), bound=("of-ann", "cus_1"), customer="cus_1")
    (bob,) = await billing.freeze(pseudonyms=(), bound=("of-bob",), customer="of-bob")
    assert await billing.claimed() == [early.part_id, ann.part_id, bob.part_id]
    again = PartFilter(customer="of-ann")
    assert await billing.store.parts(app, again, after=0, limit=9) == [early]
