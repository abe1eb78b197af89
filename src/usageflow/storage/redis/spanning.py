"""Takes whose limits lie in several partitions of a cluster: pure bookkeeping, no calls.

Each partition takes its part as a hold that may be undone. Where one part is denied, the others are undone; where all are admitted,
they are confirmed. Nobody is ever admitted beyond a limit, even where the undo never comes: a hold that ends by itself keeps its
units. Until the undo, siblings are held for a round trip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from usageflow.domain.limits import Standing
from usageflow.storage.counters import LimitTake, Take, Taken
from usageflow.storage.redis.partition import Confirm, PartAmendment, Trim, Undo
from usageflow.storage.redis.placing import partition_of
from usageflow.storage.redis.questions import PartReserve

PART_LIFE_US = 1_000_000
"""A part that is neither confirmed nor undone by then keeps its units."""


def groups_of(limits: Sequence[LimitTake]) -> Mapping[int, list[int]]:
    """Returns the places of limits by their partition."""
    groups: dict[int, list[int]] = {}
    for place, limit in enumerate(limits):
        groups.setdefault(partition_of(limit.key), []).append(place)
    return groups


def home_of(take: Take) -> int | None:
    """Returns the one partition that a take lies in with all of its shadows; None where there are more, or none."""
    homes = {partition_of(limit.key) for group in (take.limits, *take.shadows) for limit in group}
    return homes.pop() if len(homes) == 1 else None


def waves(takes: Sequence[Take]) -> Iterator[list[int]]:
    """Yields runs of takes, by place, that may be sent at once and still count as made in order: a counter of a take that spans
    partitions is in no other take of its run. Scripts keep the order of the rest.
    """
    wave: list[int] = []
    keys: set[str] = set()
    spanning: set[str] = set()
    for place, take in enumerate(takes):
        own = {limit.key for group in (take.limits, *take.shadows) for limit in group}
        spans = home_of(take) is None
        if own & (keys if spans else spanning):
            yield wave
            wave, keys, spanning = [], set(), set()
        wave.append(place)
        keys |= own
        spanning |= own if spans else set()
    if wave:
        yield wave


@dataclass(slots=True)
class Spanning:
    """One such take. ``parts`` are its limits by partition; answers come in by ``told``."""

    take: Take
    hold_id: str
    parts: Mapping[int, list[int]] = field(init=False)
    _told: dict[int, Taken] = field(default_factory=dict)
    _standings: dict[int, Standing] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parts = groups_of(self.take.limits)

    def part(self, partition: int) -> Take:
        """Returns what a partition is asked to take; of a take without a second part that is all of it, save shadows."""
        take, limits = self.take, self.limits(partition)
        if len(self.parts) == 1:
            return take._replace(shadows=())
        reserve = PartReserve(self.hold_id, PART_LIFE_US)
        if take.reserve is not None:
            reserve = PartReserve(*take.reserve)
        return Take(limits, reserve, take.lease, take.slot_id)

    def limits(self, partition: int) -> tuple[LimitTake, ...]:
        """Returns the limits that lie in a partition."""
        return tuple(self.take.limits[place] for place in self.parts[partition])

    def tell(self, partition: int, taken: Taken) -> None:
        """Takes in what a partition decided, or where its limits stand after that was changed."""
        self._told.setdefault(partition, taken)
        self._standings |= zip(self.parts[partition], taken.standings, strict=True)

    @property
    def admitted(self) -> bool:
        """Tells whether all parts were told and admitted."""
        return all(part in self._told and self._told[part].admitted for part in self.parts)

    def undone(self) -> Iterator[tuple[int, list[PartAmendment]]]:
        """Yields, by partition, what undoes the parts that were admitted."""
        for partition, taken in self._told.items():
            if taken.admitted and len(self.parts) > 1:
                hold_id = self.take.reserve.reservation_id if self.take.reserve is not None else self.hold_id
                undo: list[PartAmendment] = []
                if taken.tokens and self.take.lease is not None:
                    undo.append(Undo(self.take.lease.lease_id))
                yield partition, [*undo, Undo(hold_id)]

    def confirmed(self) -> Iterator[tuple[int, PartAmendment]]:
        """Yields, by partition, what ends the parts of an admitted take. A reservation goes on."""
        if len(self.parts) > 1 and self.take.reserve is None:
            yield from ((partition, Confirm(self.hold_id)) for partition in self.parts)

    def granted(self) -> tuple[int, int]:
        """Returns the tokens that all parts can grant, and for how long."""
        tokens = min((taken.tokens for taken in self._told.values()), default=0)
        life_us = min((taken.life_us for taken in self._told.values()), default=0)
        return (tokens, life_us) if tokens else (0, 0)

    def trimmed(self) -> Iterator[tuple[int, PartAmendment]]:
        """Yields, by partition, what cuts leases down to what all parts can grant."""
        tokens, life_us = self.granted()
        for partition, taken in self._told.items():
            if self.take.lease is not None and (taken.tokens, taken.life_us) != (tokens, life_us):
                lease_id = self.take.lease.lease_id
                cut: PartAmendment = (
                    Trim(lease_id, tokens, taken.life_us - life_us) if tokens else Undo(lease_id)
                )
                yield partition, cut

    def answer(self, shadows: tuple[Taken, ...] = ()) -> Taken:
        """Returns the answer to the whole."""
        standings = tuple(self._standings[place] for place in range(len(self.take.limits)))
        if not self.admitted:
            return Taken(False, standings, shadows)
        standings = tuple(one._replace(wait_us=0) if one.wait_us else one for one in standings)
        return Taken(True, standings, shadows, *self.granted())
