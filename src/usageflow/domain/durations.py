"""Windows as people write them: ``30s``, ``1m``, ``1h``, ``7d``, ``2w``, or several joined (``1h30m``)."""

from __future__ import annotations

import re

_UNITS_US = {"w": 604_800_000_000, "d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000}
_PART = re.compile(r"([0-9]{1,9})([wdhms])")
_WHOLE = re.compile(r"(?:[0-9]{1,9}[wdhms])+")


def parse_window(text: str) -> int:
    """Returns the window in microseconds. Raises ValueError, whose text says what would be right."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(
            f"{text!r} is not a window: write a whole number and s, m, h, d or w, such as 30s or 1h"
        )
    return sum(int(number) * _UNITS_US[unit] for number, unit in _PART.findall(text))


def format_window(window_us: int) -> str:
    """Returns the shortest text that parse_window reads back; whole seconds only.

    >>> format_window(5_400_000_000)
    '1h30m'
    """
    parts = []
    for unit, size in _UNITS_US.items():
        count, window_us = divmod(window_us, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
