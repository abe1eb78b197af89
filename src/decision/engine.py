"""Decides: one store call for all requests of a batch, each taken on its own, and a fail mode where the store is silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from decision.dating import Dating
from decision.guarding import STORE_DEADLINE_S, GuardedStore, StoreFailed
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

_ANSWER_MARGIN_S = 0.010
"""Kept back from the caller's deadline, so that a degraded answer still arrives."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What would be decided: the answer, and the same limits as they stand before."""

    answer: Answer
    before: tuple[int, ...]


class Engine:
    """Decisions over one counter store. ``local`` holds the buckets of fail mode LOCAL; ``new_id`` makes reservation ids.

    Without ``tokens`` every token counts as missing.
    """

    def __init__(
        self,
        store: GuardedStore,
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
            return prepare(snapshot, question)
        expires_us = self._clock.now_us() + question.hold_us
        return prepare(snapshot, question, Reserve(self._new_id(), expires_us, question.refund_on_expiry))

    def _verified(self, snapshot: Snapshot, question: Question) -> Question:
        """Returns the question with claims in the place of tokens."""
        if self._tokens is None:
            return question
        read = self._tokens.read(snapshot, question.attributes)
        return question if read is question.attributes else replace(question, attributes=read)

    async def _settle_all(self, waiting: Sequence[Pending], time_left_s: float | None) -> list[Answer]:
        deadline_s = _store_deadline_s(time_left_s)
        until = asyncio.get_running_loop().time() + deadline_s
        asked = [self._dating.dated(item.take) for item in waiting if item.limits]
        try:
            taken = iter(await self._store.take(asked, deadline_s) if asked else ())
        except StoreFailed as failure:
            return [await self._degraded(item, failure.reason) for item in waiting]
        answers = [
            _reserved(item, conclude(item, next(taken))) if item.limits else item.base for item in waiting
        ]
        await self._shadow(waiting, answers, until)
        return answers

    async def _shadow(self, waiting: Sequence[Pending], answers: list[Answer], until: float) -> None:
        """Lets shadow policies take where the enforced ones admitted: they never see what was denied. ``until`` is the loop's
        time: what the enforced ones left of the deadline.
        """
        asked = [index for index, item in enumerate(waiting) if item.shadows and answers[index].allowed]
        if not asked:
            return
        takes = [self._dating.dated(take) for index in asked for _, take in waiting[index].shadows]
        try:
            left_s = max(0.0, until - asyncio.get_running_loop().time())
            taken = iter(await self._store.take(takes, left_s))
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
        pending = prepare(snapshot, self._verified(snapshot, question))
        if isinstance(pending, Answer):
            return Explained(pending, ())
        asked = [pending.take, *(take for _, take in pending.shadows)]
        seen, *shadows = await self._peek([self._dating.dated(take) for take in asked])
        answer = conclude(pending, seen)
        if answer.allowed:
            now_us = self._clock.now_us()
            after = tuple(_after(outcome, now_us) for outcome in outcomes_of(pending, seen))
            answer = replace(answer, limits=after, shadow=shadow_outcomes(pending, shadows))
        return Explained(answer, tuple(item.remaining for item in seen.standings))

    async def _peek(self, takes: Sequence[Take]) -> Sequence[Taken]:
        try:
            return await self._store.peek(takes, STORE_DEADLINE_S)
        except StoreFailed as failure:
            message = f"the counters do not answer ({failure.reason}); try again in a second"
            raise Unavailable(message) from failure

    async def settle(self, reservation_id: str, actual: int) -> bool:
        """Settles a reservation; False where there is none (any more). Raises StoreFailed: settle it again."""
        return await self._store.settle(reservation_id, actual, STORE_DEADLINE_S)


def _store_deadline_s(time_left_s: float | None) -> float:
    """Returns how long the store may take: less than the caller has, so that a degraded answer still arrives."""
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
