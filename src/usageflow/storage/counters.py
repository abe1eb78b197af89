"""The port of the counters: what decides. tests/contract/test_counter_*.py run the contract on every back end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from usageflow.domain.calendars import Bounds
from usageflow.domain.limits import Rule, Standing
from usageflow.storage.ports import WindowState

LONG_WINDOW_US = 3_600_000_000
"""Fixed windows from here on outlive a restart."""

KEEP_ENDED_US = 60_000_000
"""How long a hold is remembered after it ended or its windows did, so that ending it again has no effect."""

MAX_TAKES = 100
"""The most takes of one call."""


class LimitTake(NamedTuple):
    """One limit that a request takes ``cost`` units from. The key names policy, limit, rule and scope.

    A rule with a calendar comes with its ``bounds`` around the caller's time; the store picks by its own. CONCURRENCY takes
    one slot whatever the cost, for ``member`` or, where that is empty, for the take's ``slot_id``. ``once``: it counts requests,
    so no reservation holds it and no settlement corrects it.
    """

    key: str
    rule: Rule
    cost: int
    bounds: Bounds | None = None
    member: str = ""
    once: bool = False


class Reserve(NamedTuple):
    """Asks to hold a take's units until they are settled. After ``life_us`` they are refunded or kept."""

    reservation_id: str
    life_us: int
    refund: bool = False


class LeaseAsk(NamedTuple):
    """Asks for up to ``tokens`` further takes ahead, for ``life_us``. The limits are windows of fixed length and buckets only."""

    lease_id: str
    tokens: int
    life_us: int


class Take(NamedTuple):
    """All limits of one request, taken together or not at all. Their keys are distinct.

    ``shadows`` are takes of their own that are made only where this one is admitted, and that decide nothing.
    ``slot_id`` names the request where a limit is one of CONCURRENCY.
    """

    limits: tuple[LimitTake, ...]
    reserve: Reserve | None = None
    lease: LeaseAsk | None = None
    slot_id: str = ""
    shadows: tuple[tuple[LimitTake, ...], ...] = ()


class Taken(NamedTuple):
    """The answer: a Standing per limit, after the take where it was admitted, untouched where not, save that a rule which
    charges denied requests has taken. ``shadows`` holds the same per shadow, none after a denial.

    ``tokens`` were leased, for ``life_us`` at most; standings count them as taken.
    """

    admitted: bool
    standings: tuple[Standing, ...]
    shadows: tuple[Taken, ...] = ()
    tokens: int = 0
    life_us: int = 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """A reservation ends with ``actual`` units used, which may be more than were held."""

    reservation_id: str
    actual: int


@dataclass(frozen=True, slots=True)
class LeaseReturn:
    """A lease ends with ``used`` tokens used; what counts is at most the grant."""

    lease_id: str
    used: int


@dataclass(frozen=True, slots=True)
class Release:
    """A request that holds a slot has ended."""

    slot_id: str


@dataclass(frozen=True, slots=True)
class Renewal:
    """A request that holds a slot goes on: its life begins anew."""

    slot_id: str


Amendment = Settlement | LeaseReturn | Release | Renewal


class CounterStore(Protocol):
    """Counters of limits. Time is the store's own."""

    async def take(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """Decides each of up to MAX_TAKES takes on its own, in order: debits all of its limits, or none where any lacks room. A
        denial takes from the limits that say ``charge_denied`` all the same, at most what is left there (limits.charge).

        Atomic per take: concurrent takers never admit more than the rule promises. ``wait_us`` of a standing is the time until this
        cost fits (before the take; for a limit that a denial charged, after it). Raises Unavailable where nothing was decided.

        A lease gets the smallest of the tokens asked for and, over all limits, room left / (4 x lessees x cost), rounded down, where
        lessees are the live leases on that limit and this one. They are debited at once. Its life ends with the first of its windows.
        """

    async def peek(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """Returns what take would answer, with standings as they are now (shadows' too, whatever is admitted), and changes
        nothing; no tokens.
        """

    async def amend(self, amendments: Sequence[Amendment]) -> Sequence[bool]:
        """Carries out what ends or goes on, in order; tells of each whether there was anything to amend.

        Settlements and returns correct the debit in the very window instances that were debited, never credit more than was held,
        and are idempotent: a second one changes nothing and returns True. A hold that nobody ended ends by itself when its life is over: a
        reservation is refunded or kept, a lease kept. After that a reservation cannot be settled (False); a lease can be returned until
        its windows end + KEEP_ENDED_US, to the credit of its windows, not of its buckets (usageflow.domain.limits, Holds). Of a
        SLIDING_WINDOW the previous window still counts, so it is corrected too.

        Releases and renewals are about all slots of a slot_id; False where none of them is in flight (any more).
        """

    async def changed_windows(self) -> Sequence[WindowState]:
        """Returns the fixed windows of an hour or more, aligned ones too, that changed through this object since the last call,
        newest state each.
        """

    async def restore_windows(self, windows: Sequence[WindowState]) -> None:
        """Puts back windows from a checkpoint; a window that is live already keeps the higher use. Afterwards takes are decided."""

    async def came_back_empty(self) -> bool:
        """Tells whether counters were lost since the last restore_windows: takes raise Unavailable until it is called again."""

    async def sweep(self) -> int:
        """Forgets states that say nothing any more and ends holds whose life is over; returns how many states went."""

    async def close(self) -> None:
        """Gives back what only this object uses: chunks of shared limits, connections."""
