"""What tests of billing report, claim and look at."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from usageflow.domain.billing import HOUR_S, Method, Mode, Part, PartState, Target, Terms, Window, hour_of
from usageflow.domain.policies import Trigger
from usageflow.domain.usage import EndpointName, MeteringDelta, UsageRecord
from usageflow.storage.billing import Claim, PartFilter, PartResult
from usageflow.storage.ports import UsageStore
from usageflow.storage.sql import Database, SqlBilling
from usageflow.storage.sql.tables import IDENTITIES, METERING_DELTAS

HOUR = 1_700_000_000 // HOUR_S * HOUR_S
NOW_US = (HOUR + 2 * HOUR_S) * 1_000_000
ORDERS = EndpointName("GET", "/orders")
TARGET = Target(Trigger.STRIPE_USAGE, "price_1", "calls")
DELTA = Terms(
    Method.METER_EVENT, "acct_1", "test", "cus_1", Mode.DELTA, HOUR + 59, details={"meter": "mtr_ü"}
)
TOTAL = replace(DELTA, mode=Mode.TOTAL, span=Window(HOUR, HOUR + HOUR_S))
EVERYTHING = PartFilter()


@dataclass
class World:
    """One application's billing; ``other`` is the same data in another process."""

    store: SqlBilling
    other: SqlBilling
    usage: UsageStore
    database: Database
    application_id: str
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def report(
        self,
        units: str = "1",
        *,
        identity: str = "v:ann",
        second: int = HOUR,
        policy: str = "p",
        price: str = "price_1",
        revision: int = 1,
    ) -> None:
        """Reports one request."""
        metered = MeteringDelta(ORDERS, identity, policy, price, revision, second, 1, Decimal(units))
        record = UsageRecord(f"r{next(self._numbers)}", 0, bytes(16), (), (metered,), None)
        await self.usage.ingest([(self.application_id, [record])])

    async def pseudonyms(self, *identities: str) -> tuple[int, ...]:
        """Returns what stands for identities."""
        table = IDENTITIES.c
        wanted = select(table.pseudonym).where(table.value.in_(identities)).order_by(table.value)
        return tuple(await self.database.read(lambda connection: list(connection.scalars(wanted))))

    async def claim(self, *identities: str, **changes: Any) -> Claim:
        """Returns a claim of the hour, for who ("acme") pays for these identities (ann's if there are none)."""
        found = await self.pseudonyms(*(identities or ("v:ann",)))
        claim = Claim(
            self.application_id, "acme", TARGET, hour_of(HOUR), found, (), (("p", 1), ("p", 2)), DELTA
        )
        return replace(claim, **changes)

    async def freeze(self, *identities: str, **changes: Any) -> Sequence[Part]:
        """Freezes one claim."""
        return await self.store.freeze([await self.claim(*identities, **changes)], now_us=NOW_US)

    async def frozen(self, units: str = "1", **changes: Any) -> Part:
        """Reports some units and returns the part that they became."""
        await self.report(units)
        (part,) = await self.freeze(**changes)
        return part

    async def due(
        self, *, now_us: int = NOW_US, until_us: int = NOW_US + 60, limit: int = 9, **rest: Any
    ) -> list[int]:
        """Claims what is due; returns the ids."""
        rest.setdefault("without", ())
        store: SqlBilling = rest.pop("store", self.store)
        parts = await store.claim_parts("me", now_us=now_us, until_us=until_us, limit=limit, **rest)
        return [part.part_id for part in parts]

    async def settle(
        self, part: Part | int, state: PartState, *, attempt: int = 1, now_us: int = NOW_US, **rest: Any
    ) -> int:
        """Records what became of an attempt."""
        part_id = part if isinstance(part, int) else part.part_id
        return await self.store.settle_parts([PartResult(part_id, attempt, state, **rest)], now_us=now_us)

    async def send(self, part: Part, state: PartState = PartState.SENT, **rest: Any) -> None:
        """Claims the one part that is due, and settles it."""
        assert await self.due() == [part.part_id]
        attempt = (await self.part(part)).attempts
        assert await self.settle(part, state, attempt=attempt, **rest) == 1

    async def send_all(self, state: PartState, *only: int) -> None:
        """Sends what is due, once; parts that are not among ``only`` go back."""
        parts = await self.store.claim_parts("me", now_us=NOW_US, until_us=NOW_US + 1, limit=99, without=())
        for part in parts:
            becomes = state if not only or part.part_id in only else PartState.FROZEN
            await self.settle(part, becomes, attempt=part.attempts, next_us=NOW_US)

    async def part(self, part: Part | int) -> Part:
        """Returns a part as it is now."""
        part_id = part if isinstance(part, int) else part.part_id
        wanted = PartFilter(part_ids=(part_id,))
        (found,) = await self.store.parts(self.application_id, wanted, after=0, limit=9)
        return found

    async def state(self, part: Part | int) -> PartState:
        """Returns how far a part has come."""
        return (await self.part(part)).state

    async def claimed(self) -> list[int | None]:
        """Returns the part of every delta, in the order that they were reported in."""
        table = METERING_DELTAS.c
        statement = select(table.part).order_by(table.row_id)
        return await self.database.read(lambda connection: list(connection.scalars(statement)))
