"""The client's core: no I/O, no clock, no event loop. Time and randomness come in as arguments."""

from __future__ import annotations
