"""Outages of Redis under load: the service, the policies, the traffic before, during and after, and what was seen of it."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.open_loop import OpenLoop, Seen
from tools.processes import ProcessFailed, Service

OPEN, CLOSED, LOCAL = "/open", "/closed", "/local"
FREE, BLOCKED = "/free", "/blocked"
COUNTED, UNCOUNTED = (OPEN, CLOSED, LOCAL), (FREE, BLOCKED)

QUOTA = 1_000_000
"""Requests in a month on OPEN: it is never used up here, and its state tells what was counted."""

WARM_UP_S = 1.0
"""Not looked at: a process that has just started is slower."""

_SWITCHING_S = 30.0
"""The most that beginning and ending an outage takes."""

_SAMPLE_S = 0.1


@dataclass(frozen=True, slots=True)
class Load:
    """How much is sent, for how long before, during and after an outage; each path gets a fifth."""

    rate: int = 500
    before_s: float = 4
    during_s: float = 5
    after_s: float = 5
    deadline_ms: int = 50

    @property
    def seconds(self) -> float:
        """Returns the most that it is sent for, altogether."""
        return WARM_UP_S + self.before_s + self.during_s + self.after_s + _SWITCHING_S

    @property
    def local_rate(self) -> int:
        """Returns the limit on LOCAL, in requests a second: half of what is sent there."""
        return max(1, self.rate // 10)


def policies(load: Load) -> str:
    """Returns a policy file with each fail mode, a policy that counts nothing and a block."""
    return f"""
version: 1
application: demo
strategies:
  - {{name: by-user, sources: [{{in: header, name: X-User-Id}}]}}
policies:
  - name: open
    match: {{path: {OPEN}}}
    strategy: by-user
    limits: [{{limit: {QUOTA}, align: month}}]
    fail_mode: OPEN
  - name: closed
    match: {{path: {CLOSED}}}
    strategy: by-user
    limits: [{{limit: {QUOTA}, window: 1h}}]
    fail_mode: CLOSED
  - name: local
    match: {{path: {LOCAL}}}
    limits: [{{limit: {load.local_rate}, window: 1s, algorithm: TOKEN_BUCKET, scope: SHARED}}]
    fail_mode: LOCAL
  - {{name: free, match: {{path: {FREE}}}, strategy: by-user}}
blocks:
  - {{path: {BLOCKED}, reason: closed for all}}
"""


@contextmanager
def serving(data: Path, redis_url: str, load: Load) -> Iterator[Service]:
    """Serves these policies with counters in a Redis, which need not be there."""
    service = Service(data)
    service.environment["USAGEFLOW_REDIS_URL"] = redis_url
    with service:
        service.wait_ready()
        applied = service.command("apply", "-f", "-", stdin=policies(load))
        if applied.returncode:
            raise ProcessFailed(applied.stderr)
        yield service


def traffic(service: Service, load: Load, out: Path) -> OpenLoop:
    """Returns what sends the load, not started yet."""
    paths = (*COUNTED, *UNCOUNTED)
    return OpenLoop(
        service.wait_ready(),
        service.credentials["api_key"],
        paths,
        out,
        rate=load.rate,
        seconds=load.seconds,
        deadline_ms=load.deadline_ms,
    )


@dataclass(frozen=True, slots=True)
class Outage:
    """What was seen of one: checks in the order of sending, when it began, when its mending began and ended (monotonic seconds),
    and how much the service's memory grew meanwhile.
    """

    seen: list[Seen]
    began_s: float
    mending_s: float
    ended_s: float
    grown_mib: float

    def before(self) -> list[Seen]:
        """Returns the checks that were answered before it began."""
        return [one for one in self.seen if one.answered_s < self.began_s]

    def during(self) -> list[Seen]:
        """Returns the checks that were sent after its beginning and answered before its mending."""
        return [one for one in self.seen if one.sent_s >= self.began_s and one.answered_s < self.mending_s]

    def after(self, settled_s: float = 0.0) -> list[Seen]:
        """Returns the checks that were sent ``settled_s`` after its end or later."""
        return [one for one in self.seen if one.sent_s >= self.ended_s + settled_s]

    def recovery_s(self) -> float:
        """Returns the seconds from its end until every path that counts was decided normally again; infinite where one was not."""
        return max(self._first_normal_s(path) for path in COUNTED) - self.ended_s

    def _first_normal_s(self, path: str) -> float:
        normal = (one.answered_s for one in self.after() if one.path == path and is_normal(one))
        return min(normal, default=math.inf)


def is_normal(one: Seen) -> bool:
    """Tells a decision that the counters made."""
    return one.status == "OK" and not one.degraded


def outage(
    service: Service, load: Load, out: Path, begin: Callable[[], None], end: Callable[[], None]
) -> Outage:
    """Sends the load; ``begin`` breaks Redis, ``end`` mends it and returns once it answers again."""
    with traffic(service, load, out) as sending:
        sending.wait_sending()
        time.sleep(WARM_UP_S)
        warm_s = time.monotonic()
        time.sleep(load.before_s)
        with Memory(service.pid) as memory:
            began_s = time.monotonic()
            begin()
            broken_s = time.monotonic()
            time.sleep(load.during_s)
            mending_s = time.monotonic()
            end()
            ended_s = time.monotonic()
        time.sleep(load.after_s)
        seen = [one for one in sending.seen(early=True) if one.sent_s >= warm_s]
    return Outage(_unmoved(seen, began_s, broken_s), broken_s, mending_s, ended_s, memory.grown_mib)


def _unmoved(seen: list[Seen], began_s: float, broken_s: float) -> list[Seen]:
    """Returns the checks without those that were under way while Redis was being broken: they may be either."""
    return [one for one in seen if one.answered_s < began_s or one.sent_s >= broken_s]


class Memory:
    """Watches the resident memory of a process for the length of a ``with`` block."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._stop = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._first = self._most = self._now_mib()
        self._watching.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._watching.join()

    @property
    def grown_mib(self) -> float:
        """Returns how far it rose above where it began."""
        return self._most - self._first

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            self._most = max(self._most, self._now_mib())

    def _now_mib(self) -> float:
        found = re.search(r"^VmRSS:\s+(\d+) kB", self._status.read_text(), re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0
