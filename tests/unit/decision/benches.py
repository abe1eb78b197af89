"""An engine for tests, and how its answers are read."""

from __future__ import annotations

from itertools import count
from typing import Any

from decision.engine import Engine
from decision.questions import HttpRequest, Terms, question_by_name
from tests.unit.fakes import SilentStore, resilient
from usageflow.domain.clock import ManualClock
from usageflow.domain.decisions import Answer
from usageflow.domain.policies import Mode
from usageflow.domain.snapshot import Snapshot
from usageflow.storage.memory import MemoryCounterStore

HOUR = 3_600_000_000
SHADOW, DISABLED = Mode.SHADOW, Mode.DISABLED
USER: dict[str, Any] = {"strategy": "by-user"}


class Bench:
    """An engine over counters in memory that can be told to fail."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = SilentStore(self.clock)
        self.local = MemoryCounterStore(self.clock)
        ids = count(1)
        self.engine = Engine(resilient(self.store), self.local, self.clock, lambda: f"r{next(ids)}")

    async def ask(self, state: Snapshot, *requests: HttpRequest, terms: Terms = Terms()) -> list[Answer]:  # noqa: B008
        return await self.engine.decide(state, [question_by_name(state, item, terms) for item in requests])

    async def one(self, state: Snapshot, item: HttpRequest, terms: Terms = Terms()) -> Answer:  # noqa: B008
        (answer,) = await self.ask(state, item, terms=terms)
        return answer


def left(answer: Answer) -> dict[str, int]:
    return {outcome.limit.policy: outcome.standing.remaining for outcome in answer.limits}


def names(answer: Answer) -> list[str]:
    return [item.name for item in answer.policies]
