"""How fast Stripe may be called: a token bucket per kind of call (https://docs.stripe.com/rate-limits)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from usageflow.domain.clock import Clock

LIVE_EVENTS = 800.0
OTHERS = 20.0
_SLOWEST = 1.0
_RECOVERY_PER_S = 0.05
"""Share of the full rate that comes back each second after Stripe asked to go slower."""


@dataclass
class Bucket:
    """Tokens of one kind of call, one second's worth at most."""

    rate: float
    at_us: int
    tokens: float = 1.0
    share: float = 1.0

    def wait_s(self, now_us: int) -> float:
        """Takes a token, one that is still to come where there is none; returns how long to wait for it."""
        passed_s = max(0, now_us - self.at_us) / 1_000_000
        self.at_us = max(self.at_us, now_us)
        self.share = min(1.0, self.share + passed_s * _RECOVERY_PER_S)
        rate = max(_SLOWEST, self.rate * self.share)
        self.tokens = min(max(1.0, rate), self.tokens + passed_s * rate) - 1
        return max(0.0, -self.tokens / rate)

    def slow_down(self) -> None:
        """Halves the rate; it comes back by and by."""
        self.share = max(self.share / 2, _SLOWEST / self.rate)


class Rates:
    """The buckets of one key. A test key has one for everything."""

    def __init__(
        self,
        clock: Clock,
        *,
        live: bool,
        rate: float | None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        now_us = clock.now_us()
        self._clock = clock
        self._sleep = sleep
        self._others = Bucket(rate or OTHERS, now_us)
        self._events = Bucket(rate or LIVE_EVENTS, now_us) if live else self._others

    async def wait(self, *, event: bool) -> None:
        """Returns when a call may be made. ``event``: a meter event."""
        wait_s = self._of(event=event).wait_s(self._clock.now_us())
        if wait_s > 0:
            await self._sleep(wait_s)

    def slow_down(self, *, event: bool) -> None:
        """Notes that Stripe asked to go slower."""
        self._of(event=event).slow_down()

    def _of(self, *, event: bool) -> Bucket:
        return self._events if event else self._others
