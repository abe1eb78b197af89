"""Decides: one store call for all requests of a batch, each taken on its own, and a fail mode where the store is silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from decision.dating import Dating
from decision.judgement import Pending, conclude, failed, outcomes_of, prepare, shadow_outcomes
from decision.tokens import TokenReader
from usageflow.domain.clock import Clock
from usageflow.domain.decisions import (
    Answer,
    Degraded,
    DegradedReason,
    LimitOutcome,
    Question,
    ReservationGrant,
)
from usageflow.domain.errors import Unavailable
from usageflow.domain.limits import Rule, Standing
from usageflow.domain.policies import Algorithm, FailMode
from usageflow.domain.snapshot import Snapshot
from usageflow.storage.counters import CounterStore, Reserve, Take, Taken

STORE_DEADLINE_S = 0.025
"""The most that a decision waits for the counters."""

_ANSWER_MARGIN_S = 0.010
"""Kept back from the caller's deadline, so that a degraded answer still arrives."""


class StoreFailed(Exception):
    """The counters gave no answer."""

    def __init__(self, reason: DegradedReason) -> None:
        super().__init__(reason)
        self.reason = reason


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

    Without ``tokens`` every token counts as missing.
    """

    def __init__(
        self,
        store: CounterStore,
        local: CounterStore,
        clock: Clock,
        new_id: Callable[[], str],
        tokens: TokenReader | None = None,
    ) -> None:
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
        prepared = [self._prepare(snapshot, question) for question in questions]
        waiting = [item for item in prepared if isinstance(item, Pending)]
        decided = iter(await self._settle_all(waiting, time_left_s) if waiting else ())
        return [next(decided) if isinstance(item, Pending) else item for item in prepared]

    def _prepare(self, snapshot: Snapshot, question: Question) -> Answer | Pending:
        question = self._verified(snapshot, question)
        if not question.hold_us:
            return prepare(snapshot, question, now_us=self._clock.now_us())
        now_us = self._clock.now_us()
        reserve = Reserve(self._new_id(), now_us + question.hold_us, question.refund_on_expiry)
        return prepare(snapshot, question, reserve, now_us)

    def _verified(self, snapshot: Snapshot, question: Question) -> Question:
        """Returns the question with claims in the place of tokens."""
        if self._tokens is None:
            return question
        read = self._tokens.read(snapshot, question.attributes)
        return question if read is question.attributes else replace(question, attributes=read)

    async def _settle_all(self, waiting: Sequence[Pending], time_left_s: float | None) -> list[Answer]:
        timeout_s = STORE_DEADLINE_S
        if time_left_s is not None:
            timeout_s = max(0.001, min(timeout_s, time_left_s - _ANSWER_MARGIN_S))
        asked = [self._dating.dated(item.take) for item in waiting if item.limits]
        try:
            taken = iter(await self._ask(asked, timeout_s) if asked else ())
        except StoreFailed as failure:
            return [await self._degraded(item, failure.reason) for item in waiting]
        answers = [
            _reserved(item, conclude(item, next(taken))) if item.limits else item.base for item in waiting
        ]
        await self._shadow(waiting, answers, timeout_s)
        return answers

    async def _ask(self, takes: Sequence[Take], timeout_s: float) -> Sequence[Taken]:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._store.take(takes)
        except TimeoutError as error:
            raise StoreFailed(DegradedReason.STORE_TIMEOUT) from error
        except Unavailable as error:
            raise StoreFailed(DegradedReason.STORE_UNAVAILABLE) from error

    async def _shadow(self, waiting: Sequence[Pending], answers: list[Answer], timeout_s: float) -> None:
        """Lets shadow policies take where the enforced ones admitted: they never see what was denied."""
        asked = [index for index, item in enumerate(waiting) if item.shadows and answers[index].allowed]
        if not asked:
            return
        takes = [self._dating.dated(take) for index in asked for _, take in waiting[index].shadows]
        try:
            taken = iter(await self._ask(takes, timeout_s))
        except StoreFailed:
            return  # the decision stands; what a shadow would have said is simply not known
        for index in asked:
            results = [next(taken) for _ in waiting[index].shadows]
            answers[index] = replace(answers[index], shadow=shadow_outcomes(waiting[index], results))

    async def _degraded(self, pending: Pending, reason: DegradedReason) -> Answer:
        if not pending.limits:
            return pending.base  # only shadows had a question for the counters
        degraded = Degraded(reason, pending.fail_mode)
        if degraded.fail_mode is not FailMode.LOCAL:
            return failed(pending, degraded)
        (taken,) = await self._local.take([_local_take(pending.take)])
        return replace(conclude(pending, taken), degraded=degraded)

    async def explain(self, snapshot: Snapshot, question: Question) -> Explained:
        """Returns what decide would answer, and takes nothing. Raises Unavailable where the store is silent."""
        question, now_us = self._verified(snapshot, question), self._clock.now_us()
        pending = prepare(snapshot, question, now_us=now_us)
        if isinstance(pending, Answer):
            return Explained(pending, (), question, now_us)
        asked = [pending.take, *(take for _, take in pending.shadows)]
        seen, *shadows = await self._store.peek([self._dating.dated(take) for take in asked])
        answer = conclude(pending, seen)
        if answer.allowed:
            after = tuple(_after(outcome, now_us) for outcome in outcomes_of(pending, seen))
            answer = replace(answer, limits=after, shadow=shadow_outcomes(pending, shadows))
        return Explained(answer, tuple(item.remaining for item in seen.standings), question, now_us)

    async def settle(self, reservation_id: str, actual: int) -> bool:
        """Settles a reservation; False where there is none (any more)."""
        return await self._store.settle(reservation_id, actual)


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


def _reserved(pending: Pending, answer: Answer) -> Answer:
    reserve = pending.take.reserve
    if reserve is None or not answer.allowed or not pending.take.limits:
        return answer
    amount = max(item.cost for item in pending.take.limits)
    return replace(answer, reservation=ReservationGrant(reserve.reservation_id, amount, reserve.expires_us))


def _local_take(take: Take) -> Take:
    """Returns the same take from buckets at the policies' rate, which need no agreement on windows."""
    limits = tuple(
        replace(
            item, rule=Rule(Algorithm.TOKEN_BUCKET, item.rule.limit, item.rule.window_us, item.rule.capacity)
        )
        for item in take.limits
    )
    return Take(limits)
