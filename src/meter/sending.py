"""Sends parts, and records what became of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import structlog

from meter.sinks.port import Sink
from usageflow.domain.billing import Part, PartState, Result
from usageflow.domain.billing_rules import Step, after_sending, before_sending
from usageflow.domain.clock import Clock
from usageflow.domain.errors import UsageFlowError
from usageflow.storage.billing import BillingStore, PartResult

_AT_ONCE = 64
"""Parts that a process sends side by side."""

_TICK_S = 1.0
_TO_END_S = 8.0
"""How long a process that ends waits for what it is sending; what is left another takes when the lease is over."""

log = structlog.get_logger()


class Sender:
    """Sends what is due. Any number of processes may do so at once: a part belongs to who claimed it for ``lease_s``."""

    def __init__(
        self,
        store: BillingStore,
        sink: Sink,
        clock: Clock,
        worker: str,
        *,
        lease_s: int,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self._store = store
        self._sink = sink
        self._clock = clock
        self._worker = worker
        self._lease_us = lease_s * 1_000_000
        self._jitter = jitter
        self._ending = False

    async def run_for_ever(self) -> None:
        """Sends each second what is due; a database that is silent stops nothing."""
        while True:
            rounds = asyncio.create_task(self._rounds())
            try:
                await asyncio.shield(rounds)
            except asyncio.CancelledError:
                self._ending = True
                await asyncio.wait([rounds], timeout=_TO_END_S)
                rounds.cancel()
                raise
            except UsageFlowError as error:
                log.warning("parts wait to be sent", error=str(error))
            await asyncio.sleep(_TICK_S)

    async def _rounds(self) -> None:
        while await self.round() == _AT_ONCE and not self._ending:
            pass

    async def round(self) -> int:
        """Sends what is due, at most 64 parts side by side; returns how many there were."""
        now_us = self._clock.now_us()
        paused = [each.destination for each in await self._store.pauses()]
        parts = await self._store.claim_parts(
            self._worker, now_us=now_us, until_us=now_us + self._lease_us, limit=_AT_ONCE, without=paused
        )
        if not parts:
            return 0
        results = await asyncio.gather(*(self._send(part) for part in parts))
        await self._store.settle_parts(results, now_us=self._clock.now_us())
        return len(parts)

    async def _send(self, part: Part) -> PartResult:
        now_us = self._clock.now_us()
        step = before_sending(part, now_us)
        if step is not None:
            self._note(part, step)
            return PartResult(part.part_id, part.attempts, step.state, step.note, step.next_us)
        outcome = await self._sink.send(part, now_us=now_us)
        self.outcomes[outcome.result.value] += 1
        step = after_sending(part, outcome, self._clock.now_us(), self._jitter())
        if outcome.result is not Result.TAKEN:
            self._note(part, step)
        if step.pause:
            await self._store.pause(part.destination, outcome.told, now_us=now_us)
        return PartResult(
            part.part_id,
            part.attempts,
            step.state,
            step.note,
            step.next_us,
            outcome.stripe_id,
            outcome.stripe_request,
        )

    def _note(self, part: Part, step: Step) -> None:
        """Logs what did not go as it should."""
        waits = step.state in {PartState.FROZEN, PartState.SENDING}
        told = {"part": part.part_id, "state": step.state.value, "attempts": part.attempts, "told": step.note}
        (log.info if waits and part.attempts < 3 else log.warning)("a part was not taken", **told)
