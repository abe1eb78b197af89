"""Sends lines as events: in batches, each retried with the same ids, with bounded memory however long the file is."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from usageflow.cli.events import LineFault, parse_event
from usageflow.cli.rpc_errors import RpcFailure
from usageflow.domain.ids import uuid7
from usageflow.messages import timestamp_of
from usageflow.v1.usage_pb2 import (
    REPORT_ITEM_KIND_EVENT,
    ItemError,
    ReportRequest,
    ReportResponse,
    UsageEvent,
)

MAX_BATCH = 1000
MAX_BATCH_BYTES = 2 * 1024 * 1024
"""Half of what a gRPC server takes as one message."""

MAX_LINE_BYTES = 1024 * 1024
MAX_KEPT = 1000
"""Rejected lines that the JSON result lists; every one is counted and told."""

ATTEMPTS = 20
"""With the waits between them about half a minute: a restart of the service is waited out."""

_PASSING = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED"})
_FIRST_DELAY_S = 0.25
_USUAL_DELAY_S = 2.0
_LONGEST_DELAY_S = 30.0


class Line(NamedTuple):
    """A line of the file, numbered from 1; ``data`` is cut one byte above MAX_LINE_BYTES, ``size`` is whole."""

    number: int
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that was not accepted and never will be as it is."""

    line: int
    event_id: str
    reason: str
    field: str
    message: str
    fix: str

    def __str__(self) -> str:
        # The command's own sentences name the key already; the service's leave it to the field.
        name = "" if not self.field or f"'{self.field}'" in self.message else f"{self.field} "
        return f"line {self.line}: {self.reason}: {name}{self.message}; {self.fix}"


@dataclass(slots=True)
class Sums:
    """What became of the lines; ``errors`` holds the first MAX_KEPT of the rejected."""

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    errors: list[Rejected] = field(default_factory=list)


def lines_of(stream: BinaryIO) -> Iterator[Line]:
    """Yields the lines of a file that are not blank, holding one at a time."""
    number = 0
    while data := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        size = len(data)
        while len(data) > MAX_LINE_BYTES and not data.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES)
            size += len(rest)
            if not rest or rest.endswith(b"\n"):
                break
        if data.strip():
            yield Line(number, data, size)


class Reporter:
    """Collects events and sends them; ``send`` makes one call, ``tell`` hears of every rejected line at once."""

    def __init__(
        self, send: Callable[[ReportRequest], ReportResponse], *, tell: Callable[[Rejected], None]
    ) -> None:
        self.sums = Sums()
        self._send = send
        self._tell = tell
        self._events: list[UsageEvent] = []
        self._numbers: list[int] = []
        self._bytes = 0

    @property
    def first_waiting(self) -> int:
        """The number of the first line that is not known to be stored; 0 for none."""
        return self._numbers[0] if self._numbers else 0

    def add(self, line: Line) -> None:
        """Takes a line; sends a batch when one is full. Raises RpcFailure like flush."""
        now_us = time.time_ns() // 1000
        try:
            event = parse_event(_decoded(line), event_id=uuid7(now_us, os.urandom(10)), now_us=now_us)
        except LineFault as fault:
            self._reject(Rejected(line.number, "", fault.reason, fault.field, fault.message, fault.fix))
            return
        size = event.ByteSize()
        if len(self._events) == MAX_BATCH or self._bytes + size > MAX_BATCH_BYTES:
            self.flush()
        self._events.append(event)
        self._numbers.append(line.number)
        self._bytes += size

    def flush(self) -> None:
        """Sends what waits. Raises RpcFailure once the attempts are used up; what waits then still waits."""
        if not self._events:
            return
        response = self._delivered()
        self.sums.accepted += response.accepted
        self.sums.duplicates += response.duplicates
        for error in response.errors:
            if error.kind == REPORT_ITEM_KIND_EVENT and error.index < len(self._numbers):
                self._reject(self._refused(error))
        self._events, self._numbers, self._bytes = [], [], 0

    def _delivered(self) -> ReportResponse:
        """Sends the same events again after failures that pass: the ids keep them from being counted twice."""
        attempt = 1
        while True:
            sent_at = timestamp_of(time.time_ns() // 1000)
            try:
                return self._send(ReportRequest(events=self._events, sent_at=sent_at))
            except RpcFailure as failure:
                if failure.code not in _PASSING or attempt == ATTEMPTS:
                    raise
                time.sleep(_delay_s(attempt, failure.retry_after_s))
            attempt += 1

    def _refused(self, error: ItemError) -> Rejected:
        status = error.status
        event_id = error.id or self._events[error.index].event_id
        number = self._numbers[error.index]
        return Rejected(number, event_id, status.reason, status.field, status.message, status.fix)

    def _reject(self, rejected: Rejected) -> None:
        self.sums.rejected += 1
        if len(self.sums.errors) < MAX_KEPT:
            self.sums.errors.append(rejected)
        self._tell(rejected)


def _decoded(line: Line) -> str:
    if len(line.data) > MAX_LINE_BYTES:
        raise LineFault("the line is longer than 1 MiB", "shorten its metadata", reason="LINE_TOO_LONG")
    try:
        return line.data.decode("utf-8-sig" if line.number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise LineFault("the line is not UTF-8", "save the file as UTF-8", reason="INVALID_JSON") from error


def _delay_s(attempt: int, asked_s: float) -> float:
    """Returns seconds to wait: what the service asks for, or a doubling span of which chance takes up to half."""
    doubled = min(_FIRST_DELAY_S * (1 << attempt - 1), _USUAL_DELAY_S) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
    return min(max(asked_s, doubled), _LONGEST_DELAY_S)
