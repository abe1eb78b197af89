"""Whatever happens in whatever order, units are neither lost nor billed twice: on every back end, against what was reported."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import select

from tests.causes import NOBODY
from tests.contract.billing_world import DELTA, EVERYTHING, HOUR, NOW_US, TARGET, TOTAL, World
from usageflow.domain.billing import HOUR_S, Mode, Part, PartState, Terms, Window, hour_of
from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.units import join
from usageflow.storage.billing import Claim, Correction, Move, PartFilter, PartResult
from usageflow.storage.sql.billing_freezing import freeze
from usageflow.storage.sql.tables import BILLING_LEDGERS, METERING_DELTAS

STEPS = 150
PEOPLE = ("v:ann", "v:bob")
WAYS = (DELTA, replace(DELTA, whole=True), TOTAL, replace(TOTAL, whole=True))
"""How four customers are billed."""

TAKEN = (PartState.SENT, PartState.SENT, PartState.SENDING, PartState.AMBIGUOUS)
NOT_TAKEN = (PartState.FROZEN, PartState.SENDING, *([PartState.REJECTED] * 4), PartState.AMBIGUOUS)


class Killed(Exception):
    """The process ended before it committed."""


class Destination:
    """What counts: each identifier once, and of a total what came last."""

    def __init__(self) -> None:
        self.values: dict[str, Decimal] = {}
        self.totals: dict[tuple[str, Window], Decimal] = {}

    def take(self, part: Part) -> None:
        if part.terms.mode is Mode.TOTAL and part.terms.span is not None:
            self.totals[part.terms.payee, part.terms.span] = part.value
        else:
            self.values[part.identifier] = part.value


class Model:
    """Takes steps at random, and knows what must be there."""

    def __init__(self, billing: World, seed: int) -> None:
        self.billing = billing
        self.chance = random.Random(seed)
        self.now_us = NOW_US
        self.reported = self.corrected = Decimal(0)
        self.told: list[PartResult] = []
        self.there = Destination()
        self.owners: dict[str, int] = {}

    async def step(self) -> None:
        self.now_us += self.chance.randrange(6)
        often = (self.report, self.report, self.freeze, self.freeze, self.send, self.send, self.settle)
        await self.chance.choice((*often, self.settle, self.crash, self.move, self.correct, self.refuse))()

    async def report(self) -> None:
        units = Decimal(self.chance.randrange(1, 3 * 10**12)).scaleb(-12)
        second = HOUR + self.chance.randrange(2 * HOUR_S)
        await self.billing.report(f"{units:f}", identity=self.chance.choice(PEOPLE), second=second)
        self.reported += units

    def terms(self, way: int, window: Window) -> Terms:
        terms = replace(WAYS[way], payee=f"cus_{way}", timestamp_s=window.start_s + 9)
        return replace(terms, span=window) if terms.mode is Mode.TOTAL else terms

    async def claims(self) -> list[Claim]:
        made = []
        for _ in range(self.chance.randrange(1, 4)):
            way, window = (
                self.chance.choice((0, 1, 2, 3, 2, 3)),
                hour_of(HOUR + self.chance.randrange(2) * HOUR_S),
            )
            terms = self.terms(way, window)
            who = self.chance.choice(PEOPLE)
            made.append(await self.billing.claim(who, customer=f"c{way}", window=window, terms=terms))
        return made

    async def freeze(self) -> None:
        store = self.chance.choice((self.billing.store, self.billing.other))
        self.note(await store.freeze(await self.claims(), now_us=self.now_us))

    async def crash(self) -> None:
        claims = await self.claims()

        def killed(connection: object) -> None:
            freeze(connection, claims, self.now_us)  # type: ignore[arg-type] # the database's own
            raise Killed

        with pytest.raises(Killed):
            await self.billing.database.write(killed)

    def note(self, parts: Sequence[Part]) -> None:
        for part in parts:
            assert self.owners.setdefault(part.identifier, part.part_id) == part.part_id

    async def send(self) -> None:
        parts = await self.billing.store.claim_parts(
            "me", now_us=self.now_us, until_us=self.now_us + 3, limit=3, without=()
        )
        self.note(parts)
        for part in parts:
            taken = self.chance.random() < 0.6
            if taken:
                self.there.take(part)
            state = self.chance.choice(TAKEN if taken else NOT_TAKEN)
            due_us = self.now_us + self.chance.randrange(3)
            self.told.append(PartResult(part.part_id, part.attempts, state, next_us=due_us))

    async def settle(self) -> None:
        """Comes late at times: another has the part by then."""
        self.chance.shuffle(self.told)
        await self.billing.store.settle_parts(self.told[:2], now_us=self.now_us)
        del self.told[:2]

    async def moved(self, move: Move, *states: PartState) -> None:
        """Does what a person does who looked: under another identifier only what is not there."""
        wanted = PartFilter(states=frozenset(states))
        parts = await self.billing.store.parts(self.billing.application_id, wanted, after=0, limit=999)
        known = self.there.values
        chosen = tuple(
            part.part_id for part in parts if move is not Move.RETRY_ANEW or part.identifier not in known
        )
        if chosen:
            await self.billing.store.move_parts(
                self.billing.application_id,
                PartFilter(part_ids=chosen),
                move,
                cause=NOBODY,
                now_us=self.now_us,
            )

    async def move(self) -> None:
        await self.moved(Move.RELEASE)
        await self.moved(Move.RETRY, PartState.AMBIGUOUS)
        if self.chance.random() < 0.3:
            await self.moved(self.chance.choice((Move.RETRY, Move.HOLD)))
            await self.moved(Move.RETRY_ANEW, PartState.REJECTED)

    async def correct(self) -> None:
        way, units = self.chance.choice((0, 1, 2, 3, 2, 3)), Decimal(self.chance.randrange(-9, 10)) / 4
        terms = self.terms(way, hour_of(HOUR))
        wanted = Correction(
            self.billing.application_id, f"c{way}", TARGET, hour_of(HOUR), units, terms, "mended"
        )
        # Nothing is made where the window has not so much to take back.
        with suppress(FailedPrecondition):
            self.note([await self.billing.store.correct(wanted, cause=NOBODY, now_us=self.now_us)])
            self.corrected += units

    async def refuse(self) -> None:
        """The destination drops what it took at first."""
        if self.there.values:
            identifier = self.chance.choice(sorted(self.there.values))
            if await self.billing.store.refuse_sent({identifier: "dropped"}, now_us=self.now_us):
                del self.there.values[identifier]

    async def finish(self) -> list[Part]:
        """Claims what is open and sends what is left; returns all parts."""
        for way, hour in ((0, HOUR), (2, HOUR + HOUR_S)):
            window = hour_of(hour)
            for who in PEOPLE:
                claim = await self.billing.claim(
                    who, customer=f"c{way}", window=window, terms=self.terms(way, window)
                )
                self.note(await self.billing.store.freeze([claim], now_us=self.now_us))
        app, found = self.billing.application_id, list[Part]()
        for _ in range(99):
            self.now_us += 9
            await self.moved(Move.RELEASE)
            await self.moved(Move.RETRY)
            parts = await self.billing.store.claim_parts(
                "me", now_us=self.now_us, until_us=self.now_us + 3, limit=99, without=()
            )
            for part in parts:
                self.there.take(part)
            results = [PartResult(part.part_id, part.attempts, PartState.SENT) for part in parts]
            await self.billing.store.settle_parts(results, now_us=self.now_us)
            found = list(await self.billing.store.parts(app, EVERYTHING, after=0, limit=9_999))
            if all(part.state is PartState.SENT for part in found):
                return found
        raise AssertionError(f"parts are stuck: {Counter(part.state for part in found)}")


@pytest.mark.parametrize("seed", range(5))
async def test_units_are_billed_once_whatever_happens(billing: World, seed: int) -> None:
    for identity in PEOPLE:
        await billing.report("1", identity=identity)
    model = Model(billing, seed)
    model.reported += 2
    for _ in range(STEPS):
        await model.step()
        if model.chance.random() < 0.1:
            await check(model)
    parts = await model.finish()
    await check(model)
    assert await billing.store.backlog(before_s=2**40, limit=9) == []
    assert sum((part.units for part in parts), Decimal(0)) == model.reported + model.corrected
    check_destination(model.there, parts)


async def check(model: Model) -> None:
    """Compares parts with what was reported and with one another."""
    billing = model.billing
    parts = await billing.store.parts(billing.application_id, EVERYTHING, after=0, limit=9_999)
    made = {part.part_id: part for part in parts}
    units: defaultdict[int | None, Decimal] = defaultdict(Decimal)
    requests: Counter[int | None] = Counter()
    for row in await billing.database.read(lambda c: c.execute(select(METERING_DELTAS)).all()):
        units[row.part] += join(row.whole, row.pico)
        requests[row.part] += row.requests
    assert sum(units.values()) == model.reported
    assert units.keys() - {None} <= made.keys()
    for part in parts:
        if part.kind == "USAGE":
            assert (units[part.part_id], requests[part.part_id]) == (part.units, part.requests)
    numbers: defaultdict[tuple[str, Window], list[int]] = defaultdict(list)
    for part in reversed(parts):
        numbers[part.customer, part.window].append(part.number)
    assert all(each == list(range(1, len(each) + 1)) for each in numbers.values())
    await check_carry(billing, parts)


async def check_carry(billing: World, parts: Sequence[Part]) -> None:
    rows = await billing.database.read(lambda c: c.execute(select(BILLING_LEDGERS)).all())
    carry = {row.customer: join(row.carry_whole, row.carry_pico) for row in rows}
    for way in (0, 1):
        mine = [part for part in parts if part.customer == f"c{way}"]
        sent = sum((part.value for part in mine), Decimal(0))
        assert sent + carry.get(f"c{way}", 0) == sum((part.units for part in mine), Decimal(0))


def check_destination(there: Destination, parts: Sequence[Part]) -> None:
    """Compares what counts there with what was to be sent."""
    wanted: Mapping[str, Decimal] = {
        part.identifier: part.value for part in parts if part.terms.mode is Mode.DELTA and part.value
    }
    assert there.values == wanted
    totals: dict[tuple[str, Window], Decimal] = {}
    for part in parts:
        if part.terms.mode is Mode.TOTAL and part.terms.span is not None:
            key = (part.terms.payee, part.terms.span)
            totals[key] = totals.get(key, Decimal(0)) + part.units
    for (payee, span), units in totals.items():
        value = units // 1 if payee == "cus_3" else units
        assert abs(there.totals.get((payee, span), Decimal(0)) - value) < (
            1 if payee == "cus_3" else Decimal("1e-12")
        )
