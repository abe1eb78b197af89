"""The opt-in decision log: decisions of some callers go through a bounded queue into a store, and never delay an answer."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, MutableMapping

import structlog

from decision.recording import record_of
from usageflow.domain.clock import Clock
from usageflow.domain.decision_log import LogEntry, document_of
from usageflow.domain.decisions import Answer, Question
from usageflow.domain.errors import UsageFlowError
from usageflow.domain.identity import Identity, network_of
from usageflow.domain.rollout import picked
from usageflow.domain.snapshot import Snapshot
from usageflow.storage.decision_log import DecisionLog

MAX_WAITING = 20_000
"""Decisions that may wait to be stored; more are dropped."""

MAX_WAITING_BYTES = 32 * 1024 * 1024
MAX_DOCUMENT_BYTES = 64 * 1024
"""A longer decision is dropped: it would keep out hundreds of others."""

INTERVAL_S = 0.25
_BATCH = 1_000
_SAMPLE = "decision-log"

log = structlog.get_logger()


class DecisionLogger:
    """The queue in front of the decision log; ``run`` is its one worker.

    ``tally`` counts decisions by what became of them: written, dropped (the queue was full, or it was too long) and failed
    (the store did not take it).
    """

    def __init__(
        self,
        store: DecisionLog,
        clock: Clock,
        tally: MutableMapping[str, int],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._clock = clock
        self._tally = tally
        self._draw = draw
        self._waiting: deque[LogEntry] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._down = False
        self._storing = asyncio.Lock()

    def wants(self, snapshot: Snapshot, question: Question, identity: Identity | None) -> bool:
        """Tells whether a request is logged: all of some callers', since limits mean nothing to a part of them."""
        percent = snapshot.decision_log_percent
        if percent in (0, 100):
            return percent == 100
        who = identity.key if identity else network_of(question.attributes.client_ip)
        return picked(_SAMPLE, who, percent) if who else self._draw() * 100 < percent

    def offer(self, snapshot: Snapshot, question: Question, answer: Answer) -> None:
        """Queues a decision, or drops it. Never waits and never raises."""
        if len(self._waiting) >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES:
            self._count("dropped", 1)
            return
        now_us = self._clock.now_us()
        document = document_of(record_of(snapshot, question, answer, now_us))
        if len(document) > MAX_DOCUMENT_BYTES:
            self._count("dropped", 1)
            return
        self._waiting.append(LogEntry(snapshot.application_id, now_us, snapshot.revision, document))
        self._bytes += len(document)
        self._wake.set()

    async def run(self) -> None:
        """Stores what waits, for ever."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(INTERVAL_S)  # those that come meanwhile go along
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Returns once what waits now is stored, or lost where the store does not take it."""
        async with self._storing:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                self._bytes -= sum(len(entry.document) for entry in batch)
                self._count(await self._stored(batch), len(batch))

    async def _stored(self, batch: list[LogEntry]) -> str:
        try:
            await self._store.append(batch)
        except UsageFlowError as error:
            if not self._down:  # an outage is told once
                log.warning("the decision log cannot be written; decisions are lost", error=str(error))
            self._down = True
            return "failed"
        self._down = False
        return "written"

    def _count(self, outcome: str, number: int) -> None:
        self._tally[outcome] = self._tally.get(outcome, 0) + number
