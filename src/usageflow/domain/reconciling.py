"""What was sent beside what its destination counts, hour by hour. Pure; units are Decimals, never floats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple

from usageflow.domain.billing import HOUR_S, MOST_DIGITS, Target, Window

LAG_S = 600
"""How long after an hour's end a destination may still be adding it up."""

_ROUNDED = Context(prec=MOST_DIGITS, rounding=ROUND_HALF_EVEN)
_EXACT = Context(prec=60)


class Place(NamedTuple):
    """What both sides count apart: who pays, for what, in which UTC hour."""

    payee: str
    target: Target
    hour_s: int


class Sent(NamedTuple):
    """What counts by our own book. ``unsettled`` are parts whose outcome is open: their units may count there or not."""

    customer: str
    value: Decimal
    unsettled: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One place on both sides. ``theirs`` is None where the destination does not tell."""

    place: Place
    customer: str
    ours: Decimal
    theirs: Decimal | None
    unsettled: int

    @property
    def drift(self) -> Decimal | None:
        """Returns what the destination counts more, negative for less; 0 where both are the same in 15 digits, None where it does not tell."""
        if self.theirs is None:
            return None
        if _ROUNDED.create_decimal(self.theirs) == _ROUNDED.create_decimal(self.ours):
            return Decimal(0)
        return _ROUNDED.create_decimal(_EXACT.subtract(self.theirs, self.ours))

    @property
    def drifted(self) -> bool:
        """Tells whether somebody has to look: the sides differ, and no open outcome may be why."""
        return bool(self.drift) and not self.unsettled


def compare(ours: Mapping[Place, Sent], theirs: Mapping[Place, Decimal]) -> list[Compared]:
    """Returns every place that either side has, those that differ first, then by customer, target and hour. What the destination alone counts
    belongs to the customer whom the same payee has on our side.
    """
    customers = {place.payee: sent.customer for place, sent in sorted(ours.items())}
    nothing = {payee: Sent(customer, Decimal(0), 0) for payee, customer in customers.items()}
    found = []
    for place in ours.keys() | theirs.keys():
        sent = ours.get(place) or nothing.get(place.payee) or Sent("", Decimal(0), 0)
        found.append(Compared(place, sent.customer, sent.value, theirs.get(place), sent.unsettled))
    return sorted(found, key=_order)


def drifted(found: Iterable[Compared]) -> list[Compared]:
    """Returns what somebody has to look at."""
    return [each for each in found if each.drifted]


def span_of(since_s: int, until_s: int | None, *, now_s: int) -> Window:
    """Returns the whole hours from ``since_s`` on that can be compared by now, up to ``until_s``; it may be empty."""
    ended = (now_s - LAG_S) // HOUR_S * HOUR_S
    end = ended if until_s is None else min(until_s // HOUR_S * HOUR_S, ended)
    start = since_s // HOUR_S * HOUR_S
    return Window(start, max(start, end))


def _order(each: Compared) -> tuple[bool, bool, str, Place]:
    return (not each.drifted, not each.drift, each.customer, each.place)
