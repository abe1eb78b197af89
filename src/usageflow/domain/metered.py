"""Units that a metering expression comes to: exact decimals, rounded half even to 12 places. Pure.

CEL knows no decimals: a double stands for its shortest decimal, as a reported quantity does (usageflow.domain.units).
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

from usageflow.domain.expressions import EvaluationFailed, Linear

MAX_UNITS = Decimal(10) ** 15
_QUANTUM = Decimal(1).scaleb(-12)
_CONTEXT = Context(prec=100, rounding=ROUND_HALF_EVEN)


def units_of_line(line: Linear, units: Decimal, requests: int) -> Decimal | EvaluationFailed:
    """Returns the units of requests that have ``units`` among them."""
    return _kept(_CONTEXT.fma(line.slope, units, _CONTEXT.multiply(line.base, Decimal(requests))))


def units_of_result(value: float | Decimal, factor: Decimal) -> Decimal | EvaluationFailed:
    """Returns the units of an int, uint or double, ``factor`` times."""
    number = Decimal(repr(value))
    if not number.is_finite():
        return EvaluationFailed(f"it yields {value}, which is no amount")
    return _kept(_CONTEXT.multiply(number, factor))


def _kept(units: Decimal) -> Decimal | EvaluationFailed:
    if not 0 <= units <= MAX_UNITS:
        return EvaluationFailed(f"it yields {units:.15g}, not 0 to 1e15 units")
    return units.quantize(_QUANTUM, context=_CONTEXT)
