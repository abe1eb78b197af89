"""New ids."""

from __future__ import annotations

import secrets

from usageflow.domain.clock import Clock
from usageflow.domain.ids import uuid7


def new_id(clock: Clock) -> str:
    """Returns a new UUIDv7."""
    return uuid7(clock.now_us(), secrets.token_bytes(10))
