"""From what is open to what may be claimed: grouped by who pays and where, apart from what has to wait. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from meter.sinks.port import Payer
from usageflow.domain.billing import Held, HoldReason, Target, Window, hour_of
from usageflow.domain.policies import LateUsage
from usageflow.storage.billing import BacklogRow, Hold


class Heap(NamedTuple):
    """What tells heaps of open units apart."""

    application_id: str
    payer: Payer
    target: Target
    late: LateUsage
    window: Window


@dataclass
class Units:
    """Open units of a heap, and by what they are found."""

    requests: int = 0
    units: Decimal = Decimal(0)
    oldest_s: int = 2**62
    pseudonyms: set[int] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    policies: set[tuple[str, int]] = field(default_factory=set)

    def add(self, row: BacklogRow) -> None:
        """Adds a row."""
        self.requests += row.requests
        self.units += row.units
        self.oldest_s = min(self.oldest_s, row.oldest_s)
        self.policies.add((row.policy, row.revision))
        if row.bound:
            self.bound.add(row.bound)
        else:
            self.pseudonyms.add(row.pseudonym)


@dataclass
class Gathered:
    """Heaps of what may be claimed, and what has to wait, by application."""

    heaps: dict[Heap, Units] = field(default_factory=dict)
    _waiting: dict[tuple[str, str, Target, HoldReason], tuple[Held, Units]] = field(default_factory=dict)

    def take(self, row: BacklogRow, payer: Payer, target: Target, late: LateUsage) -> None:
        """Adds a row to its heap."""
        heap = Heap(row.application_id, payer, target, late, hour_of(row.hour_s))
        self.heaps.setdefault(heap, Units()).add(row)

    def wait(self, row: BacklogRow, customer: str, target: Target, held: Held) -> None:
        """Adds a row to what waits."""
        self._wait(row.application_id, customer, target, held).add(row)

    def keep(self, heap: Heap, held: Held) -> None:
        """Puts a heap with what waits."""
        units = self.heaps.pop(heap)
        waiting = self._wait(heap.application_id, heap.payer.customer, heap.target, held)
        waiting.requests += units.requests
        waiting.units += units.units
        waiting.oldest_s = min(waiting.oldest_s, units.oldest_s)

    def _wait(self, application_id: str, customer: str, target: Target, held: Held) -> Units:
        key = (application_id, customer, target, held.reason)
        return self._waiting.setdefault(key, (held, Units()))[1]

    def holds(self) -> Mapping[str, list[Hold]]:
        """Returns what waits, by application."""
        found: dict[str, list[Hold]] = {}
        for (application_id, customer, target, reason), (held, units) in self._waiting.items():
            hold = Hold(customer, target, reason, held.message, units.requests, units.units, units.oldest_s)
            found.setdefault(application_id, []).append(hold)
        return found


def in_order(heaps: Iterable[Heap]) -> list[Heap]:
    """Returns heaps oldest windows first: totals are made in the order of time."""
    return sorted(
        heaps, key=lambda heap: (heap.window, heap.application_id, heap.payer, str(heap.target), heap.late)
    )
