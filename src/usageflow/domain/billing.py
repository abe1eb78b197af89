"""Metered units on their way to an invoice: windows, parts and what is sent of them. Pure; units are Decimals, never floats.

A *ledger* is one customer's units of one billing target. A *window* is a UTC hour of it, or a piece of one where a billing period ends
within the hour. A *part* is what was claimed of a window at one time: its payload is fixed before it is first sent, and what is
reported later becomes the next part.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Context, Decimal
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from usageflow.domain.policies import Trigger

HOUR_S = 3_600
MOST_DIGITS = 15
"""Significant digits that Stripe takes in a meter event's value."""

_EXACT = Context(prec=60)
_SENT = Context(prec=MOST_DIGITS, rounding=ROUND_DOWN)
_WHOLE = Decimal(1)


class Target(NamedTuple):
    """Where units are billed: a Stripe Price, how it is reached, and the meter's event name ("" for the price's own)."""

    trigger: Trigger
    price: str
    event_name: str = ""

    def __str__(self) -> str:
        name = f":{self.event_name}" if self.event_name else ""
        return f"{self.trigger}:{self.price}{name}"


class Window(NamedTuple):
    """Seconds of Unix time from ``start_s`` up to, not including, ``end_s``."""

    start_s: int
    end_s: int


def hour_of(second: int) -> Window:
    """Returns the UTC hour that a second lies in."""
    start = second // HOUR_S * HOUR_S
    return Window(start, start + HOUR_S)


def month_of(second: int) -> Window:
    """Returns the UTC month that a second lies in."""
    at = datetime.fromtimestamp(second, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, month = (at.year + 1, 1) if at.month == 12 else (at.year, at.month + 1)
    return Window(int(at.timestamp()), int(at.replace(year=year, month=month).timestamp()))


def cut(window: Window, instants: frozenset[int]) -> list[Window]:
    """Returns the pieces of a window, cut where a billing period ends."""
    bounds = [
        window.start_s,
        *sorted(each for each in instants if window.start_s < each < window.end_s),
        window.end_s,
    ]
    return [Window(start, end) for start, end in itertools.pairwise(bounds)]


class Mode(StrEnum):
    """What a part sends: its own units (what receives them adds), or all units of its span so far (what receives them replaces)."""

    DELTA = "DELTA"
    TOTAL = "TOTAL"


class PartKind(StrEnum):
    """USAGE: units that were reported. CORRECTION: units that a person took back or added."""

    USAGE = "USAGE"
    CORRECTION = "CORRECTION"


class PartState(StrEnum):
    """How far a part has come.

    FROZEN waits to be sent, SENDING is on its way or its outcome is not known yet. SENT was taken. REJECTED will never be taken as it is.
    HELD waits for a person. AMBIGUOUS may have been taken, and it is too late to ask again safely. EXPIRED is too old to be sent.
    CANCELLED was sent and taken back.
    """

    FROZEN = "FROZEN"
    SENDING = "SENDING"
    SENT = "SENT"
    REJECTED = "REJECTED"
    HELD = "HELD"
    AMBIGUOUS = "AMBIGUOUS"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


OPEN = frozenset({PartState.FROZEN, PartState.SENDING})
"""What goes on by itself."""

UNSETTLED = OPEN | {PartState.HELD, PartState.AMBIGUOUS}
"""What later parts of a TOTAL wait for: they would be overwritten by it."""


class Method(StrEnum):
    """What a part is sent as."""

    METER_EVENT = "meter_event"
    USAGE_RECORD = "usage_record"
    INVOICE_ITEM = "invoice_item"
    CLOUD_EVENT = "cloud_event"
    FILE_LINE = "file_line"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a window's units are sent, as it was resolved when the part was frozen.

    ``payee`` is `cus_...`, or the customer's name where the sink knows no other. ``span`` is what a TOTAL adds up. ``whole``: only whole units are
    taken, the rest waits for the next part. ``resend_safe``: sending again does no harm however late. ``details`` is the sink's own: meter and
    payload keys, subscription item, description.
    """

    method: Method
    account: str
    environment: str
    payee: str
    mode: Mode
    timestamp_s: int
    span: Window | None = None
    whole: bool = False
    resend_safe: bool = False
    details: Mapping[str, str] = field(default_factory=dict)


class HoldReason(StrEnum):
    """Why units are not frozen yet."""

    UNMAPPED = "UNMAPPED"
    NO_STRIPE_CUSTOMER = "NO_STRIPE_CUSTOMER"
    NO_SUBSCRIPTION = "NO_SUBSCRIPTION"
    SEVERAL_SUBSCRIPTIONS = "SEVERAL_SUBSCRIPTIONS"
    TARGET_REFUSED = "TARGET_REFUSED"
    LATE_USAGE = "LATE_USAGE"
    REVISION_GONE = "REVISION_GONE"
    DESTINATION_PAUSED = "DESTINATION_PAUSED"
    ON_HOLD = "ON_HOLD"


@dataclass(frozen=True, slots=True)
class Held:
    """Stands for the terms that there are not yet. ``message`` says why and what to do."""

    reason: HoldReason
    message: str


@dataclass(frozen=True, slots=True)
class Part:
    """What was claimed of a window at one time. ``units`` are its own, ``value`` is what is sent; ``note`` is the last thing that was
    told about it. Times are Unix microseconds, 0 for not yet. ``issue`` counts how often it was made anew under another identifier.
    """

    part_id: int
    application_id: str
    customer: str
    target: Target
    window: Window
    number: int
    kind: PartKind
    requests: int
    units: Decimal
    value: Decimal
    identifier: str
    terms: Terms
    state: PartState
    attempts: int = 0
    first_attempt_us: int = 0
    next_us: int = 0
    note: str = ""
    stripe_id: str = ""
    stripe_request: str = ""
    created_us: int = 0
    updated_us: int = 0
    issue: int = 0

    @property
    def destination(self) -> str:
        """What is paused where credentials are refused."""
        return destination_of(self.terms)


def destination_of(terms: Terms) -> str:
    """Returns what is paused where credentials are refused: account and method."""
    return f"{terms.account}/{terms.method}"


def identifier_of(
    installation_id: str,
    application_id: str,
    customer: str,
    target: Target,
    window: Window,
    number: int,
    *,
    terms: Terms,
    issue: int = 0,
) -> str:
    """Returns what makes a part itself wherever it arrives: `uf1_` and a SHA-256 in hex, 68 characters. No two parts share one, and a part
    has the same one at every attempt.
    """
    fields = (
        installation_id,
        terms.account,
        terms.environment,
        application_id,
        customer,
        *target,
        str(window.start_s),
        str(window.end_s),
        str(number),
        str(issue),
    )
    # Lengths tell the fields apart whatever is in them.
    spelled = "".join(f"{len(each)}:{each}" for each in fields)
    return f"uf1_{sha256(spelled.encode('utf-8', 'surrogatepass')).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Amount:
    """What is sent, and what waits for the next part of the ledger."""

    value: Decimal
    carry: Decimal


def amount_of(terms: Terms, units: Decimal, *, carry: Decimal, before: Decimal) -> Amount:
    """Returns what a part of ``units`` sends. ``carry`` is what earlier parts of the ledger left behind, ``before`` what the span already adds
    up to. A value has at most 15 significant digits, and no fraction where only whole units are taken; it is rounded towards zero, so that nothing is
    billed before it was used.
    """
    total = terms.mode is Mode.TOTAL
    exact = _EXACT.add(before if total else carry, units)
    value = _EXACT.create_decimal(exact)
    if terms.whole:
        value = value.quantize(_WHOLE, rounding=ROUND_DOWN, context=_EXACT)
    value = _SENT.create_decimal(value)
    rest = Decimal(0) if total else _EXACT.subtract(exact, value)
    return Amount(value, rest)


class Result(StrEnum):
    """What a destination's answer means.

    TAKEN: it counts there, once. AGAIN: try later under the same identifier. UNKNOWN: no answer, so it may count; try again too.
    REFUSED: never as it is. DENIED: the credentials were refused, so nothing goes there until a person changed them. UNEXPECTED: the destination
    says it has one already that we never sent.
    """

    TAKEN = "TAKEN"
    AGAIN = "AGAIN"
    UNKNOWN = "UNKNOWN"
    REFUSED = "REFUSED"
    DENIED = "DENIED"
    UNEXPECTED = "UNEXPECTED"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt. ``told`` is the destination's own text, shortened; ``wait_s`` is how long it asks to be left alone."""

    result: Result
    told: str = ""
    stripe_id: str = ""
    stripe_request: str = ""
    wait_s: float = 0.0
