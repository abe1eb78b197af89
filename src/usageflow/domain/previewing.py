"""What an open billing period would come to. Pure; units and amounts are Decimals, never floats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Context, Decimal

from usageflow.domain.billing import OPEN, PartState, Target, Window

_EXACT = Context(prec=60)
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Line:
    """Units of one target in a period. ``unit_amount`` is in the currency's smallest unit; None where the destination does not tell."""

    target: Target
    period: Window
    sent: Decimal = _NOTHING
    sending: Decimal = _NOTHING
    open: Decimal = _NOTHING
    stuck: Decimal = _NOTHING
    unit_amount: Decimal | None = None
    currency: str = ""

    @property
    def amount(self) -> Decimal | None:
        """Returns what all units but the stuck ones come to, in the currency's smallest unit; None where no price is known."""
        if self.unit_amount is None:
            return None
        units = _EXACT.add(_EXACT.add(self.sent, self.sending), self.open)
        return _EXACT.multiply(units, self.unit_amount)

    def with_parts(self, sums: Iterable[tuple[PartState, Decimal]]) -> Line:
        """Returns the line with the units of parts added, by how far they have come. What was taken back counts nowhere."""
        sent, sending, stuck = self.sent, self.sending, self.stuck
        for state, units in sums:
            if state is PartState.SENT:
                sent += units
            elif state in OPEN:
                sending += units
            elif state is not PartState.CANCELLED:
                stuck += units
        return replace(self, sent=sent, sending=sending, stuck=stuck)
