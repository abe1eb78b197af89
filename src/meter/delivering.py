"""Takes messages of alerts from the outbox to their destinations."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from usageflow.domain.alert_sending import AlertSender, Attempt
from usageflow.domain.clock import Clock
from usageflow.domain.errors import UsageFlowError
from usageflow.storage.alerts import AlertStore, Delivery, DeliveryResult, DeliveryStatus

GIVE_UP_US = 24 * 3_600_000_000
CLAIM_US = 60_000_000
"""For so long a message belongs to who claimed it: longer than any attempt takes, so nobody sends it beside a living process."""

_FIRST_US = 5_000_000
_LONGEST_US = 3_600_000_000
_AT_ONCE = 16
_TICK_S = 1.0

log = structlog.get_logger()


class Delivering:
    """Sends what is due. Any number of processes may do so at once."""

    def __init__(
        self,
        store: AlertStore,
        sender: AlertSender,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._sender = sender
        self._clock = clock
        self._jitter = jitter

    async def run_for_ever(self) -> None:
        """Sends each second what is due; a silent database stops nothing."""
        while True:
            try:
                while await self.round() == _AT_ONCE:
                    pass
            except UsageFlowError as error:
                log.warning("messages of alerts wait", error=str(error))
            await asyncio.sleep(_TICK_S)

    async def round(self) -> int:
        """Sends what is due, at most 16 messages side by side; returns how many there were."""
        now_us = self._clock.now_us()
        claimed = await self._store.claim_deliveries(
            now_us=now_us, until_us=now_us + CLAIM_US, limit=_AT_ONCE
        )
        if claimed:
            await asyncio.gather(*(self._send(each) for each in claimed))
        return len(claimed)

    async def _send(self, delivery: Delivery) -> None:
        now_us = self._clock.now_us()
        attempt = await self._sender.send(
            delivery.event, delivery.destination_id, delivery.destination, now_us
        )
        now_us = self._clock.now_us()
        result = result_of(delivery, attempt, now_us, self._jitter())
        if not attempt.sent:
            log.warning(
                "a message of an alert was not taken",
                destination=delivery.destination.name,
                attempts=delivery.attempts,
                told=attempt.told,
                status=result.status.value,
            )
        await self._store.settle_deliveries([result], now_us=now_us)


def result_of(delivery: Delivery, attempt: Attempt, now_us: int, jitter: float) -> DeliveryResult:
    """Returns what an attempt means: back-off doubles from 5 s to an hour, with half of it at random (``jitter``, 0 to 1), for 24 h."""
    if attempt.sent:
        return DeliveryResult(delivery.delivery_id, DeliveryStatus.SENT, attempt.told)
    if attempt.gone:
        why = "the receiver answered 410 Gone: correct its address, then enable it again"
        return DeliveryResult(delivery.delivery_id, DeliveryStatus.FAILED, attempt.told, disable=why)
    wait_us = min(_LONGEST_US, _FIRST_US * 2 ** min(delivery.attempts - 1, 20))
    next_us = now_us + round(wait_us * (0.5 + jitter / 2))
    if next_us - delivery.created_us > GIVE_UP_US:
        return DeliveryResult(delivery.delivery_id, DeliveryStatus.FAILED, attempt.told)
    return DeliveryResult(delivery.delivery_id, DeliveryStatus.WAITING, attempt.told, next_us)
