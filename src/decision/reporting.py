"""The use-case behind Report: check each item, settle reservations, store the good ones, say what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from decision.engine import Engine
from decision.guarding import StoreFailed
from decision.ingest import Ingest
from decision.plan import Plan
from decision.records import Desk, clock_offset, record_of_batch, record_of_event
from decision.reported import Report
from decision.snapshots import SnapshotRegistry
from usageflow.domain.clock import Clock
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.usage import Outcome, UsageRecord

_SLICE = 8
"""Items per turn of the event loop, about a millisecond: a report never delays a check."""

MAX_EVENTS = 10_000
MAX_BATCHES = 100
MAX_COUNTS = 10_000

T = TypeVar("T")


class ItemKind(StrEnum):
    """Which list of a report an item stands in."""

    EVENT = "EVENT"
    BATCH = "BATCH"
    SETTLEMENT = "SETTLEMENT"


@dataclass(frozen=True, slots=True)
class ItemFault:
    """An item that was not carried out."""

    kind: ItemKind
    index: int
    item_id: str
    fault: Fault


@dataclass(slots=True)
class ReportResult:
    """What became of a report; every event and batch is counted in exactly one of the three."""

    accepted: int = 0
    duplicates: int = 0
    faults: list[ItemFault] = field(default_factory=list)


class Reporting:
    """Accounts for reported usage."""

    def __init__(
        self,
        snapshots: SnapshotRegistry,
        engine: Engine,
        ingest: Ingest,
        clock: Clock,
        boundaries: Sequence[int],
    ) -> None:
        self._snapshots = snapshots
        self._engine = engine
        self._ingest = ingest
        self._clock = clock
        self._boundaries = boundaries

    async def report(self, plan: Plan, report: Report) -> ReportResult:
        """Returns once everything new is durable. Raises InvalidArgument for lists that are too long, Overloaded and
        Unavailable where nothing was stored; settlements are carried out even then.
        """
        _check_sizes(report)
        result = ReportResult()
        await self._settle(report.settlements, result)
        desk = await self._desk(plan, report)
        events = await _records(
            ItemKind.EVENT, report.events, _event_id, lambda item: record_of_event(item, desk), result
        )
        batches = await _records(
            ItemKind.BATCH, report.batches, _batch_id, lambda item: record_of_batch(item, desk), result
        )
        good = [*events, *batches]
        outcomes = await self._ingest.submit(plan.snapshot.application_id, [record for _, _, record in good])
        for (kind, index, record), outcome in zip(good, outcomes, strict=True):
            _count(result, kind, index, record, outcome)
        result.faults.sort(key=lambda item: (item.kind, item.index))
        return result

    async def _settle(self, settlements: Sequence[tuple[str, int]], result: ReportResult) -> None:
        for index, (reservation_id, actual) in enumerate(settlements):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)  # refused at once while the counters are silent: no other pause then
            fault = await self._settle_one(reservation_id, actual)
            if fault is not None:
                result.faults.append(ItemFault(ItemKind.SETTLEMENT, index, reservation_id, fault))

    async def _settle_one(self, reservation_id: str, actual: int) -> Fault | None:
        if actual < 0:
            return Fault("actual", f"{actual} is negative", "send the units really used, 0 or more")
        try:
            if await self._engine.settle(reservation_id, actual):
                return None
        except StoreFailed as failure:
            message = f"the counters did not answer ({failure.reason})"
            fix = "settle it again, with the same id: it counts once"
            return Fault("reservation_id", message, fix, "UNAVAILABLE")
        message = "there is no such reservation (any more)"
        return Fault("reservation_id", message, "settle within its hold", "NOT_FOUND")

    async def _desk(self, plan: Plan, report: Report) -> Desk:
        now_us = self._clock.now_us()
        current = plan.snapshot
        revisions = {
            revision: await self._snapshots.at(current, revision)
            for revision in report.revisions
            if 0 < revision < current.revision
        }
        return Desk(plan, now_us, clock_offset(now_us, report.sent_at_us), revisions, self._boundaries)


def _check_sizes(report: Report) -> None:
    for name, size, most in (
        ("events", len(report.events), MAX_EVENTS),
        ("batches", len(report.batches), MAX_BATCHES),
        ("batches.counts", max((len(batch.counts) for batch in report.batches), default=0), MAX_COUNTS),
        ("settlements", len(report.settlements), MAX_EVENTS),
    ):
        if size > most:
            raise InvalidArgument.of(name, f"has {size} items", f"send at most {most} in one call")


def _event_id(item: object) -> str:
    return str(getattr(item, "event_id", ""))


def _batch_id(item: object) -> str:
    return str(getattr(item, "batch_id", ""))


async def _records(
    kind: ItemKind,
    items: Iterable[T],
    id_of: Callable[[T], str],
    record_of: Callable[[T], UsageRecord],
    result: ReportResult,
) -> list[tuple[ItemKind, int, UsageRecord]]:
    """Returns (kind, index, record) of the good items; the others become faults."""
    good = []
    for index, item in enumerate(items):
        if index % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        try:
            good.append((kind, index, record_of(item)))
        except InvalidArgument as error:
            result.faults.append(ItemFault(kind, index, id_of(item), error.faults[0]))
    return good


def _count(result: ReportResult, kind: ItemKind, index: int, record: UsageRecord, outcome: Outcome) -> None:
    if outcome is Outcome.ACCEPTED:
        result.accepted += 1
    elif outcome is Outcome.DUPLICATE:
        result.duplicates += 1
    else:
        field_name = "event_id" if kind is ItemKind.EVENT else "batch_id"
        fault = Fault(
            field_name, "came before with another payload", "give each report its own id", "ID_REUSED"
        )
        result.faults.append(ItemFault(kind, index, record.record_id, fault))
