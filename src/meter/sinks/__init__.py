"""Where billed units go. ``Sink`` is the port; what is said to one destination stays in its own module."""

from __future__ import annotations

from meter.sinks.port import (
    Finding,
    Level,
    Notice,
    Notices,
    Payer,
    Quotes,
    Reckoned,
    Sink,
    TermsOf,
    UnitPrice,
)

__all__ = [
    "Finding",
    "Level",
    "Notice",
    "Notices",
    "Payer",
    "Quotes",
    "Reckoned",
    "Sink",
    "TermsOf",
    "UnitPrice",
]
