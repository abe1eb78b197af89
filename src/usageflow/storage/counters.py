"""The port of the counters: what decides. tests/contract/test_counter_store.py runs the contract on every back end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from usageflow.domain.calendars import Bounds
from usageflow.domain.limits import Rule, Standing
from usageflow.storage.ports import WindowState

LONG_WINDOW_US = 3_600_000_000
"""Fixed windows from here on outlive a restart."""


@dataclass(frozen=True, slots=True)
class LimitTake:
    """One limit that a request takes ``cost`` units from. The key names policy, limit, rule and scope.

    A rule with a calendar comes with its ``bounds`` around the caller's time; the store picks by its own.
    """

    key: str
    rule: Rule
    cost: int
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True)
class Reserve:
    """Asks to remember a take until it is settled. After ``expires_us`` (Unix time) it is refunded or kept."""

    reservation_id: str
    expires_us: int
    refund: bool


@dataclass(frozen=True, slots=True)
class Take:
    """All limits of one request, taken together or not at all. Their keys are distinct."""

    limits: tuple[LimitTake, ...]
    reserve: Reserve | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer: a Standing per limit, after the take where it was admitted, untouched where not, save that a rule which
    charges denied requests has taken.
    """

    admitted: bool
    standings: tuple[Standing, ...]


class CounterStore(Protocol):
    """Counters of limits. Time is the store's own."""

    async def take(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """Decides each take on its own, in order: debits all of its limits, or none where any lacks room. A denial takes
        from the limits that say ``charge_denied`` all the same, at most what is left there (limits.charge).

        Atomic per take: concurrent takers never admit more than the rule promises. ``wait_us`` of a standing is the time until this
        cost fits (before the take; for a limit that a denial charged, after it). Raises Unavailable where nothing was decided.
        """

    async def peek(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """Returns what take would answer, with standings as they are now, and changes nothing."""

    async def settle(self, reservation_id: str, actual: int) -> bool:
        """Corrects a reservation's debit to ``actual`` units in the window instances that were debited.

        Idempotent: a second call changes nothing and returns True. Returns False where there is no record (any more):
        one that nobody settled ends when it expires. Never credits more than was held. Of a SLIDING_WINDOW the previous
        window still counts, so it is corrected too.
        """

    async def changed_windows(self) -> Sequence[WindowState]:
        """Returns the fixed windows of an hour or more, aligned ones too, that changed since the last call, newest state each."""

    async def restore_windows(self, windows: Sequence[WindowState]) -> None:
        """Puts back windows from a checkpoint; a window that is live already keeps the higher use."""

    async def sweep(self) -> int:
        """Forgets states that say nothing any more and settles expired reservations; returns how many states went."""
