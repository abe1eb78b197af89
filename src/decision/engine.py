"""Decides: one store call for all requests of a batch, each taken on its own, and a fail mode where the store is silent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from decision.dating import Dating
from decision.decision_log import DecisionLogger
from decision.guarding import shown
from decision.judgement import Pending, conclude, failed, outcomes_of, prepare
from decision.memo import Ready
from decision.resilience import STORE_DEADLINE_S, ResilientStore, StoreFailed
from decision.tokens import TokenReader
from usageflow.domain.clock import Clock
from usageflow.domain.decisions import (
    Answer,
    Degraded,
    DegradedReason,
    LimitOutcome,
    Question,
)
from usageflow.domain.limits import Rule, Standing
from usageflow.domain.policies import Algorithm, FailMode
from usageflow.domain.snapshot import Snapshot
from usageflow.domain.tokens import valid_for_us
from usageflow.storage.counters import (
    MAX_TAKES,
    Amendment,
    CounterStore,
    LeaseAsk,
    LeaseReturn,
    Release,
    Renewal,
    Reserve,
    Settlement,
    Take,
    Taken,
)

T = TypeVar("T")

_ANSWER_MARGIN_S = 0.010
"""Kept back from the caller's deadline, so that a degraded answer still arrives."""


Outcome = Answer | Taken
"""An answer, or what the counters say to a plain decision, from which the answer follows."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What would be decided: the answer, and the same limits as they stand before; the question with claims in the place
    of tokens, and when it was asked.
    """

    answer: Answer
    before: tuple[int, ...]
    question: Question
    now_us: int


class Engine:
    """Decisions over one counter store. ``local`` holds the buckets of fail mode LOCAL; ``new_id`` makes reservation ids.

    Without ``tokens`` every token counts as missing; without ``decision_log`` nothing is logged.
    """

    def __init__(
        self,
        store: ResilientStore,
        local: CounterStore,
        clock: Clock,
        new_id: Callable[[], str],
        tokens: TokenReader | None = None,
        decision_log: DecisionLogger | None = None,
    ) -> None:
        self._decision_log = decision_log
        self._tokens = tokens
        self._store = store
        self._local = local
        self._clock = clock
        self._new_id = new_id
        self._dating = Dating(clock)

    async def decide(
        self, snapshot: Snapshot, questions: Sequence[Question], time_left_s: float | None = None
    ) -> list[Answer]:
        """Returns an answer per question, in order. ``time_left_s`` is the caller's, None without a deadline."""
        readies = [self.ready(snapshot, question) for question in questions]
        outcomes = await self.ask(readies, time_left_s)
        return [self.answer(ready, outcome) for ready, outcome in zip(readies, outcomes, strict=True)]

    def ready(self, snapshot: Snapshot, question: Question) -> Ready:
        """Returns a question as far as it can be decided without counters."""
        verified = self._verified(snapshot, question)
        prepared = prepare(snapshot, verified, now_us=self._clock.now_us())
        # What a token or an override says is true until it expires, so it is read again.
        ready = Ready(prepared, lasting=verified is question and _lasts(prepared))
        if (
            snapshot.decision_log_percent
            and self._decision_log is not None
            and self._decision_log.wants(snapshot, verified, ready.base.identity)
        ):
            ready.logged = (snapshot, verified)
        return ready

    async def ask(self, readies: Sequence[Ready], time_left_s: float | None = None) -> list[Outcome]:
        """Returns what the counters say to each, in one call of the store, or the answer where they have no say."""
        asked = [self._made(ready.prepared) for ready in readies if isinstance(ready.prepared, Pending)]
        said = iter(await self._said(asked, _timeout_s(time_left_s)) if asked else ())
        outcomes = [ready.prepared if isinstance(ready.prepared, Answer) else next(said) for ready in readies]
        if self._decision_log is not None:
            self._log(self._decision_log, readies, outcomes)
        return outcomes

    def _log(
        self, decision_log: DecisionLogger, readies: Sequence[Ready], outcomes: Sequence[Outcome]
    ) -> None:
        for ready, outcome in zip(readies, outcomes, strict=True):
            if ready.logged is not None:
                decision_log.offer(*ready.logged, self.answer(ready, outcome))

    async def _said(self, asked: Sequence[Pending], timeout_s: float) -> list[Outcome]:
        try:
            taken = await self._store.take([item.take for item in asked], timeout_s)
        except StoreFailed as failure:
            return [await self._degraded(item, failure.degraded) for item in asked]
        now_us = self._clock.now_us()
        return [
            one if item.plain else conclude(item, one, now_us) for item, one in zip(asked, taken, strict=True)
        ]

    def answer(self, ready: Ready, outcome: Outcome) -> Answer:
        """Returns the whole answer that an outcome of ask means."""
        if isinstance(outcome, Answer):
            return outcome
        return conclude(ready.pending, outcome, self._clock.now_us())

    def _made(self, pending: Pending) -> Pending:
        """Returns the decision with what its take needs just now: dates, and ids that nobody else has."""
        if pending.plain:
            return pending
        take = self._dating.dated(pending.take)
        mine = f"{pending.application_id}|"
        if pending.hold_us:
            take = take._replace(
                reserve=Reserve(mine + self._new_id(), pending.hold_us, pending.refund_on_expiry)
            )
        if pending.lease_life_us:
            lease_id = mine + self._new_id().replace("-", "")
            take = take._replace(lease=LeaseAsk(lease_id, pending.lease_tokens, pending.lease_life_us))
        if pending.takes_slots:
            take = take._replace(slot_id=mine + self._new_id().replace("-", ""))
        return replace(pending, take=take)

    def _verified(self, snapshot: Snapshot, question: Question) -> Question:
        """Returns the question with claims in the place of tokens."""
        if self._tokens is None:
            return question
        read = self._tokens.read(snapshot, question.attributes)
        if read is question.attributes:
            return question
        now_us = self._clock.now_us()
        lives = (valid_for_us(claims, now_us) for claims in read.claims.values())
        life_us = min([question.lease_life_us, *(each for each in lives if each is not None)])
        return replace(question, attributes=read, lease_life_us=life_us)

    async def _degraded(self, pending: Pending, reason: DegradedReason) -> Answer:
        if not pending.limits:
            return pending.base  # only shadows had a question for the counters
        degraded = Degraded(reason, pending.fail_mode)
        if degraded.fail_mode is not FailMode.LOCAL:
            return failed(pending, degraded)
        local = replace(pending, take=_local_take(pending.take))
        (taken,) = await self._local.take([local.take])
        return replace(conclude(local, taken, self._clock.now_us()), degraded=degraded)

    async def explain(self, snapshot: Snapshot, question: Question) -> Explained:
        """Returns what decide would answer, and takes nothing. Raises Unavailable where the store is silent."""
        question, now_us = self._verified(snapshot, question), self._clock.now_us()
        pending = prepare(snapshot, question, now_us=now_us)
        if isinstance(pending, Answer):
            return Explained(pending, (), question, now_us)
        (seen,) = await self._store.peek([self._dating.dated(pending.take)], STORE_DEADLINE_S)
        seen_us = self._clock.now_us()
        answer = conclude(pending, seen, seen_us)
        if answer.allowed:
            after = tuple(_after(outcome, seen_us) for outcome in shown(outcomes_of(pending, seen)))
            answer = replace(answer, limits=after)
        before = tuple(outcome.standing.remaining for outcome in shown(outcomes_of(pending, seen)))
        return Explained(answer, before, question, now_us)

    async def standings(self, takes: Sequence[Take]) -> list[Standing]:
        """Returns where the one limit of each take stands, and takes nothing. Raises Unavailable where the store is silent."""
        found: list[Standing] = []
        for start in range(0, len(takes), MAX_TAKES):
            dated = [self._dating.dated(take) for take in takes[start : start + MAX_TAKES]]
            seen = await self._store.peek(dated, STORE_DEADLINE_S)
            found += [one.standings[0] for one in seen]
        return found

    async def amend(self, application_id: str, amendments: Sequence[Amendment]) -> Sequence[bool]:
        """Settles, returns, releases and renews what this application holds; see CounterStore.amend. Raises Unavailable."""
        scoped = [_scoped(application_id, amendment) for amendment in amendments]
        # Slots that were taken while the counters were silent are counted here.
        here = await self._local.amend(scoped)
        there = await self._store.amend(scoped, STORE_DEADLINE_S)
        return [one or other for one, other in zip(here, there, strict=True)]


def _lasts(prepared: Answer | Pending) -> bool:
    """Tells whether the same question always ends alike; a failed expression is counted every time, so it is read again."""
    if isinstance(prepared, Answer):
        return not (prepared.timed or prepared.failures)
    return prepared.until_us is None and _lasts(prepared.base)


def _scoped(application_id: str, amendment: Amendment) -> Amendment:
    """Returns the same about the application's own holds and slots: nobody ends those of another by guessing ids."""
    match amendment:
        case Settlement(reservation_id=name, actual=actual):
            return Settlement(f"{application_id}|{name}", actual)
        case LeaseReturn(lease_id=name, used=used):
            return LeaseReturn(f"{application_id}|{name}", used)
        case Release(slot_id=name):
            return Release(f"{application_id}|{name}")
        case Renewal(slot_id=name):
            return Renewal(f"{application_id}|{name}")


def _timeout_s(time_left_s: float | None) -> float:
    if time_left_s is None:
        return STORE_DEADLINE_S
    return max(0.001, min(STORE_DEADLINE_S, time_left_s - _ANSWER_MARGIN_S))


def _after(outcome: LimitOutcome, now_us: int) -> LimitOutcome:
    """Returns where a limit would stand once it was taken from."""
    rule, standing, cost = outcome.limit.rule, outcome.standing, outcome.cost
    reset_us = standing.reset_us
    if rule.algorithm is Algorithm.TOKEN_BUCKET:
        reset_us += -(-cost * rule.window_us // rule.limit)
    elif rule.algorithm is Algorithm.SLIDING_WINDOW:  # what is taken now counts to the end of the next window
        reset_us = 2 * rule.window_us - now_us % rule.window_us
    after = Standing(standing.remaining - cost, reset_us, 0, standing.window_us)
    return replace(outcome, standing=after)


def _local_take(take: Take) -> Take:
    """Returns the same take from buckets at the policies' rate, which need no agreement on windows; what is in flight is counted
    as it is.
    """
    return Take(
        tuple(item._replace(rule=_local_rule(item.rule)) for item in take.limits), slot_id=take.slot_id
    )


def _local_rule(rule: Rule) -> Rule:
    if rule.algorithm is Algorithm.CONCURRENCY:
        return rule
    return Rule(Algorithm.TOKEN_BUCKET, rule.limit, rule.window_us, rule.capacity)
