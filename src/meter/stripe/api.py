"""Stripe's own library, at the pace that Stripe allows, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import stripe

from meter.stripe.answers import account_in, denial, missing, told_by, unknown
from meter.stripe.rates import Rates
from usageflow.domain.errors import Unavailable

T = TypeVar("T")
_TIMEOUT_S = (3, 10)
_THREADS = 32
_LOOKS = 4
"""How often something is looked up before it waits for the next round: looking changes nothing."""

stripe.enable_telemetry = False


class NotTold(Exception):
    """Stripe does not answer a question, and will not. It has two kinds: Denied and Refused. The text says why."""


class Denied(NotTold):
    """Stripe refused the key; the text says what to do. ``account`` is whose key it is, "" where that was not told."""

    def __init__(self, message: str, account: str = "") -> None:
        super().__init__(message)
        self.account = account


class Refused(NotTold):
    """Stripe takes the question for a wrong one."""


class StripeApi:
    """Calls Stripe. The library's own retries are off: what was sent is recorded between two attempts."""

    def __init__(self, key: str, rates: Rates, *, base: str = "") -> None:
        places = ("api", "connect", "files", "meter_events")
        self._client = stripe.StripeClient(
            key,
            http_client=stripe.RequestsClient(timeout=_TIMEOUT_S),
            max_network_retries=0,
            **({"base_addresses": dict.fromkeys(places, base)} if base else {}),  # type: ignore[arg-type]
        )
        self._rates = rates
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="stripe")

    async def call(self, work: Callable[[stripe.StripeClient], T], *, event: bool = False) -> T:
        """Returns what one call answers. Raises stripe.StripeError."""
        await self._rates.wait(event=event)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, self._client)
        except stripe.RateLimitError:
            self._rates.slow_down(event=event)
            raise

    async def look(self, work: Callable[[stripe.StripeClient], T], needs: str) -> T | None:
        """Returns what a question answers, None where there is no such thing. ``needs`` is the permission that it takes. Raises NotTold, and
        Unavailable where Stripe does not answer.
        """
        for left in reversed(range(_LOOKS)):
            try:
                return await self.call(work)
            except (stripe.AuthenticationError, stripe.PermissionError) as error:
                raise Denied(denial(error, needs), account_in(error)) from error
            except stripe.StripeError as error:
                if missing(error):
                    return None
                if not (isinstance(error, stripe.RateLimitError) or unknown(error)):
                    raise Refused(f"Stripe refused to answer: {told_by(error)}") from error
                if not left:
                    raise Unavailable(f"Stripe does not answer: {told_by(error)}") from error
        return None

    async def close(self) -> None:
        """Ends the threads; calls in flight end by their time-outs."""
        self._threads.shutdown(wait=False, cancel_futures=True)
