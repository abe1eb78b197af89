"""Group commit: reports that come in while a transaction runs share the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from usageflow.domain.clock import Clock
from usageflow.domain.errors import Fault, InvalidArgument, Overloaded, Unavailable
from usageflow.domain.usage import Outcome, UsageRecord
from usageflow.storage.ports import UsageStore

MAX_WAITING = 50_000
"""Records that may wait for a commit; more are refused, and the reporter keeps them."""

MAX_GROUP = 5_000
"""Records per transaction, give or take one call."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Submission:
    application_id: str
    records: Sequence[UsageRecord]
    done: asyncio.Future[Sequence[Outcome | Fault]]


class Ingest:
    """The queue in front of the usage store; run() is its one worker. ``commits`` were made, in ``commit_s`` seconds altogether;
    ``unmetered`` requests were stored whose metering expression came to nothing.
    """

    def __init__(self, store: UsageStore, clock: Clock) -> None:
        """``clock`` measures commits."""
        self._store = store
        self._clock = clock
        self.commits = 0
        self.commit_s = 0.0
        self.unmetered = 0
        self._queue: deque[_Submission] = deque()
        self._waiting = 0
        self._wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Returns how many records wait for a commit."""
        return self._waiting

    async def submit(self, application_id: str, records: Sequence[UsageRecord]) -> Sequence[Outcome | Fault]:
        """Returns an outcome per record once they are durable, the fault of each that the database itself refused.

        Raises Overloaded where nothing was stored, and Unavailable where some may be: what is sent again counts once.
        """
        if not records:
            return []
        if self._waiting + len(records) > MAX_WAITING:
            raise Overloaded(f"{self._waiting} reports wait to be stored already; send these again later")
        submission = _Submission(application_id, records, asyncio.get_running_loop().create_future())
        self._waiting += len(records)
        self._queue.append(submission)
        self._wake.set()
        outcomes = await submission.done
        self.unmetered += sum(
            len(record.failures)
            for record, outcome in zip(records, outcomes, strict=True)
            if outcome is Outcome.ACCEPTED
        )
        return outcomes

    async def run(self) -> None:
        """Commits group after group, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                began_us = self._clock.now_us()
                await self._commit(self._next_group())
                self.commits += 1
                self.commit_s += (self._clock.now_us() - began_us) / 1e6

    def _next_group(self) -> list[_Submission]:
        group: list[_Submission] = []
        size = 0
        while self._queue and (not group or size + len(self._queue[0].records) <= MAX_GROUP):
            group.append(self._queue.popleft())
            size += len(group[-1].records)
        self._waiting -= size
        return group

    async def _commit(self, group: Sequence[_Submission]) -> None:
        try:
            outcomes = await self._store.ingest([(item.application_id, item.records) for item in group])
        except Unavailable as error:
            _fail(group, error)
        except Exception as error:  # noqa: BLE001 - whatever the database refuses, the other reports must not sink
            await self._bisect(group, error)
        else:
            for item, result in zip(group, outcomes, strict=True):
                if not item.done.done():
                    item.done.set_result(result)

    async def _bisect(self, group: Sequence[_Submission], error: Exception) -> None:
        """Commits halves: what the database itself refuses must not sink what came beside it, in other calls or in its own."""
        if len(group) > 1:
            middle = len(group) // 2
            await self._commit(group[:middle])
            await self._commit(group[middle:])
        elif isinstance(error, InvalidArgument):
            await self._commit_records(group[0], error)
        else:
            log.error("a report cannot be stored", records=len(group[0].records), exc_info=error)
            _fail(group, error)

    async def _commit_records(self, item: _Submission, error: InvalidArgument) -> None:
        try:
            outcomes = await self._halves(item.application_id, item.records, error)
        except Exception as other:  # noqa: BLE001 - the caller is told, and the worker lives on
            _fail([item], other)
            return
        if not item.done.done():
            item.done.set_result(outcomes)

    async def _halves(
        self, application_id: str, records: Sequence[UsageRecord], error: InvalidArgument
    ) -> list[Outcome | Fault]:
        """Returns the outcomes of records that cannot all be stored."""
        if len(records) == 1:
            log.error("a record cannot be stored", record=records[0].record_id, exc_info=error)
            return [error.faults[0]]
        middle = len(records) // 2
        outcomes: list[Outcome | Fault] = []
        for half in (records[:middle], records[middle:]):
            try:
                (stored,) = await self._store.ingest([(application_id, half)])
                outcomes += stored
            except InvalidArgument as refusal:
                outcomes += await self._halves(application_id, half, refusal)
        return outcomes


def _fail(group: Sequence[_Submission], error: Exception) -> None:
    for item in group:
        if not item.done.done():
            item.done.set_exception(error)
