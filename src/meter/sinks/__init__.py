"""Where billed units go. ``Sink`` is the port; what is said to one destination stays in its own module."""

from __future__ import annotations

from meter.sinks.port import Finding, Level, Payer, Reckoned, Sink, TermsOf

__all__ = ["Finding", "Level", "Payer", "Reckoned", "Sink", "TermsOf"]
