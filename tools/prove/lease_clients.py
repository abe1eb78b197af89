"""Clients that lease: the machine of usageflow-client, one per client, over real calls. Every admission is kept with its instant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from tools.prove.asking import Ask, Asker
from tools.prove.policies import limit, policy
from tools.prove.promises import Event
from usageflow.client._core.denials import Denial
from usageflow.client._core.lease import Grant, LeaseTerms, Returned
from usageflow.client._core.leases import Answer, Check, LeaseCounters, Leased, LeaseMachine
from usageflow.client._core.verdict import LimitView, Verdict
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire
from usageflow.v1 import usage_pb2

_S = 1_000_000
_MOST_CALLS, _MOST_ITEMS = 4, 100
"""As usageflow-client has it."""
_LIVES_US = {"TOKEN_BUCKET": _S, "FIXED_WINDOW": 10 * _S}


class Rule(NamedTuple):
    """The limit that clients share."""

    algorithm: str
    limit: int
    window_s: int

    @property
    def path(self) -> str:
        """Returns the path that it limits."""
        return "/" + self.algorithm.lower().replace("_", "-")

    @property
    def policy(self) -> str:
        """Returns its policy."""
        how = f"algorithm: {self.algorithm}, window: {self.window_s}s"
        return policy(self.path.removeprefix("/"), self.path, [limit("n", self.limit, how)])


class Admission(NamedTuple):
    """A request that was let through. ``ends_us`` is when the window ends that it was taken from, as its answer told, or None where
    the answer took too long to tell.
    """

    when: Event
    ends_us: int | None


@dataclass
class Shared:
    """One identity, and what its clients saw. Instants are microseconds of the loop's clock."""

    rule: Rule
    user: str
    arrived: list[int] = field(default_factory=list)
    admitted: list[Admission] = field(default_factory=list)
    lost: int = 0
    """Units that calls without an answer may have taken."""
    by_token: int = 0


class _Asked(NamedTuple):
    """A check on its way: a request ``waits`` for it, or it renews in the background."""

    check: Check
    waits: bool


class LeasingClient:
    """One client of a process. One event loop must own it."""

    def __init__(self, shared: Shared, asker: Asker) -> None:
        self._shared = shared
        self._asker = asker
        self._life_us = min(_LIVES_US[shared.rule.algorithm], shared.rule.window_s * _S)
        self._machine = LeaseMachine([LeaseTerms(1, (1,), self._life_us)])
        self._ends_us: dict[bytes, int | None] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._pending: list[_Asked] = []

    @property
    def status(self) -> LeaseCounters:
        """Returns the machine's counters."""
        return self._machine.status()

    def request(self) -> None:
        """A request comes: a token pays, a denial is known, or the service is asked."""
        now_us = _now_us()
        self._shared.arrived.append(now_us)
        said = self._machine.ask(1, (self._shared.user,), 1, now_us)
        if isinstance(said, Leased):
            self._shared.by_token += 1
            self._shared.admitted.append(Admission(Event(now_us, now_us), self._ends_us[said.lease_id]))
            if said.renewal is not None:
                self._call(said.renewal, waits=False)
        elif not isinstance(said, Denial):
            self._call(said, waits=True)

    def replan(self, attributes: int) -> None:
        """A changed plan comes: leases of another key end."""
        self._machine.replan([LeaseTerms(1, (attributes,), self._life_us)], (), _now_us())

    async def close(self) -> None:
        """Waits for what is under way and gives all tokens back."""
        while self._calls:
            await asyncio.wait(self._calls)
            await asyncio.sleep(0)  # what came meanwhile goes out
        self._machine.close(_now_us())
        await self._asker.send(wire.BatchCheckRequest(returns=map(_return, self._machine.returns(_now_us()))))

    def _call(self, check: Check, *, waits: bool) -> None:
        """Asks, together with what comes while as many calls as may be are under way."""
        self._pending.append(_Asked(check, waits))
        self._dispatch()

    def _dispatch(self) -> None:
        while self._pending and len(self._calls) < _MOST_CALLS:
            asked, self._pending = self._pending[:_MOST_ITEMS], self._pending[_MOST_ITEMS:]
            call = asyncio.create_task(self._ask(asked))
            self._calls.add(call)
            call.add_done_callback(self._done)

    def _done(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._dispatch()

    async def _ask(self, asked: Sequence[_Asked]) -> None:
        returns = self._machine.returns(_now_us())
        request = wire.BatchCheckRequest(items=map(self._item, asked), returns=map(_return, returns))
        exchange = await self._asker.send(request)
        if exchange.response is None:
            self._machine.unsent(returns)
        results = exchange.response.results if exchange.response is not None else [None] * len(asked)
        for one, result in zip(asked, results, strict=True):
            if result is None or result.degraded.reason or result.status.code:
                self._failed(one.check)
            else:
                self._answered(one, result, int(exchange.sent_s * _S), int(exchange.came_s * _S))

    def _item(self, asked: _Asked) -> wire.CheckItem:
        item = Ask(self._shared.rule.path, self._shared.user).item()
        if asked.check.wish is not None:
            item.lease.tokens = asked.check.wish.tokens
            item.lease.life.FromMicroseconds(asked.check.wish.life_us)
        return item

    def _failed(self, check: Check) -> None:
        self._shared.lost += 1 + (check.wish.tokens if check.wish is not None else 0)
        self._machine.failed(check, _now_us())

    def _answered(self, asked: _Asked, result: wire.CheckResult, sent_us: int, came_us: int) -> None:
        ends_us = self._window_of(result, sent_us, came_us)
        if result.decision == common.DECISION_ALLOW and asked.waits:
            self._shared.admitted.append(Admission(Event(sent_us, came_us), ends_us))
        if result.HasField("lease"):
            self._ends_us[result.lease.lease_id] = ends_us
        answer = _answer(self._shared.rule, result)
        self._machine.answered(asked.check, answer, sent_us=sent_us, now_us=_now_us())

    def _window_of(self, result: wire.CheckResult, sent_us: int, came_us: int) -> int | None:
        quick = came_us - sent_us <= self._shared.rule.window_s * _S // 4
        return (sent_us + came_us) // 2 + result.limits[0].reset_us if quick else None


def _now_us() -> int:
    return int(asyncio.get_running_loop().time() * _S)


def _return(returned: Returned) -> usage_pb2.LeaseReturn:
    return usage_pb2.LeaseReturn(lease_id=returned.lease_id, used=returned.used)


def _answer(rule: Rule, result: wire.CheckResult) -> Answer:
    algorithm = common.Algorithm.Value(f"ALGORITHM_{rule.algorithm}")
    limits = tuple(
        LimitView(
            *("p", "n", algorithm, rule.limit, rule.window_s * _S),
            *(state.remaining, state.reset_us, state.exceeded),
        )
        for state in result.limits
    )
    verdict = Verdict(result.decision, result.reason, limits, retry_after_us=result.retry_after_us)
    lease = result.lease
    grant = Grant(lease.lease_id, lease.tokens, lease.life_us) if result.HasField("lease") else None
    return Answer(verdict, grant, result.cacheable)


class Clients:
    """Clients that share an identity, one for each asker."""

    def __init__(self, shared: Shared, askers: Sequence[Asker]) -> None:
        self.shared = shared
        self.each = [LeasingClient(shared, asker) for asker in askers]

    async def load(self, per_s: float, seconds: float, random: Random) -> None:
        """Sends requests at random moments to random clients."""
        loop = asyncio.get_running_loop()
        at_s, end_s = loop.time(), loop.time() + seconds
        while (at_s := at_s + random.expovariate(per_s)) < end_s:
            if at_s > loop.time():
                await asyncio.sleep(at_s - loop.time())
            random.choice(self.each).request()

    async def close(self) -> None:
        """Closes all."""
        for client in self.each:
            await client.close()

    @property
    def tokens(self) -> LeaseCounters:
        """Returns the sum of their counters."""
        told = [client.status for client in self.each]
        return LeaseCounters(
            granted=sum(one.granted for one in told),
            used=sum(one.used for one in told),
            returned=sum(one.returned for one in told),
            expired=sum(one.expired for one in told),
        )
