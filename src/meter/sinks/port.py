"""The port of destinations that units are billed at. The docstrings are the contract; tests/contract/test_sinks.py runs it on each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol

from usageflow.domain.billing import Held, Outcome, Part, Target, Terms, Window


class Payer(NamedTuple):
    """Who pays: the customer's name and `cus_...` (either may be "" where an identity was erased)."""

    customer: str
    stripe_customer: str


class TermsOf(NamedTuple):
    """A window, cut where a billing period ends, and how it is sent, or why it is not sent yet."""

    window: Window
    terms: Terms | Held


class Level(StrEnum):
    """OK: units can be sent. WARNING: they can, but somebody should look. REFUSED: nothing is frozen for this target. DENIED: the credentials lack
    something.
    """

    OK = "OK"
    WARNING = "WARNING"
    REFUSED = "REFUSED"
    DENIED = "DENIED"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of a target found; ``target`` is None where it is about the whole destination. ``message`` says what to do."""

    level: Level
    message: str
    target: Target | None = None


class Reckoned(NamedTuple):
    """What a destination says it counts, of one payee and target in a UTC hour."""

    payee: str
    target: Target
    hour_s: int
    value: Decimal


class Sink(Protocol):
    """A destination. Its methods never raise for what the destination answers: that is an Outcome, a Held or a Finding. Credentials come from settings
    only, and are in no message.
    """

    async def check(self, targets: Collection[Target]) -> Sequence[Finding]:
        """Returns what is wrong with these targets, as far as the destination tells: done at the start and from time to time."""

    async def terms(
        self, payer: Payer, target: Target, window: Window, *, now_us: int
    ) -> Sequence[TermsOf] | Held:
        """Returns how a window's units are sent: in pieces where a billing period ends within it. Asks as little as it can: what it learnt it
        remembers for some minutes.
        """

    async def send(self, part: Part, *, now_us: int) -> Outcome:
        """Sends a part once. The same part may be sent again, by another process too: it counts once."""

    async def cancel(self, part: Part, *, now_us: int) -> Outcome:
        """Takes back a part that was taken. REFUSED where it is too late: then a correction does it."""

    async def reckoned(self, wanted: Collection[tuple[str, Target]], window: Window) -> Sequence[Reckoned]:
        """Returns what counts there for these (payee, target) within the window, of whole hours; what it cannot tell is left out."""

    async def close(self) -> None:
        """Ends connections."""
