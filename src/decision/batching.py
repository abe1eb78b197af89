"""The use-case behind Check and BatchCheck: what is asked is read once for as long as its bytes and the plan stay the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from decision.checking import MAX_ITEMS, Checking, CheckItem
from decision.engine import Engine, Outcome
from decision.memo import Ready
from decision.plan import Plan
from usageflow.domain.decisions import Answer, Reason
from usageflow.domain.errors import InvalidArgument
from usageflow.rpc.principal import Principal
from usageflow.storage.counters import Taken

_SLICE = 8
"""New items per turn of the event loop, about a millisecond."""

Read = Callable[[bytes], CheckItem]
"""Reads one item. Raises InvalidArgument."""


ReadRequest = Callable[[bytes], tuple[str, CheckItem]]
"""Reads a whole request: the application that it names, and what it asks. Raises InvalidArgument."""


class Decided(NamedTuple):
    """What became of an item: by its ``ready`` question and what was said to it, or why nothing was decided."""

    ready: Ready
    outcome: Outcome


class Batching:
    """Decides batches of one application at a time."""

    def __init__(self, checking: Checking, engine: Engine) -> None:
        self._checking = checking
        self._engine = engine

    async def decide(
        self, plan: Plan, items: Sequence[bytes], read: Read, time_left_s: float | None
    ) -> list[Decided | InvalidArgument]:
        """Returns what was decided, or why nothing was, per item. Raises InvalidArgument for too many items."""
        if len(items) > MAX_ITEMS:
            message = f"has {len(items)} items"
            raise InvalidArgument.of("items", message, f"send at most {MAX_ITEMS} in one call")
        found = await self._found(plan, items, read)
        readies = [item for item in found if type(item) is Ready]
        apart = [item for item in found if isinstance(item, CheckItem)]
        said = iter(await self._said(readies, time_left_s) if readies else ())
        answers = iter(await self._checking.check_many(plan, apart, time_left_s) if apart else ())
        return [
            item
            if isinstance(item, InvalidArgument)
            else Decided(item, next(said))
            if isinstance(item, Ready)
            else _apart(item, next(answers))
            for item in found
        ]

    async def _found(
        self, plan: Plan, items: Sequence[bytes], read: Read
    ) -> list[Ready | CheckItem | InvalidArgument]:
        """Returns what the items ask. Reading new ones takes a while, so others have their turns in between."""
        find, new = plan.memo.find, 0
        found: list[Ready | CheckItem | InvalidArgument] = []
        for item in items:
            ready = find(item)
            if ready is None:
                new += 1
                if new % _SLICE == 0:
                    await asyncio.sleep(0)
            found.append(ready or self._read(plan, item, read))
        return found

    async def _said(self, readies: Sequence[Ready], time_left_s: float | None) -> list[Outcome]:
        """Returns the counters' word where it admits, else the whole answer."""
        outcomes = await self._engine.ask(readies, time_left_s)
        for index, (ready, outcome) in enumerate(zip(readies, outcomes, strict=True)):
            if isinstance(outcome, Taken) and not outcome.admitted:
                outcomes[index] = self._engine.answer(ready, outcome)
        self._checking.count(map(_kind, readies, outcomes))
        return outcomes

    async def decide_one(
        self, principal: Principal, request: bytes, read: ReadRequest, time_left_s: float | None
    ) -> Decided:
        """Returns what was decided for a whole request of Check. Raises InvalidArgument, and as Checking.plan_of does."""
        plan = self._checking.plan_of(principal, "")
        ready = plan.requests.find(request)
        if ready is None:
            application, item = read(request)
            self._checking.plan_of(principal, application)
            if item.request_id:
                answer = await self._checking.check(plan, item, time_left_s)
                return Decided(Ready(answer, lasting=False, by_name=True), answer)
            ready = self._ready(plan, item)
            ready.by_name = True
            if ready.lasting:
                plan.requests.keep(request, ready)
        (outcome,) = await self._said([ready], time_left_s)
        return Decided(ready, outcome)

    def _read(self, plan: Plan, item: bytes, read: Read) -> Ready | CheckItem | InvalidArgument:
        """Returns an item's question; an item with an id or a deadline of its own as it is: it is decided apart."""
        try:
            asked = read(item)
            if asked.request_id or asked.deadline_s is not None:
                return asked
            ready = self._ready(plan, asked)
        except InvalidArgument as error:
            return error
        ready.by_name = asked.by_name
        if ready.lasting:
            plan.memo.keep(item, ready)
        return ready

    def _ready(self, plan: Plan, item: CheckItem) -> Ready:
        """Returns what an item asks, and counts what could not be evaluated of it. Raises InvalidArgument."""
        ready = self._engine.ready(plan.snapshot, self._checking.question(plan, item))
        self._checking.count_failures([ready.base])
        return ready


def _kind(ready: Ready, outcome: Outcome) -> tuple[bool, Reason]:
    if isinstance(outcome, Answer):
        return outcome.allowed, outcome.reason
    return True, ready.pending.base.reason


def _apart(item: CheckItem, answer: Answer | InvalidArgument) -> Decided | InvalidArgument:
    if isinstance(answer, InvalidArgument):
        return answer
    return Decided(Ready(answer, lasting=False, by_name=item.by_name), answer)
