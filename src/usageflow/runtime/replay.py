"""Decides logged requests again by another revision, in their order and at their times, and tells what would have changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from decision.replaying import question_of, undecidable
from usageflow.domain.decision_log import LoggedDecision
from usageflow.domain.decisions import Answer, Question
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.snapshot import Snapshot
from usageflow.runtime.rehearsal import Rehearsal

BLOCK = "(block)"
"""Stands for the policy where a block decided."""


class Group(NamedTuple):
    """What changed decisions are summed by."""

    policy: str
    endpoint: str
    identity: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A request that would be decided otherwise: by what, why, and when it was made."""

    group: Group
    reason: str
    at_us: int


@dataclass
class Replayed:
    """What came of a replay; requests are in order of time."""

    requests: int = 0
    decided: int = 0
    newly_denied: list[Changed] = field(default_factory=list)
    newly_allowed: list[Changed] = field(default_factory=list)
    undecidable: Counter[str] = field(default_factory=Counter)
    percent: int = 100
    """The least share of callers that was logged."""
    leased: int = 0
    """Requests that clients let pass by tokens which they had paid for ahead: the log does not hold them."""


class Replay:
    """A replay through one snapshot; counters begin empty. Needs a running event loop."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._rehearsal = Rehearsal(snapshot, 0)
        self.replayed = Replayed()

    async def decide(self, logged: LoggedDecision) -> None:
        """Decides the next request, whose time is not before that of the last one."""
        told = self.replayed
        told.requests += 1
        told.percent = min(told.percent, logged.percent)
        told.leased += logged.leased
        question = self._question(logged)
        if isinstance(question, str):
            told.undecidable[question] += 1
            return
        told.decided += 1
        answer = await self._rehearsal.decide(question, logged.at_us)
        if logged.allowed and not answer.allowed:
            told.newly_denied.append(_denied(answer, logged))
        elif answer.allowed and not logged.allowed:
            told.newly_allowed.append(_allowed(logged))

    def _question(self, logged: LoggedDecision) -> Question | str:
        """Returns what a logged request asks of the revision, or why it cannot tell."""
        try:
            question = question_of(self._snapshot, logged)
            return undecidable(self._snapshot, question, logged) or question
        except InvalidArgument as error:
            return f"the request cannot be read: {error.faults[0].message}"


def _denied(answer: Answer, logged: LoggedDecision) -> Changed:
    policy = answer.decided_by.name if answer.decided_by else BLOCK
    identity = answer.identity.title if answer.identity else logged.identity
    return Changed(Group(policy, _endpoint(logged), identity), str(answer.reason), logged.at_us)


def _allowed(logged: LoggedDecision) -> Changed:
    group = Group(logged.decided_by or BLOCK, _endpoint(logged), logged.identity)
    return Changed(group, logged.reason, logged.at_us)


def _endpoint(logged: LoggedDecision) -> str:
    return f"{logged.endpoint.method} {logged.endpoint.template}"
