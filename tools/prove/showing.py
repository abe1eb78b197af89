"""What a case says: its figure, or that it does not hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Case = Callable[[Path], str]
"""Returns its figure, or raises NotShown. Its docstring says what it shows; the folder is its own."""


class NotShown(Exception):
    """The case does not hold; the text says why."""


def ensure(holds: bool, otherwise: str) -> None:
    """Raises NotShown with ``otherwise`` unless it holds."""
    if not holds:
        raise NotShown(otherwise)
