"""Which partitions of a cluster know a reservation, a lease or a slot id: whoever ends it only knows the id.

An entry is written beside the take itself, in the partition of the id, and names more partitions than are needed rather than fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import KEEP_ENDED_US, LimitTake, Take
from usageflow.storage.redis.link import Argument
from usageflow.storage.redis.partition import Partition
from usageflow.storage.redis.placing import partition_of
from usageflow.storage.redis.server import Servers

_MARGIN_MS = 60_000

Command = tuple[int, tuple[Argument, ...]]


class Entry(NamedTuple):
    """The partitions that may know an id, and how long that is kept."""

    life_ms: int
    partitions: frozenset[int]


class Directory:
    """Finds partitions by id."""

    def __init__(self, servers: Servers, partitions: Sequence[Partition]) -> None:
        self._servers = servers
        self._partitions = partitions

    async def note(self, takes: Sequence[Take]) -> None:
        """Writes an entry for every id that these takes may leave behind; an entry that is there gets the new partitions too."""
        commands: list[Command] = []
        for take in takes:
            for name, entry in _entries(take):
                places = [word for place in entry.partitions for word in (str(place), str(entry.life_ms))]
                commands += (self._at(name, "HSET", *places), *self._kept(name, entry))
        await self._servers.call_each(commands)

    async def find(self, ids: Iterable[str]) -> Mapping[str, Entry]:
        """Returns the entries of ids that somebody knows."""
        wanted = list(dict.fromkeys(ids))
        found = await self._servers.call_each([self._at(name, "HGETALL") for name in wanted])
        return {name: _read(words) for name, words in zip(wanted, found, strict=True) if words}

    async def renew(self, entries: Mapping[str, Entry]) -> None:
        """Lets entries live on as their slots do."""
        await self._servers.call_each(
            [command for name, entry in entries.items() for command in self._kept(name, entry)]
        )

    def _kept(self, name: str, entry: Entry) -> tuple[Command, Command]:
        """Returns what lets an entry live at least so long."""
        life = str(entry.life_ms)
        return self._at(name, "PEXPIRE", life, "NX"), self._at(name, "PEXPIRE", life, "GT")

    def _at(self, name: str, command: str, *arguments: str) -> Command:
        partition = self._partitions[partition_of(name)]
        return partition.number, (command, f"{partition.base}d:{name}", *arguments)


def _read(words: Sequence[bytes]) -> Entry:
    return Entry(max(map(int, words[1::2])), frozenset(map(int, words[::2])))


def _entries(take: Take) -> Iterable[tuple[str, Entry]]:
    """Yields what a take may leave behind, by id."""
    if take.reserve is not None and take.limits:
        life_us = take.reserve.life_us + KEEP_ENDED_US
        yield take.reserve.reservation_id, _entry(life_us, take.limits)
    if take.lease is not None and take.limits:
        windows = [
            2 * limit.rule.window_us for limit in take.limits
        ]  # one of the calendar may be longer than usual
        yield take.lease.lease_id, _entry(max([take.lease.life_us, *windows]) + KEEP_ENDED_US, take.limits)
    slots = [limit for group in (take.limits, *take.shadows) for limit in group if _is_slot(limit)]
    if slots:
        yield take.slot_id, _entry(max(limit.rule.window_us for limit in slots), slots)


def _is_slot(limit: LimitTake) -> bool:
    return limit.rule.algorithm is Algorithm.CONCURRENCY and not limit.member


def _entry(life_us: int, limits: Iterable[LimitTake]) -> Entry:
    return Entry(life_us // 1000 + _MARGIN_MS, frozenset(partition_of(limit.key) for limit in limits))
