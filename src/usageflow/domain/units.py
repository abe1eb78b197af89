"""Exact units: whole units and a fraction in 10^-12, so that sums of integers are exact in every database."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache

PICO = 10**12
_CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN)
_QUANTUM = Decimal(1).scaleb(-12)
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?")


def parse_units(text: str) -> Decimal:
    """Returns the units of a decimal of at most 15 digits before and 12 after the point. Raises ValueError."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(
            f"{text[:40]!r} is not a decimal with at most 15 digits before and 12 after the point"
        )
    return Decimal(text)


@lru_cache(maxsize=4096)  # most are the same few
def units_of_quantity(quantity: float) -> Decimal:
    """Returns the units of a reported quantity: its shortest decimal, rounded half even to 12 places."""
    return Decimal(repr(quantity)).quantize(_QUANTUM, context=_CONTEXT)


def split(units: Decimal) -> tuple[int, int]:
    """Returns (whole units, fraction in 10^-12); the fraction is 0 or more."""
    return divmod(int(units.scaleb(12, context=_CONTEXT).to_integral_value(context=_CONTEXT)), PICO)


def join(whole: int, pico: int) -> Decimal:
    """Returns the units of sums of both parts; the inverse of split."""
    return _CONTEXT.create_decimal(whole * PICO + pico).scaleb(-12, context=_CONTEXT)


def format_units(units: Decimal) -> str:
    """Returns a decimal without exponent and without trailing zeros: ``12.5``, ``3``."""
    text = f"{units:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
