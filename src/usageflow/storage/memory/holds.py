"""Holds in memory: which units of which counters a reservation or a lease keeps, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from usageflow.domain.limits import Rule


class Held(NamedTuple):
    """Units held of one counter; ``instance_us`` names the window that was debited."""

    key: str
    rule: Rule
    amount: int
    instance_us: int | None


@dataclass(slots=True)
class Hold:
    """A hold. ``tokens`` 0: a reservation; else a lease of so many, each worth an equal share of every amount. ``over``: its life
    has ended, and buckets hold nothing for it any more.
    """

    hold_id: str
    held: tuple[Held, ...]
    expires_us: int
    forget_us: int
    refund: bool = False
    tokens: int = 0
    settled: bool = False
    over: bool = False

    @property
    def is_lease(self) -> bool:
        """Tells a lease from a reservation."""
        return self.tokens > 0


class Holds:
    """All holds by id, in order of their ends."""

    def __init__(self) -> None:
        self._known: dict[str, Hold] = {}
        self._due: list[tuple[int, str]] = []
        self._lessees: dict[str, int] = {}

    def add(self, hold: Hold) -> None:
        """Remembers a hold that begins."""
        self._known[hold.hold_id] = hold
        heappush(self._due, (hold.expires_us, hold.hold_id))
        self._count(hold, 1)

    def find(self, hold_id: str) -> Hold | None:
        """Returns a hold that is not forgotten yet."""
        return self._known.get(hold_id)

    def lessees(self, key: str) -> int:
        """Returns how many live leases hold units of a counter."""
        return self._lessees.get(key, 0)

    def settle(self, hold: Hold) -> None:
        """Ends a hold: whoever ends it again changes nothing."""
        hold.settled = True
        if not hold.over:
            self._count(hold, -1)

    def due(self, now_us: int) -> Iterator[Hold]:
        """Yields the holds whose life is over and that nobody ended, in order of their ends; forgets the oldest ones."""
        while self._due and self._due[0][0] <= now_us:
            _, hold_id = heappop(self._due)
            hold = self._known[hold_id]
            if hold.over:
                del self._known[hold_id]
                continue
            hold.over = True
            heappush(self._due, (hold.forget_us, hold_id))
            if not hold.settled:
                self._count(hold, -1)
                yield hold

    def _count(self, hold: Hold, change: int) -> None:
        if not hold.is_lease:
            return
        for held in hold.held:
            count = self._lessees.get(held.key, 0) + change
            if count:
                self._lessees[held.key] = count
            else:
                del self._lessees[held.key]
