"""Packs takes for the scripts take and peek, and unpacks their answers. The layout is told in lua/takes.lua.

Numbers travel as doubles, answers as integers of eight bytes: that costs both sides least.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import pack, unpack

from usageflow.domain.limits import Rule, Standing
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import LimitTake, Reserve, Take, Taken

KINDS: Mapping[Algorithm, int] = {
    Algorithm.FIXED_WINDOW: 1,
    Algorithm.TOKEN_BUCKET: 2,
    Algorithm.SLIDING_WINDOW: 3,
    Algorithm.CONCURRENCY: 4,
}
_RESERVES, _LEASES = 1, 2
_SPANS = 2
_NO_BOUNDS = (0, 0, 0, 0)
_CONCURRENCY = Algorithm.CONCURRENCY


class PartReserve(Reserve):
    """The hold of one part of a take that spans partitions: it may be undone, its slots too."""

    __slots__ = ()


class Questions:
    """Takes of one call, packed. ``keys`` are the epoch and the distinct counters."""

    def __init__(self, base: str, takes: Sequence[Take]) -> None:
        self.keys = [f"{base}epoch"]
        self.names: list[str] = []
        self._base = base
        self._takes = len(takes)
        self._places: dict[str, int] = {}
        self._rules: dict[object, int] = {}
        self._rule_numbers: list[int] = []
        self._numbers: list[int] = []
        for take in takes:
            self._add(take)

    def arguments(self, now_us: int) -> list[bytes | str]:
        """Returns ARGV."""
        numbers = [len(self._rules), self._takes, *self._rule_numbers, *self._numbers]
        return [self._base, str(now_us), pack(f"<{len(numbers)}d", *numbers), *self.names]

    def key_at(self, place: int) -> str:
        """Returns a counter's key by its place in KEYS, which count from 1."""
        return self.keys[place - 1][len(self._base) + 2 :]

    def _add(self, take: Take) -> None:
        limits, reserve, lease, slot_id, shadows = take
        flags = (_RESERVES if reserve is not None else 0) + (_LEASES if lease is not None else 0)
        self._numbers += (flags, len(shadows))
        self._add_limits(limits, slot_id)
        if reserve is not None:
            ends = int(reserve.refund) + (_SPANS if isinstance(reserve, PartReserve) else 0)
            self._numbers += (self._name(reserve.reservation_id), reserve.life_us, ends)
        if lease is not None:
            self._numbers += (self._name(lease.lease_id), lease.tokens, lease.life_us)
        for shadow in shadows:
            self._add_limits(shadow, slot_id)

    def _add_limits(self, limits: Sequence[LimitTake], slot_id: str) -> None:
        numbers, places, rules = self._numbers, self._places, self._rules
        numbers.append(len(limits))
        for key, rule, cost, bounds, member, once in limits:
            place = places.get(key)
            if place is None:
                self.keys.append(f"{self._base}c:{key}")
                place = places[key] = len(self.keys)
            named = (id(rule), bounds, once) if once or bounds is not None else id(rule)
            number = rules.get(named)
            if number is None:
                number = rules[named] = len(rules) + 1
                self._add_rule(rule, bounds or _NO_BOUNDS, once=once)
            if rule.algorithm is _CONCURRENCY:
                cost = -self._name(member) if member else self._name(slot_id)  # noqa: PLW2901 - its place is taken
            numbers += (place, number, cost)

    def _add_rule(self, rule: Rule, bounds: tuple[int, int, int, int], *, once: bool) -> None:
        self._rule_numbers += (
            KINDS[rule.algorithm],
            rule.limit,
            rule.window_us,
            rule.capacity,
            rule.charge_denied,
            rule.calendar is not None,
            *bounds,
            once,
        )

    def _name(self, name: str) -> int:
        self.names.append(name)
        return len(self.names)


class Answers:
    """What a script answered to takes."""

    def __init__(self, takes: Sequence[Take], told: bytes, standings: bytes, *, peeked: bool) -> None:
        self._told = iter(unpack(f"<{len(told) // 8}q", told))
        self._standings = _standings(standings)
        self._at = 0
        self._peeked = peeked
        self.now_us = next(self._told)
        self.taken = [self._take(take) for take in takes]

    def _take(self, take: Take) -> Taken:
        limits, _, lease, _, shadows = take
        at = self._at
        self._at = after = at + len(limits)
        admitted, standings = next(self._told) == 1, tuple(self._standings[at:after])
        if lease is None and not shadows:
            return Taken(admitted, standings)
        tokens, life_us = (next(self._told), next(self._told)) if lease is not None else (0, 0)
        seen = shadows if admitted or self._peeked else ()
        return Taken(admitted, standings, tuple([self._take(Take(each)) for each in seen]), tokens, life_us)


def _standings(blob: bytes) -> list[Standing]:
    """Reads all standings at once: there are many, so they go straight to the tuple, which halves the time."""
    numbers: tuple[int, ...] = unpack(f"<{len(blob) // 8}q", blob)
    each = iter(numbers)
    read = [tuple.__new__(Standing, four) for four in zip(each, each, each, each, strict=True)]
    if -1 in numbers:
        return [one if one.wait_us != -1 else one._replace(wait_us=None) for one in read]
    return read


Change = tuple[int, int, int, int]
"""A long window as it is now: start, end, used, and the store's time."""


def changes(questions: Questions, blob: bytes, now_us: int) -> Iterator[tuple[str, Change]]:
    """Yields the long windows that a take changed, by key."""
    each = iter(unpack(f"<{len(blob) // 8}q", blob))
    for place, start_us, end_us, used in zip(each, each, each, each, strict=True):
        yield questions.key_at(place), (start_us, end_us, used, now_us)
