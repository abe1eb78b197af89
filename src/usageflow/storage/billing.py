"""The ports of billing: what waits, what is on its way, and what people do about it. The docstrings are the contract; tests/contract runs it on
every back end. Times are Unix time, in the unit that the name says. A store that does not answer raises usageflow.domain.errors.Unavailable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol

from usageflow.domain.billing import (
    HoldReason,
    Part,
    PartState,
    Target,
    Terms,
    Window,
)
from usageflow.domain.changes import Cause


class BacklogRow(NamedTuple):
    """Units that nothing has claimed, of one pseudonym (0 is nobody), policy, price and revision in one UTC hour. ``bound`` is who pays where the
    identity was erased: `cus_...` or a customer's name, else "". ``application`` is the application's name.
    """

    hour_s: int
    application_id: str
    application: str
    pseudonym: int
    bound: str
    policy: str
    price: str
    revision: int
    requests: int
    units: Decimal
    oldest_s: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What becomes one part: the open deltas of these pseudonyms, those that are bound to ``customer`` or its `cus_...`, and under these
    (policy, revision) pairs, within the window.
    """

    application_id: str
    customer: str
    target: Target
    window: Window
    pseudonyms: tuple[int, ...]
    bound: tuple[str, ...]
    policies: tuple[tuple[str, int], ...]
    terms: Terms


@dataclass(frozen=True, slots=True)
class Hold:
    """Units that cannot be frozen, and why. ``customer`` is "" for nobody in particular; ``since_us`` is when it was first noted."""

    customer: str
    target: Target
    reason: HoldReason
    message: str
    requests: int
    units: Decimal
    oldest_s: int
    since_us: int = 0


@dataclass(frozen=True, slots=True)
class Pause:
    """A destination that takes nothing until a person resumes it."""

    destination: str
    message: str
    since_us: int


class Stop(NamedTuple):
    """Units that a person keeps from being frozen: of a customer ("" for all) and a price ("" for all)."""

    application_id: str
    customer: str
    price: str


@dataclass(frozen=True, slots=True)
class PartResult:
    """What became of a part that the worker held. ``next_us`` is when it is due again, where it is SENDING (it may count by now) or FROZEN (no attempt
    counts: ``first_attempt_us`` is 0 again).
    """

    part_id: int
    attempt: int
    state: PartState
    note: str = ""
    next_us: int = 0
    stripe_id: str = ""
    stripe_request: str = ""


@dataclass(frozen=True, slots=True)
class PartFilter:
    """Which parts of an application; a field that is empty or None excludes nothing. ``since_s`` and ``until_s`` are about windows' starts,
    ``within`` is about the instants that parts count at.
    """

    states: frozenset[PartState] = frozenset()
    customer: str = ""
    price: str = ""
    since_s: int | None = None
    until_s: int | None = None
    part_ids: tuple[int, ...] = ()
    within: Window | None = None


class Move(StrEnum):
    """What a person does to parts. RETRY: REJECTED and AMBIGUOUS ones, and those that wait for their next attempt, are due at once, and the time of
    their first attempt begins anew where they were given up. RETRY_ANEW: REJECTED, AMBIGUOUS and EXPIRED ones are due under another
    identifier, for what was refused after it had been taken. HOLD: FROZEN ones wait. RELEASE: HELD ones go on. MARK_SENT: AMBIGUOUS ones that a person found at
    the destination.
    """

    RETRY = "RETRY"
    RETRY_ANEW = "RETRY_ANEW"
    HOLD = "HOLD"
    RELEASE = "RELEASE"
    MARK_SENT = "MARK_SENT"


@dataclass(frozen=True, slots=True)
class PartSum:
    """All parts of an application in one state of one target."""

    target: Target
    state: PartState
    parts: int
    requests: int
    units: Decimal
    oldest_s: int


class SentSum(NamedTuple):
    """What parts that count at the destination add up to, of one payee and target in one UTC hour. DELTA: the sum of values; TOTAL: the
    latest value of each span. ``unsettled`` are SENDING and AMBIGUOUS parts, which may count too.
    """

    payee: str
    customer: str
    target: Target
    hour_s: int
    value: Decimal
    parts: int
    unsettled: int


@dataclass(frozen=True, slots=True)
class Correction:
    """Units that a person adds to (or, negative, takes from) a window of a ledger, as a part of its own."""

    application_id: str
    customer: str
    target: Target
    window: Window
    units: Decimal
    terms: Terms
    note: str


class BillingStore(Protocol):
    """What the loops of meter work over. Several processes may do so at once."""

    async def installation_id(self) -> str:
        """Returns the id that the first migration made: part of every identifier."""

    async def backlog(
        self, *, before_s: int, limit: int, after: BacklogRow | None = None
    ) -> Sequence[BacklogRow]:
        """Returns what nothing has claimed of requests before a second, oldest hours first, at most ``limit`` rows, those behind ``after``. Of deleted
        applications too: what was used is billed.
        """

    async def freeze(self, claims: Sequence[Claim], *, now_us: int) -> Sequence[Part]:
        """Claims the deltas of each, and stores a part for it, FROZEN, with its number, value and identifier, in one transaction; claims
        that find nothing open, and those that a stop names, make none. Two processes never claim the same delta, and never make two parts of one ledger at
        the same time: they meet at the ledger's row. A total belongs to account, method, environment, payee, target and span, whichever customers and
        applications share them. A part whose value changes nothing (0 as a DELTA, as a TOTAL what the last part of its span sent) is SENT at
        once. Raises nothing for what others have claimed meanwhile.
        """

    async def claim_parts(
        self, worker: str, *, now_us: int, until_us: int, limit: int, without: Collection[str]
    ) -> Sequence[Part]:
        """Returns parts that are due (FROZEN, or SENDING with ``next_us`` past), oldest windows first, now SENDING, with one attempt more, and kept
        from others until ``until_us``; ``first_attempt_us`` is set at the first. Parts of destinations in ``without`` stay. Of a TOTAL's span only the first that is
        unsettled is ever returned, and none while a later one is being sent or is AMBIGUOUS; one behind which a later one is SENT is SENT too, since that one
        holds its units. Rows that another process is claiming are passed over.
        """

    async def settle_parts(self, results: Sequence[PartResult], *, now_us: int) -> int:
        """Records what became of attempts, in one transaction; returns how many counted. One whose part is not SENDING, or has another number
        of attempts by now, changes nothing: another process has it.
        """

    async def stops(self) -> Sequence[Stop]:
        """Returns what people hold, of all applications."""

    async def replace_holds(self, holds: Mapping[str, Sequence[Hold]], *, now_us: int) -> None:
        """Makes all holds equal to these, by application id; those that were there keep their ``since_us``."""

    async def pause(self, destination: str, message: str, *, now_us: int) -> None:
        """Pauses a destination; one that is paused keeps its ``since_us`` and gets the message."""

    async def pauses(self) -> Sequence[Pause]:
        """Returns what is paused, by name."""

    async def resume(self, destination: str, *, cause: Cause) -> bool:
        """Ends a pause, with an audit entry; tells whether there was one."""

    async def refuse_sent(self, refusals: Mapping[str, str], *, now_us: int) -> int:
        """Makes SENT parts with these identifiers REJECTED: they were taken at first and refused afterwards. Returns how many there were."""

    async def forget_parts(self, *, before_s: int) -> int:
        """Deletes SENT and CANCELLED parts whose window ended before, and the deltas that they claimed, some at a time; returns how many parts there
        were. Ask for what is older than any report that is still taken: later parts of such a window would be numbered from 1 again.
        """


class BillingBook(Protocol):
    """What people look at and do."""

    async def parts(
        self, application_id: str, wanted: PartFilter, *, after: int, limit: int
    ) -> Sequence[Part]:
        """Returns parts by falling id, older than ``after`` (0: all), at most ``limit``."""

    async def part_sums(self, application_id: str, wanted: PartFilter) -> Sequence[PartSum]:
        """Returns what parts add up to by target and state."""

    async def holds(self, application_id: str) -> Sequence[Hold]:
        """Returns what cannot be frozen, most units first."""

    async def move_parts(
        self, application_id: str, wanted: PartFilter, move: Move, *, cause: Cause, now_us: int
    ) -> int:
        """Does it to the parts that are in a state which it applies to, with one audit entry and the receipt of ``cause``; returns how many. The same
        request again changes nothing and returns the same.
        """

    async def stop(self, stop: Stop, *, held: bool, cause: Cause, now_us: int) -> bool:
        """Keeps what a stop names from being frozen, or ends that, with an audit entry and the receipt of ``cause``; returns whether that changed
        anything. What is frozen goes on: that is held by ``move_parts``.
        """

    async def sent_sums(self, application_id: str, window: Window) -> Sequence[SentSum]:
        """Returns what counts at destinations by payee, target and hour: of the parts' timestamps, or where their spans begin."""

    async def correct(self, correction: Correction, *, cause: Cause, now_us: int) -> Part:
        """Stores a part of kind CORRECTION, FROZEN (or SENT, as ``freeze`` says), with an audit entry and the receipt of ``cause``. The same request again
        returns the same part.
        """

    async def cancelled(self, part_id: int, *, note: str, cause: Cause, now_us: int) -> bool:
        """Makes a SENT part CANCELLED, with an audit entry; tells whether it was SENT. Its units stay claimed."""
