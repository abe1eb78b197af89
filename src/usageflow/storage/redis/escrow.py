"""Limits that all identities share, on a cluster: their one slot would run hot if every take went there.

Each process leases chunks of such a counter, by the port's own leases, and takes from its chunk. A chunk is debited before it is
used, so nobody is admitted beyond the limit. Near exhaustion no more is leased, and takes ask the counter itself.

Standings of takes from a chunk are those of the last grant: what was left of the counter then, and what is left of the chunk.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from usageflow.domain.errors import UsageFlowError
from usageflow.domain.limits import Rule, Standing
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import LeaseAsk, LeaseReturn, LimitTake, Reserve, Settlement, Take
from usageflow.storage.redis.partition import Partition
from usageflow.storage.redis.placing import is_shared, partition_of

_LIFE_US = {Algorithm.FIXED_WINDOW: 10_000_000, Algorithm.TOKEN_BUCKET: 1_000_000}
"""How long a chunk lives at most: a bucket does not refill beside what is held of it."""

_FIRST_UNITS = 16
_EXACT_US = 100_000
"""After a grant of nothing, takes ask the counter itself for so long."""


@dataclass(slots=True)
class Chunk:
    """Units leased of one counter: one that was reserved, and tokens. ``seen`` is where that stood at ``since_us``."""

    lease_id: str
    rule: Rule
    units: int
    ends_us: int
    seen: Standing
    since_us: int
    used: int = 0

    @property
    def left(self) -> int:
        """Returns the units that are not used yet."""
        return self.units - self.used

    def standing(self, now_us: int) -> Standing:
        """Returns where the limit stands after a take from this chunk."""
        reset_us = max(0, self.seen.reset_us - (now_us - self.since_us))
        return Standing(self.seen.remaining + self.left, reset_us, 0, self.seen.window_us)


class Escrow:
    """The chunks of one process. ``served`` counts takes from chunks, ``grants`` what was asked for them."""

    def __init__(
        self, partitions: Sequence[Partition], now_us: Callable[[], int], ids: Iterator[str]
    ) -> None:
        self.served = 0
        self.grants = 0
        self._partitions = partitions
        self._now_us = now_us
        self._ids = ids
        self._chunks: dict[str, Chunk] = {}
        self._demand: dict[str, int] = {}
        self._exact_until_us: dict[str, int] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    @staticmethod
    def covers(take: Take) -> bool:
        """Tells whether some of a take's limits may come from chunks: whoever holds units asks the counter itself."""
        return (
            take.reserve is None and take.lease is None and any(_is_escrowed(limit) for limit in take.limits)
        )

    async def prepare(self, takes: Sequence[Take]) -> None:
        """Leases what these takes will need and chunks do not have."""
        needs: dict[str, tuple[LimitTake, int]] = {}
        for take in takes:
            for limit in filter(_is_escrowed, take.limits):
                needs[limit.key] = limit, limit.cost + needs.get(limit.key, (limit, 0))[1]
        await asyncio.gather(*(self._prepare(limit, need) for limit, need in needs.values()))

    async def _prepare(self, limit: LimitTake, need: int) -> None:
        async with self._locks.setdefault(limit.key, asyncio.Lock()):
            now_us = self._now_us()
            chunk = self._usable(limit, now_us)
            if chunk is not None and chunk.left >= need:
                return
            if now_us >= self._exact_until_us.get(limit.key, 0):
                await self._give_back(limit.key)
                await self._lease(limit, need, now_us)

    async def _lease(self, limit: LimitTake, need: int, now_us: int) -> None:
        asked = max(need, 2 * self._demand.pop(limit.key, 0), _FIRST_UNITS)
        lease = LeaseAsk(next(self._ids), asked, _LIFE_US[limit.rule.algorithm])
        self.grants += 1
        # The unit that the lease itself takes is held too: a bucket must not refill beside it before it is used.
        first = Reserve(f"{lease.lease_id}-first", lease.life_us)
        take = Take((limit._replace(cost=1),), first, lease)
        (granted,) = await self._partition(limit.key).take([take])
        if not granted.tokens:
            self._exact_until_us[limit.key] = now_us + _EXACT_US
        if granted.admitted:
            seen = granted.standings[0]
            life_us = granted.life_us or min(lease.life_us, max(0, seen.reset_us))
            units = 1 + granted.tokens
            self._chunks[limit.key] = Chunk(lease.lease_id, limit.rule, units, now_us + life_us, seen, now_us)

    def draw(self, take: Take) -> dict[int, Chunk] | None:
        """Takes the shared limits of a take from chunks, by place. None: not all of them can, and none was."""
        now_us, chunks = self._now_us(), {}
        for place, limit in enumerate(take.limits):
            if _is_escrowed(limit):
                chunk = self._usable(limit, now_us)
                if chunk is None or chunk.left < limit.cost:
                    return None
                chunks[place] = chunk
        for place, chunk in chunks.items():
            chunk.used += take.limits[place].cost
        self.served += 1
        return chunks

    def standings(self, take: Take, drawn: Mapping[int, Chunk], *, admitted: bool) -> Mapping[int, Standing]:
        """Returns where limits stand that were drawn. A take that was denied elsewhere puts its units back, if their chunk is still
        here: another chunk's may be of another window.
        """
        for place, chunk in drawn.items():
            limit = take.limits[place]
            if not admitted and self._chunks.get(limit.key) is chunk:
                chunk.used -= limit.cost
        now_us = self._now_us()
        return {place: chunk.standing(now_us) for place, chunk in drawn.items()}

    def _usable(self, limit: LimitTake, now_us: int) -> Chunk | None:
        chunk = self._chunks.get(limit.key)
        return chunk if chunk and chunk.rule == limit.rule and now_us < chunk.ends_us else None

    async def release(self, take: Take) -> None:
        """Gives back the chunks of a take's limits, so that the counter itself has all that is left."""
        await asyncio.gather(
            *(self._give_back(limit.key) for limit in take.limits if limit.key in self._chunks)
        )

    async def give_back_idle(self) -> None:
        """Gives back what was not used since the last time, and what has ended."""
        now_us = self._now_us()
        for key, chunk in list(self._chunks.items()):
            if now_us >= chunk.ends_us or chunk.used == self._demand.get(key, 0):
                await self._give_back(key)
            else:
                self._demand[key] = chunk.used

    async def close(self) -> None:
        """Gives everything back."""
        for key in list(self._chunks):
            await self._give_back(key)

    async def _give_back(self, key: str) -> None:
        chunk = self._chunks.pop(key, None)
        if chunk is None:
            return
        self._demand[key] = chunk.used
        first = Settlement(f"{chunk.lease_id}-first", min(1, chunk.used))
        tokens = LeaseReturn(chunk.lease_id, max(0, chunk.used - 1))
        with contextlib.suppress(UsageFlowError):  # it ends by itself then, and keeps its units
            await self._partition(key).amend([first, tokens])

    def _partition(self, key: str) -> Partition:
        return self._partitions[partition_of(key)]


def _is_escrowed(limit: LimitTake) -> bool:
    return is_shared(limit.key) and limit.rule.algorithm in _LIFE_US and not limit.rule.charge_denied
