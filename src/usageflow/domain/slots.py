"""CONCURRENCY: a set of members that are in flight, each until it is released or its life ends without a renewal.

The life is the rule's window. A member that is in the set already takes nothing and is renewed, so the same set also
counts distinct members: at most ``limit`` of them within one life.
"""

from __future__ import annotations

from usageflow.domain.limits import Standing

RETRY_US = 1_000_000
"""Nobody knows when a slot becomes free: whoever was denied is told to try again in a second."""


class InFlight:
    """The members of one counter. ``life_us`` never changes: another window makes another counter."""

    __slots__ = ("_ends", "_life_us")

    def __init__(self, life_us: int) -> None:
        self._life_us = life_us
        self._ends: dict[str, int] = {}  # in order of their ends, since all lives are equally long

    def count(self, now_us: int) -> int:
        """Returns how many are in flight. O(those that ended)."""
        ends = self._ends
        while ends:
            member, end_us = next(iter(ends.items()))
            if end_us > now_us:
                break
            del ends[member]
        return len(ends)

    def has(self, member: str) -> bool:
        """Tells whether a member was in flight when last counted."""
        return member in self._ends

    def standing(self, limit: int, member: str, now_us: int) -> Standing:
        """Returns where the set stands for one more ``member``."""
        used = self.count(now_us)
        fits = used < limit or member in self._ends
        return Standing(max(0, limit - used), RETRY_US if used else 0, 0 if fits else RETRY_US)

    def put(self, member: str, now_us: int) -> None:
        """Adds or renews a member."""
        self._ends.pop(member, None)
        self._ends[member] = now_us + self._life_us

    def remove(self, member: str, now_us: int) -> bool:
        """Removes a member; tells whether it was in flight."""
        self.count(now_us)
        return self._ends.pop(member, None) is not None

    def renew(self, member: str, now_us: int) -> bool:
        """Lets a member that is in flight live on; tells whether it was."""
        alive = self.remove(member, now_us)
        if alive:
            self.put(member, now_us)
        return alive
