"""Events that wait for delivery, and the reports that carry them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from usageflow.v1 import common_pb2 as common
from usageflow.v1 import usage_pb2

MAX_REPORT_BYTES: Final = 2 * 1024 * 1024
_SECOND_NS: Final = 1_000_000_000


class EventQueue:
    """A bounded queue. A batch stays in it until the service has answered, so the same ids go out again.

    Not safe for concurrent batches: one report is in flight at a time. Full, it refuses what is new, and counts it.
    """

    def __init__(
        self, *, max_events: int = 10_000, max_bytes: int = 32 * 1024 * 1024, batch: int = 500
    ) -> None:
        self._items: deque[tuple[usage_pb2.UsageEvent, int]] = deque()
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._full_batch = batch
        self._batch = batch
        self._bytes = 0
        self.dropped = 0
        """Events that found the queue full."""
        self.refused = 0
        """Events that the service will never accept."""
        self.reported = 0
        """Events that the service has stored."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def has_full_batch(self) -> bool:
        """True where waiting longer would not make a larger report."""
        return len(self._items) >= self._full_batch

    def add(self, event: usage_pb2.UsageEvent) -> None:
        """Adds an event, or counts it as dropped where there is no room."""
        size = event.ByteSize()
        if len(self._items) >= self._max_events or self._bytes + size > self._max_bytes:
            self.dropped += 1
            return
        self._items.append((event, size))
        self._bytes += size

    def batch(self) -> list[usage_pb2.UsageEvent]:
        """Returns the oldest events that fit one report; they stay in the queue."""
        events: list[usage_pb2.UsageEvent] = []
        total = 0
        for event, size in self._items:
            total += size
            if len(events) >= self._batch or (events and total > MAX_REPORT_BYTES):
                break
            events.append(event)
        return events

    def delivered(self, count: int, answer: usage_pb2.ReportResponse) -> list[common.ItemStatus]:
        """Takes the first `count` events out as answered; returns why some of them were refused.

        What could not be carried out now goes to the end of the queue; what will never be accepted is counted.
        """
        errors = {e.index: e.status for e in answer.errors if e.kind == usage_pb2.REPORT_ITEM_KIND_EVENT}
        refused: list[common.ItemStatus] = []
        for index, item in enumerate(self._pop(count)):
            status = errors.get(index)
            if status is None:
                self.reported += 1
            elif status.code in (common.ITEM_CODE_UNAVAILABLE, common.ITEM_CODE_DEADLINE_EXCEEDED):
                self._items.append(item)
                self._bytes += item[1]
            else:
                refused.append(status)
        self.refused += len(refused)
        self._batch = self._full_batch
        return refused

    def rejected(self, count: int) -> bool:
        """Notes that a report of `count` events is not acceptable as a whole.

        The next one holds half as many, until the culprit stands alone and is dropped; True says that it was.
        """
        if count > 1:
            self._batch = count // 2
            return False
        self._pop(1)
        self.refused += 1
        return True

    def halve(self, count: int) -> None:
        """Makes the next report half as large as one of `count` events, but never drops anything."""
        self._batch = max(count // 2, 1)

    def _pop(self, count: int) -> list[tuple[usage_pb2.UsageEvent, int]]:
        items = [self._items.popleft() for _ in range(min(count, len(self._items)))]
        self._bytes -= sum(size for _, size in items)
        return items


def build_report(
    events: Sequence[usage_pb2.UsageEvent], plan_version: int, sent_ns: int
) -> usage_pb2.ReportRequest:
    """Returns a report. `sent_ns` is nanoseconds since 1970 by this machine's clock."""
    uses_numbers = any(event.policy_number for event in events)
    report = usage_pb2.ReportRequest(plan_version=plan_version if uses_numbers else 0, events=events)
    report.sent_at.seconds, report.sent_at.nanos = divmod(sent_ns, _SECOND_NS)
    return report


def forget_numbers(events: Sequence[usage_pb2.UsageEvent]) -> None:
    """Clears policy numbers, for a service that does not know the plan they are from; it finds the policy itself."""
    for event in events:
        event.policy_number = 0
