"""Counters in a Redis Cluster: atomic per partition, and all or nothing across partitions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from itertools import count
from uuid import uuid4

from usageflow.domain.clock import Clock
from usageflow.domain.errors import UsageFlowError
from usageflow.storage.counters import Amendment, LeaseReturn, Renewal, Settlement, Take, Taken
from usageflow.storage.ports import WindowState
from usageflow.storage.redis.directory import Directory
from usageflow.storage.redis.partition import PartAmendment, Partition
from usageflow.storage.redis.placing import partition_of
from usageflow.storage.redis.restoring import Restoring
from usageflow.storage.redis.server import Servers
from usageflow.storage.redis.spanning import Spanning, home_of, waves

Parts = dict[int, list[tuple[int, Take]]]
"""What to ask, by partition: takes with their places."""

Changes = dict[int, list[tuple[Spanning, PartAmendment]]]
"""What to end or cut, by partition."""


class ClusterCounterStore:
    """CounterStore on a Redis Cluster. One event loop must own it.

    ``undone`` counts the parts that were taken back because a limit in another partition denied.
    """

    def __init__(self, servers: Servers, clock: Clock | None, prefix: str) -> None:
        """``clock`` is None in production: time is that of the slot's owner."""
        self.undone = 0
        self._servers = servers
        self._partitions = [Partition(servers, n, prefix, clock) for n in range(servers.partitions)]
        self._directory = Directory(servers, self._partitions)
        self._restoring = Restoring(servers, self._partitions, partition_of)
        self._ids = map(f"{uuid4().hex}-{{}}".format, count())
        self._behind: set[asyncio.Task[None]] = set()

    async def take(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """See CounterStore.take. Partitions are asked at once; O(limits) there."""
        return await self._take(takes)

    async def _take(self, takes: Sequence[Take]) -> list[Taken]:
        answers: list[Taken | None] = [None] * len(takes)
        for wave in waves(takes):
            for place, taken in zip(wave, await self._wave([takes[n] for n in wave]), strict=True):
                answers[place] = taken
        return [taken for taken in answers if taken is not None]

    async def _wave(self, takes: Sequence[Take]) -> list[Taken]:
        parts: Parts = {}
        spanning: dict[int, Spanning] = {}
        for place, take in enumerate(takes):
            home = home_of(take)
            if home is not None:
                parts.setdefault(home, []).append((place, take))
                continue
            one = spanning[place] = Spanning(take, next(self._ids))
            for partition in one.parts:
                parts.setdefault(partition, []).append((place, one.part(partition)))
        whole: dict[int, Taken] = {}

        async def ask(partition: int) -> None:
            taken = await self._partitions[partition].take([take for _, take in parts[partition]])
            for (place, _), answer in zip(parts[partition], taken, strict=True):
                if place in spanning:
                    spanning[place].tell(partition, answer)
                else:
                    whole[place] = answer

        try:
            await _all([self._directory.note(takes), *map(ask, parts)])
        except UsageFlowError:
            self._end_later(self._undoing(spanning.values()))
            await asyncio.sleep(0)  # they are on their way before whatever this caller asks next
            raise
        finished = whole | await self._finish(spanning)
        return [finished[place] for place in range(len(takes))]

    async def _finish(self, spanning: Mapping[int, Spanning]) -> dict[int, Taken]:
        """Undoes, cuts or confirms what partitions decided on their own; takes what shadows ask for."""
        admitted = [one for one in spanning.values() if one.admitted]
        changes = self._undoing(one for one in spanning.values() if not one.admitted)
        for one in admitted:
            for partition, cut in one.trimmed():
                changes.setdefault(partition, []).append((one, cut))
        await self._end(changes)
        await self._look_again(changes)
        confirmed: Changes = {}
        for one in admitted:
            for partition, confirm in one.confirmed():
                confirmed.setdefault(partition, []).append((one, confirm))
        if confirmed:
            self._end_later(confirmed)
            await asyncio.sleep(0)  # they are on their way before whatever this caller asks next
        return await self._with_shadows(spanning)

    def _undoing(self, spanning: Iterable[Spanning]) -> Changes:
        changes: Changes = {}
        for one in spanning:
            for partition, undo in one.undone():
                self.undone += 1
                changes.setdefault(partition, []).extend((one, each) for each in undo)
        return changes

    async def _end(self, changes: Changes) -> None:
        await _all(
            self._partitions[partition].amend([each for _, each in of_partition])
            for partition, of_partition in changes.items()
        )

    async def _look_again(self, changes: Changes) -> None:
        """Learns where limits stand after they were changed."""

        async def look(partition: int) -> None:
            spanning = list({id(one): one for one, _ in changes[partition]}.values())
            takes = [Take(one.limits(partition), slot_id=one.take.slot_id) for one in spanning]
            for one, seen in zip(spanning, await self._partitions[partition].peek(takes), strict=True):
                one.tell(partition, seen)

        await _all(map(look, changes))

    async def _with_shadows(self, spanning: Mapping[int, Spanning]) -> dict[int, Taken]:
        asked = [
            Take(limits, slot_id=one.take.slot_id)
            for one in spanning.values()
            if one.admitted
            for limits in one.take.shadows
        ]
        told = iter(await self._take(asked) if asked else ())
        return {
            place: one.answer(tuple(next(told) for _ in one.take.shadows) if one.admitted else ())
            for place, one in spanning.items()
        }

    def _end_later(self, changes: Changes) -> None:
        """Ends what nobody waits for. Where that fails, it ends by itself."""

        async def end(partition: int) -> None:
            with contextlib.suppress(UsageFlowError):
                await self._partitions[partition].amend([each for _, each in changes[partition]])

        for partition in changes:
            task = asyncio.create_task(end(partition))
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)

    async def peek(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """See CounterStore.peek."""
        groups = [
            Take(limits, slot_id=take.slot_id) for take in takes for limits in (take.limits, *take.shadows)
        ]
        seen = iter(await self._peek(groups))
        return [next(seen)._replace(shadows=tuple(next(seen) for _ in take.shadows)) for take in takes]

    async def _peek(self, takes: Sequence[Take]) -> list[Taken]:
        spanning = [Spanning(take, "") for take in takes]
        parts: dict[int, list[Spanning]] = {}
        for one in spanning:
            for partition in one.parts:
                parts.setdefault(partition, []).append(one)

        async def look(partition: int) -> None:
            asked = [Take(one.limits(partition), slot_id=one.take.slot_id) for one in parts[partition]]
            for one, taken in zip(
                parts[partition], await self._partitions[partition].peek(asked), strict=True
            ):
                one.tell(partition, taken)

        await _all(map(look, parts))
        return [one.answer() for one in spanning]

    async def amend(self, amendments: Sequence[Amendment]) -> Sequence[bool]:
        """See CounterStore.amend. Two round trips: one to find out where."""
        ids = [_id_of(amendment) for amendment in amendments]
        entries = await self._directory.find(ids)
        parts: dict[int, list[int]] = {}
        for place, name in enumerate(ids):
            for partition in entries[name].partitions if name in entries else ():
                parts.setdefault(partition, []).append(place)
        found = [False] * len(amendments)

        async def end(partition: int) -> None:
            asked = [amendments[place] for place in parts[partition]]
            done = await self._partitions[partition].amend(asked)
            for place, one in zip(parts[partition], done, strict=True):
                found[place] |= one

        renewed = {_id_of(each) for each in amendments if isinstance(each, Renewal)} & set(entries)
        await _all([self._directory.renew({name: entries[name] for name in renewed}), *map(end, parts)])
        return found

    async def changed_windows(self) -> Sequence[WindowState]:
        """See CounterStore.changed_windows."""
        return [window for partition in self._partitions for window in partition.changed_windows()]

    async def restore_windows(self, windows: Sequence[WindowState]) -> None:
        """See CounterStore.restore_windows."""
        await self._restoring.restore(windows)

    async def came_back_empty(self) -> bool:
        """See CounterStore.came_back_empty: one node is enough."""
        return await self._restoring.is_needed()

    async def sweep(self) -> int:
        """See CounterStore.sweep: Redis forgets by itself, and holds end when somebody looks."""
        return 0

    async def close(self) -> None:
        """See CounterStore.close."""
        await asyncio.gather(*self._behind, return_exceptions=True)
        await self._servers.close()


def _id_of(amendment: Amendment) -> str:
    match amendment:
        case Settlement(reservation_id, _):
            return reservation_id
        case LeaseReturn(lease_id, _):
            return lease_id
        case _:
            return amendment.slot_id


async def _all(work: Iterable[Awaitable[object]]) -> None:
    """Does everything at once and to the end; raises the first error then."""
    for done in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(done, BaseException):
            raise done
