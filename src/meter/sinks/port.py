"""The port of destinations that units are billed at. The docstrings are the contract; tests/contract/test_sinks.py runs it on each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from usageflow.domain.billing import Held, Outcome, Part, Target, Terms, Window
from usageflow.domain.policies import LateUsage


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

    name: str
    """What people call it: `stripe`, `cloudevents`, `file`."""

    needs_mapping: bool
    """Whether units are only sent for customers with a `cus_...`."""

    async def check(self, targets: Collection[Target]) -> Sequence[Finding]:
        """Returns what is wrong with these targets, as far as the destination tells: done at the start and from time to time."""

    async def terms(
        self, payer: Payer, target: Target, window: Window, late: LateUsage, *, now_us: int
    ) -> Sequence[TermsOf] | Held:
        """Returns how a window's units are sent: in pieces where a billing period ends within it. ``late`` says what becomes of a window whose invoice
        is final. Asks as little as it can: what it learnt it remembers for some minutes.
        """

    async def send(self, part: Part, *, now_us: int) -> Outcome:
        """Sends a part once. The same part may be sent again, by another process too: it counts once."""

    async def cancel(self, part: Part, *, now_us: int) -> Outcome:
        """Takes back a part that was taken. REFUSED where it is too late: then a correction does it."""

    async def reckoned(self, wanted: Collection[tuple[str, Target]], window: Window) -> Sequence[Reckoned]:
        """Returns what counts there for these (payee, target) within the window, of whole hours: 0 where nothing does; what it cannot tell is left
        out.
        """

    async def close(self) -> None:
        """Ends connections."""


class UnitPrice(NamedTuple):
    """What a unit costs, in the currency's smallest unit; ``currency`` is an ISO 4217 code in lower case."""

    unit_amount: Decimal
    currency: str


@runtime_checkable
class Quotes(Protocol):
    """What a destination with prices tells beside; previews use it. A Sink may offer this too."""

    async def prices(self, targets: Collection[Target]) -> Mapping[Target, UnitPrice]:
        """Returns what a unit costs; targets whose price is no single amount (tiers), and what it cannot tell, are left out."""

    async def period(self, payer: Payer, target: Target, *, now_us: int) -> Window | None:
        """Returns the billing period of now; None where it knows none: then it is the UTC month."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a destination told afterwards. ``refusals`` are identifiers of parts that it had taken, and why it counts them not; ``suspect`` is a window
    in which there are more of them than it named, None where it named all.
    """

    refusals: Mapping[str, str]
    suspect: Window | None = None


@runtime_checkable
class Notices(Protocol):
    """A Sink to which its destination tells things by webhook."""

    async def read_notice(self, body: bytes, signature: str) -> Notice:
        """Returns what a signed body tells, nothing for kinds that mean nothing here. Raises InvalidArgument where the signature is not the
        destination's or the body is no notice, Unavailable where it has to ask back and gets no answer.
        """
