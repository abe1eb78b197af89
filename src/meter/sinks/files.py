"""Billed units as lines of a file: JSON or CSV, one per part, each exactly once whatever is killed."""

from __future__ import annotations

import asyncio
import csv
import fcntl
import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from meter.sinks.plain import PlainSink, document_of
from usageflow.domain.billing import Method, Outcome, Part, Result

_DAYS = 3
"""Files that may hold a part which is sent again: an attempt is repeated for 23 hours at most."""


class FileSink(PlainSink):
    """Appends to ``NAME-YYYY-MM-DD.jsonl`` (or .csv), a file per UTC day. Several processes may append to one folder."""

    def __init__(self, path: Path) -> None:
        super().__init__("file", Method.FILE_LINE, str(path))
        self._path = path
        self._lock = asyncio.Lock()

    async def send(self, part: Part, *, now_us: int) -> Outcome:
        """See Sink."""
        async with self._lock:
            try:
                await asyncio.to_thread(self._append, part, now_us // 1_000_000)
            except OSError as error:
                return Outcome(Result.AGAIN, f"cannot write {self._path.parent}: {error.strerror}", wait_s=10)
        return Outcome(Result.TAKEN)

    def _append(self, part: Part, now_s: int) -> None:
        """Writes a line, unless one of these days has it."""
        today = datetime.fromtimestamp(now_s, UTC)
        path = self._of_day(today)
        path.parent.mkdir(parents=True, exist_ok=True)
        known = part.identifier.encode()
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # another process may be at it
            older = (self._of_day(today - timedelta(days=day)) for day in range(1, _DAYS))
            if part.attempts > 1 and any(known in each.read_bytes() for each in older if each.exists()):
                return
            whole = _whole_length(file)
            file.seek(0)
            if part.attempts > 1 and known in file.read(whole):
                return
            file.truncate(whole)  # what a kill left behind of a line
            head = self._head() if not whole else b""
            file.write(head + self._line(part))
            file.flush()
            os.fsync(file.fileno())

    def _of_day(self, day: datetime) -> Path:
        return self._path.with_name(f"{self._path.stem}-{day:%Y-%m-%d}{self._path.suffix}")

    def _head(self) -> bytes:
        return b"" if self._path.suffix != ".csv" else _csv_line(_FIELDS)

    def _line(self, part: Part) -> bytes:
        document = document_of(part)
        if self._path.suffix == ".csv":
            return _csv_line([str(document[name]) for name in _FIELDS])
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


_FIELDS = [
    "identifier",
    "customer",
    "price",
    "trigger",
    "event_name",
    "window_start",
    "window_end",
    "kind",
    "requests",
    "units",
]


def _csv_line(values: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _whole_length(file: io.BufferedRandom) -> int:
    """Returns how many bytes of a file are whole lines."""
    file.seek(0)
    return file.read().rfind(b"\n") + 1
