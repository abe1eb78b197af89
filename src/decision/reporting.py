"""The use-case behind Report: check each item, settle reservations, store the good ones, say what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from decision.amending import ItemFault, ItemKind, amend
from decision.engine import Engine
from decision.ingest import Ingest
from decision.plan import Plan
from decision.records import Desk, clock_offset, record_of_batch, record_of_event
from decision.reported import Report
from decision.snapshots import SnapshotRegistry
from usageflow.domain.clock import Clock
from usageflow.domain.errors import FailedPrecondition, Fault, InvalidArgument
from usageflow.domain.usage import Outcome, UsageRecord

_SLICE = 8
"""Items per turn of the event loop, about a millisecond: a report never delays a check."""

MAX_EVENTS = 10_000
MAX_BATCHES = 100
MAX_COUNTS = 10_000

T = TypeVar("T")


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
        ingest: Ingest | None,
        clock: Clock,
        boundaries: Sequence[int],
    ) -> None:
        """``ingest`` None: there is no usage store here, and reports with usage are refused."""
        self._snapshots = snapshots
        self._engine = engine
        self._ingest = ingest
        self._clock = clock
        self._boundaries = boundaries
        # One report is read at a time: of many at once each turn of the event loop would take a slice of every one.
        self._reading = asyncio.Lock()

    async def report(self, plan: Plan, report: Report) -> ReportResult:
        """Returns once everything new is durable. Raises InvalidArgument for lists that are too long, Overloaded and
        Unavailable where nothing was stored, FailedPrecondition (NO_USAGE_STORE) where nothing ever is; settlements are
        carried out even then.
        """
        _check_sizes(report)
        result = ReportResult()
        result.faults += await amend(self._engine, plan.snapshot.application_id, report.amendments)
        if self._ingest is None:
            _ensure_no_usage(report)
            return result
        desk = await self._desk(plan, report)
        async with self._reading:
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
        ("settlements", len(report.amendments), MAX_EVENTS),
    ):
        if size > most:
            raise InvalidArgument.of(name, f"has {size} items", f"send at most {most} in one call")


def _ensure_no_usage(report: Report) -> None:
    if report.events or report.batches:
        message = (
            "this edge replica has no database to keep usage in: send reports to a service with a database"
        )
        raise FailedPrecondition(message, reason="NO_USAGE_STORE")


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


def _count(
    result: ReportResult, kind: ItemKind, index: int, record: UsageRecord, outcome: Outcome | Fault
) -> None:
    if isinstance(outcome, Fault):
        result.faults.append(ItemFault(kind, index, record.record_id, outcome))
    elif outcome is Outcome.ACCEPTED:
        result.accepted += 1
    elif outcome is Outcome.DUPLICATE:
        result.duplicates += 1
    else:
        field_name = "event_id" if kind is ItemKind.EVENT else "batch_id"
        fault = Fault(
            field_name, "came before with another payload", "give each report its own id", "ID_REUSED"
        )
        result.faults.append(ItemFault(kind, index, record.record_id, fault))
