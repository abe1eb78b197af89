"""The queue in front of the decision log: bounded, and no answer waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from decision import decision_log as module
from decision.decision_log import DecisionLogger
from decision.questions import HttpRequest, Terms, question_by_name
from tests.unit.fakes import snapshot
from usageflow.domain.clock import ManualClock
from usageflow.domain.decision_log import LogEntry
from usageflow.domain.decisions import Answer, Question, Reason
from usageflow.domain.errors import Unavailable
from usageflow.domain.identity import Identity
from usageflow.storage.decision_log import Position

ANSWER = Answer(allowed=True, reason=Reason.NO_POLICY, revision=7)


class Log:
    """A DecisionLog that may be down."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.down = False

    async def append(self, entries: Sequence[LogEntry]) -> None:
        if self.down:
            raise Unavailable("the database is down")
        self.entries += entries

    async def read(
        self, application_id: str, *, since_us: int, until_us: int, after: Position, limit: int
    ) -> Sequence[tuple[Position, LogEntry]]:
        return []

    async def purge(self, *, now_us: int) -> int:
        return 0


class Desk:
    def __init__(self, percent: int = 100, draws: Sequence[float] = ()) -> None:
        self.log, self.tally = Log(), dict[str, int]()
        self.snapshot = replace(snapshot(), decision_log_percent=percent)
        self.logger = DecisionLogger(self.log, ManualClock(9), self.tally, iter(draws).__next__)

    def question(self, client_ip: str = "", path: str = "/a") -> Question:
        return question_by_name(self.snapshot, HttpRequest("GET", path, client_ip=client_ip), Terms())

    def offer(self, times: int = 1, path: str = "/a") -> None:
        for _ in range(times):
            self.logger.offer(self.snapshot, self.question(path=path), ANSWER)


async def test_what_waits_is_stored_at_once() -> None:
    desk = Desk()
    desk.offer(1_500)
    await desk.logger.flush()
    assert len(desk.log.entries) == 1_500
    assert (desk.log.entries[0].at_us, desk.log.entries[0].revision) == (9, 7)
    assert desk.tally == {"written": 1_500}


async def test_a_full_queue_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    desk = Desk()
    desk.offer(5)
    await desk.logger.flush()
    assert desk.tally == {"dropped": 2, "written": 3}
    desk.offer()
    await desk.logger.flush()
    assert desk.tally["written"] == 4


async def test_a_queue_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 200)
    monkeypatch.setattr(module, "MAX_DOCUMENT_BYTES", 1_000)
    desk = Desk()
    desk.offer(path="/" + "a" * 2_000)
    desk.offer(3, path="/" + "a" * 300)
    assert desk.tally == {"dropped": 3}


async def test_a_database_that_is_down_loses_decisions_and_no_memory() -> None:
    desk = Desk()
    desk.log.down = True
    desk.offer(7)
    await desk.logger.flush()
    desk.log.down = False
    desk.offer(2)
    await desk.logger.flush()
    assert desk.tally == {"failed": 7, "written": 2}


def test_a_share_of_callers_is_picked_by_who_they_are() -> None:
    desk = Desk(30)
    picked = [
        desk.logger.wants(desk.snapshot, desk.question(), Identity(f"v:{number}", "header X-User"))
        for number in range(1_000)
    ]
    again = [
        desk.logger.wants(desk.snapshot, desk.question(), Identity(f"v:{number}", "header X-User"))
        for number in range(1_000)
    ]
    assert picked == again
    assert 250 < sum(picked) < 350
    by_address = [desk.logger.wants(desk.snapshot, desk.question(f"203.0.113.{n}"), None) for n in range(200)]
    assert 30 < sum(by_address) < 90


def test_callers_that_nobody_knows_are_drawn() -> None:
    desk = Desk(30, draws=[0.29, 0.31])
    assert desk.logger.wants(desk.snapshot, desk.question(), None)
    assert not desk.logger.wants(desk.snapshot, desk.question(), None)


@pytest.mark.parametrize(("percent", "wanted"), [(0, False), (100, True)])
def test_none_and_all_need_no_luck(percent: int, wanted: bool) -> None:
    desk = Desk(percent)
    assert desk.logger.wants(desk.snapshot, desk.question(), None) is wanted
