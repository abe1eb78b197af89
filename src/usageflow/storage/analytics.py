"""The ports of analytics: folding what was reported into sums, and asking for sums.

A store that does not answer raises usageflow.domain.errors.Unavailable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from usageflow.domain.analytics import UsageQuery, UsageSums

HashOf = Callable[[str], bytes]
"""Returns the keyed hash of an identity's key, under which the directory of customers knows it."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be folded: how many deltas (counted to 100,000), and when the requests of the oldest one happened (Unix time in
    seconds, None where nothing waits).
    """

    waiting: int
    oldest: int | None


class RollupStore(Protocol):
    """Sums per minute, hour and day, made from the deltas that ingest appends."""

    async def fold(self, most: int) -> int:
        """Takes at most ``most`` deltas, oldest first, and adds them to all sums, in one transaction; returns how many.

        Each delta is added exactly once, whoever folds at the same time and whatever is killed. Returns 0 where nothing waits,
        and where another process folds just now. Moves the first and last use of endpoints. A sum of one step stops at
        2^63 - 1.
        """

    async def backlog(self) -> Backlog:
        """Returns what waits."""


class UsageAnalytics(Protocol):
    """Sums of reported usage, with what is not folded yet."""

    async def sums(self, application_id: str, query: UsageQuery, hash_of: HashOf) -> UsageSums:
        """Returns the sums of every group and step in which something counts, and the total, all of one instant: each accepted
        request is in them exactly once, folded or not.

        The query is rounded and without faults (usageflow.domain.usage_rules); its order and limit are left to the caller. By CUSTOMER, who
        is nobody's customer has the name "". By IDENTITY, nobody is "" and an identity that was erased ``erased:`` and a
        number. Raises InvalidArgument, field ``filter.customers[i]``, for a customer that is not there.
        """
