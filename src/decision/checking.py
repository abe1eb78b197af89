"""The use-case behind Check and BatchCheck: find the plan, read the questions, ask the engine, answer repeats alike."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from decision.amending import ItemFault, amend
from decision.engine import Engine
from decision.plan import Plan
from decision.questions import HttpRequest, Terms, question_by_name, question_by_number
from decision.snapshots import SnapshotRegistry
from usageflow.domain.clock import Clock
from usageflow.domain.decisions import Answer, Question, Reason
from usageflow.domain.errors import FailedPrecondition, InvalidArgument, Unavailable
from usageflow.rpc.principal import Principal, own_application
from usageflow.storage.counters import Amendment

MAX_ITEMS = 100
MAX_REQUEST_ID = 64
_REMEMBERED = 100_000
_KEEP_AT_LEAST_S = 1.0


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One request of a batch, unchecked: by number with values, or by name. ``deadline_s`` None: the call's own."""

    endpoint: int | HttpRequest
    values: Sequence[str | bytes | None] = ()
    client_ip: str = ""
    terms: Terms = field(default_factory=Terms)
    request_id: str = ""
    deadline_s: float | None = None

    @property
    def by_name(self) -> bool:
        """Tells a request that is described from one that uses the plan's numbers."""
        return isinstance(self.endpoint, HttpRequest)


class Checking:
    """Decides requests of one application at a time."""

    def __init__(
        self,
        snapshots: SnapshotRegistry,
        engine: Engine,
        clock: Clock,
        decisions: dict[tuple[bool, str], int],
        term_failures: dict[str, int] | None = None,
    ) -> None:
        self._term_failures = {} if term_failures is None else term_failures
        self._snapshots = snapshots
        self._engine = engine
        self._clock = clock
        self._decisions = decisions
        self._answers: OrderedDict[tuple[str, str], tuple[int, asyncio.Future[Answer]]] = OrderedDict()

    def plan_of(self, principal: Principal, application: str) -> Plan:
        """Returns the plan of the caller's application. Raises PermissionDenied where it names another, Unavailable where
        it is not loaded yet.
        """
        plan = self._snapshots.plan(principal.application_id)
        if plan is None:
            raise Unavailable("the policies are not loaded yet; try again in a second")
        own_application(application, plan.snapshot.application)
        return plan

    async def plan_for(
        self, principal: Principal, application: str, plan_version: int, *, positional: bool = False
    ) -> Plan:
        """Returns the plan for a message that uses numbers of ``plan_version`` (0: it uses none).

        Numbers keep their meaning, so an older version is good enough, but not for ``positional`` values, whose order
        is one plan's own. Raises FailedPrecondition, reason PLAN_UNKNOWN, where that version is not known here.
        """
        plan = self.plan_of(principal, application)
        if plan_version > plan.snapshot.plan_version:
            await self._snapshots.refresh()
            plan = self.plan_of(principal, application)
        known = plan.snapshot.plan_version
        if plan_version > known or (positional and 0 < plan_version < known):
            message = f"plan {plan_version} is not known here; send names instead of numbers, once"
            raise FailedPrecondition(message, reason="PLAN_UNKNOWN")
        return plan

    async def amend(self, plan: Plan, amendments: Sequence[Amendment]) -> list[ItemFault]:
        """Carries out what ends or goes on; returns what could not be."""
        return await amend(self._engine, plan.snapshot.application_id, amendments) if amendments else []

    async def check(self, plan: Plan, item: CheckItem, time_left_s: float | None) -> Answer:
        """Returns the answer to one request. Raises InvalidArgument."""
        (answer,) = await self.check_many(plan, [item], time_left_s)
        if isinstance(answer, InvalidArgument):
            raise answer
        return answer

    async def check_many(
        self, plan: Plan, items: Sequence[CheckItem], time_left_s: float | None
    ) -> list[Answer | InvalidArgument]:
        """Returns an answer, or why there is none, per item. Raises InvalidArgument for too many items."""
        if len(items) > MAX_ITEMS:
            raise InvalidArgument.of(
                "items", f"has {len(items)} items", f"send at most {MAX_ITEMS} in one call"
            )
        read = [self._read(plan, item) for item in items]
        groups: defaultdict[float | None, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            if isinstance(read[index], Question):
                # Items share a store call with those of the same deadline, so that none waits for another's.
                groups[time_left_s if item.deadline_s is None else item.deadline_s].append(index)
        answers: dict[int, Answer] = {}
        await asyncio.gather(
            *(self._decide(plan, items, read, indices, left_s, answers) for left_s, indices in groups.items())
        )
        return [
            result if isinstance(result, InvalidArgument) else answers[index]
            for index, result in enumerate(read)
        ]

    def _read(self, plan: Plan, item: CheckItem) -> Question | InvalidArgument:
        try:
            if len(item.request_id) > MAX_REQUEST_ID:
                raise InvalidArgument.of(
                    "request_id", "is too long", f"send at most {MAX_REQUEST_ID} characters"
                )
            return self.question(plan, item)
        except InvalidArgument as error:
            return error

    def question(self, plan: Plan, item: CheckItem) -> Question:
        """Returns what an item asks. Raises InvalidArgument."""
        if isinstance(item.endpoint, HttpRequest):
            return question_by_name(plan.snapshot, item.endpoint, item.terms)
        instruction = plan.instructions.get(item.endpoint)
        if instruction is None:
            message = f"there is no endpoint {item.endpoint}"
            raise InvalidArgument.of(
                "endpoint_number", message, "send the request by name", "UNKNOWN_ENDPOINT"
            )
        return question_by_number(plan.snapshot, instruction, item.values, item.client_ip, item.terms)

    def count(self, kinds: Iterable[tuple[bool, Reason]]) -> None:
        """Counts decisions by what they were."""
        for kind in kinds:
            self._decisions[kind] = self._decisions.get(kind, 0) + 1

    def count_failures(self, answers: Iterable[Answer]) -> None:
        """Counts the expressions that could not be evaluated, by their field."""
        for each in (failure for item in answers for failure in item.failures):
            self._term_failures[each.field] = self._term_failures.get(each.field, 0) + 1

    async def _decide(
        self,
        plan: Plan,
        items: Sequence[CheckItem],
        read: Sequence[Question | InvalidArgument],
        indices: Sequence[int],
        left_s: float | None,
        answers: dict[int, Answer],
    ) -> None:
        """Decides the items of these indices in one engine call, except repeats, which get the first one's answer.

        A decision that has begun runs to its end even where the caller goes away: it may have taken already, and a
        repeat must find its answer.
        """
        promises: list[asyncio.Future[Answer] | None] = []
        repeats: dict[int, asyncio.Future[Answer]] = {}
        asked: list[tuple[int, Question]] = []
        for index in indices:
            question = read[index]
            promise, first = self._promise(plan, items[index].request_id, left_s)
            if promise is not None and not first:
                repeats[index] = promise
            elif isinstance(question, Question):
                asked.append((index, question))
                promises.append(promise)
        questions = [question for _, question in asked]
        deciding = asyncio.ensure_future(self._engine.decide(plan.snapshot, questions, left_s))
        deciding.add_done_callback(lambda done: _keep(promises, done))
        decided = await asyncio.shield(deciding)
        answers.update({index: answer for (index, _), answer in zip(asked, decided, strict=True)})
        self.count((item.allowed, item.reason) for item in decided)
        self.count_failures(decided)
        for index, promise in repeats.items():
            answers[index] = await asyncio.shield(promise)

    def _promise(
        self, plan: Plan, request_id: str, left_s: float | None
    ) -> tuple[asyncio.Future[Answer] | None, bool]:
        """Returns the answer-to-be of a request id and whether this is its first request; (None, True) without an id."""
        if not request_id:
            return None, True
        now_us = self._clock.now_us()
        self._forget(now_us)
        key = (plan.snapshot.application_id, request_id)
        known = self._answers.get(key)
        if known is not None and known[0] > now_us and not _failed(known[1]):
            return known[1], False
        keep_us = round(max(2 * (left_s or 0), _KEEP_AT_LEAST_S) * 1_000_000)
        promise: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[key] = (now_us + keep_us, promise)
        self._answers.move_to_end(key)
        return promise, True

    def _forget(self, now_us: int) -> None:
        while self._answers:
            key, (until_us, _) = next(iter(self._answers.items()))
            if until_us > now_us and len(self._answers) < _REMEMBERED:
                return
            del self._answers[key]


def _failed(promise: asyncio.Future[Answer]) -> bool:
    return promise.done() and promise.exception() is not None


def _keep(promises: Sequence[asyncio.Future[Answer] | None], done: asyncio.Future[list[Answer]]) -> None:
    """Keeps the promises of the requests that a call of the engine was asked about."""
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    for index, promise in enumerate(promises):
        if promise is None:
            continue
        if error is None:
            promise.set_result(done.result()[index])
        else:
            promise.set_exception(
                Unavailable("the first request with this id was not decided; send it again")
            )
            promise.exception()  # nobody may be waiting for it
