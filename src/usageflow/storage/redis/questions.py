"""Packs takes for the scripts take and peek, and unpacks their answers. The layout is told in lua/takes.lua.

Numbers travel as doubles, answers as integers of eight bytes: that costs both sides least.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import pack, unpack

from usageflow.domain.limits import Rule, Standing
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import LimitTake, Take, Taken
from usageflow.storage.ports import WindowState

KINDS: Mapping[Algorithm, int] = {
    Algorithm.FIXED_WINDOW: 1,
    Algorithm.TOKEN_BUCKET: 2,
    Algorithm.SLIDING_WINDOW: 3,
    Algorithm.CONCURRENCY: 4,
}
_RESERVES, _LEASES = 1, 2
_NO_BOUNDS = (0, 0, 0, 0)
_CONCURRENCY = Algorithm.CONCURRENCY


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
            self._numbers += (self._name(reserve.reservation_id), reserve.life_us, reserve.refund)
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

    def __init__(self, takes: Sequence[Take], blob: bytes, *, peeked: bool) -> None:
        self._numbers: tuple[int, ...] = unpack(f"<{len(blob) // 8}q", blob)
        self._peeked = peeked
        self._at = 1
        self.now_us = self._numbers[0]
        self.taken = [self._take(take) for take in takes]

    def _take(self, take: Take) -> Taken:
        admitted = self._numbers[self._at] == 1
        standings = self._standings(take.limits)
        tokens = life_us = 0
        if take.lease is not None:
            tokens, life_us = self._numbers[self._at : self._at + 2]
            self._at += 2
        if not take.shadows or not (admitted or self._peeked):
            return Taken(admitted, standings, (), tokens, life_us)
        return Taken(
            admitted, standings, tuple([self._shadow(each) for each in take.shadows]), tokens, life_us
        )

    def _shadow(self, limits: Sequence[LimitTake]) -> Taken:
        admitted = self._numbers[self._at] == 1
        return Taken(admitted, self._standings(limits))

    def _standings(self, limits: Sequence[LimitTake]) -> tuple[Standing, ...]:
        """Reads one standing per limit, from behind the number that tells whether they were admitted."""
        first, numbers = self._at + 1, self._numbers
        self._at = last = first + 4 * len(limits)
        return tuple(
            [
                Standing(
                    numbers[n],
                    numbers[n + 1],
                    None if numbers[n + 2] < 0 else numbers[n + 2],
                    numbers[n + 3],
                )
                for n in range(first, last, 4)
            ]
        )


def changed_windows(questions: Questions, blob: bytes, now_us: int) -> Iterator[WindowState]:
    """Yields the long windows that a take changed."""
    numbers = unpack(f"<{len(blob) // 8}q", blob)
    for n in range(0, len(numbers), 4):
        place, start_us, end_us, used = numbers[n : n + 4]
        yield WindowState(questions.key_at(place), start_us, end_us, used, now_us)
