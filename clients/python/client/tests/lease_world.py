"""A simulated world for the lease machine: eight clients, one service with one limit, a network that delays and loses.

The service is a pure model of what the contract promises of leases: a grant is min(wished, room // (4 x live lessees)) and
debited at once, a window's lease ends with the window, a bucket's debt never drains below the tokens that are out, and unused
tokens are credited to the instance that was debited. Times are microseconds; nothing here reads a clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from usageflow.client._core.denials import Denial
from usageflow.client._core.lease import Grant, LeaseTerms, Returned
from usageflow.client._core.leases import Answer, Check, Leased, LeaseMachine
from usageflow.client._core.verdict import LimitView, Verdict
from usageflow.v1 import common_pb2 as common

SECOND = 1_000_000
CLIENTS = 8
TIMEOUT_US = 50_000


class WindowModel:
    """FIXED_WINDOW of `limit` units, anchored at the first request."""

    algorithm = common.ALGORITHM_FIXED_WINDOW

    def __init__(self, limit: int, window_us: int) -> None:
        self.limit, self.window_us = limit, window_us
        self.start_us = self.end_us = self.used = 0
        self.starts: list[int] = []

    def now(self, now_us: int) -> None:
        if now_us >= self.end_us:
            self.start_us, self.end_us, self.used = now_us, now_us + self.window_us, 0
            self.starts.append(now_us)

    @property
    def room(self) -> int:
        return self.limit - self.used

    def take(self, units: int) -> None:
        self.used += units

    def credit(self, units: int, instance: int, *, alive: bool) -> None:
        self.used -= units if instance == self.start_us else 0

    def hold(self, tokens: int) -> None:
        """A window holds nothing: what is debited stays debited until it ends."""

    @property
    def instance(self) -> int:
        return self.start_us

    def life_us(self, wished_us: int, now_us: int) -> int:
        return min(wished_us, 10 * SECOND, self.end_us - now_us)

    def wait_us(self, now_us: int) -> int:
        return self.end_us - now_us

    reset_us = wait_us

    def overshoot(self, admitted: list[int]) -> int:
        """Returns how far the fullest window is above the limit."""
        counts: dict[int, int] = {}
        for at_us in admitted:
            start = max(start for start in self.starts if start <= at_us)
            assert at_us < start + self.window_us, "used in no window"
            counts[start] = counts.get(start, 0) + 1
        return max(counts.values(), default=0) - self.limit


class BucketModel:
    """TOKEN_BUCKET: burst `limit`, refilled at `limit` per window. The debt is in units x window."""

    algorithm = common.ALGORITHM_TOKEN_BUCKET

    def __init__(self, limit: int, window_us: int) -> None:
        self.limit, self.window_us = limit, window_us
        self.debt = self.at_us = self.held = 0
        self.instance = 0

    def now(self, now_us: int) -> None:
        drained = self.debt - (now_us - self.at_us) * self.limit
        self.debt, self.at_us = max(self.held * self.window_us, drained), now_us

    @property
    def room(self) -> int:
        return self.limit - -(-self.debt // self.window_us)

    def take(self, units: int) -> None:
        self.debt += units * self.window_us

    def credit(self, units: int, instance: int, *, alive: bool) -> None:
        self.debt -= units * self.window_us if alive else 0

    def hold(self, tokens: int) -> None:
        self.held += tokens

    def life_us(self, wished_us: int, now_us: int) -> int:
        return min(wished_us, SECOND)

    def reset_us(self, now_us: int) -> int:
        return -(-self.debt // self.limit)

    def wait_us(self, now_us: int) -> int:
        return max(1, -(-(self.debt - (self.limit - 1) * self.window_us) // self.limit))

    def overshoot(self, admitted: list[int]) -> int:
        """Returns by how many units a meter that saw every use at its own time would run over."""
        meter, worst = BucketModel(self.limit, self.window_us), -self.limit
        for at_us in sorted(admitted):
            meter.now(at_us)
            meter.take(1)
            worst = max(worst, -meter.room)
        return worst


Model = WindowModel | BucketModel


@dataclass
class _Out:
    lessee: int
    tokens: int
    expires_us: int
    instance: int


@dataclass
class Service:
    """Decides and leases, on one limit."""

    model: Model
    out: dict[bytes, _Out] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=lambda: count(1))

    def check(self, lessee: int, check: Check, now_us: int) -> Answer:
        self.now(now_us)
        if self.model.room < 1:
            return self._deny(now_us)
        self.model.take(1)
        grant = self._grant(lessee, check, now_us)
        view = LimitView(
            "p",
            "l",
            self.model.algorithm,
            self.model.limit,
            self.model.window_us,
            self.model.room,
            self.model.reset_us(now_us),
            exceeded=False,
        )
        return Answer(Verdict(common.DECISION_ALLOW, common.REASON_WITHIN_LIMITS, (view,)), grant)

    def _deny(self, now_us: int) -> Answer:
        wait_us = self.model.wait_us(now_us)
        verdict = Verdict(common.DECISION_DENY, common.REASON_LIMIT_EXCEEDED, retry_after_us=max(wait_us, 1))
        return Answer(verdict, cacheable=True)

    def _grant(self, lessee: int, check: Check, now_us: int) -> Grant | None:
        if check.wish is None:
            return None
        lessees = {each.lessee for each in self.out.values()} | {lessee}
        tokens = min(check.wish.tokens, self.model.room // (4 * len(lessees)))
        if tokens < 1:
            return None
        self.model.take(tokens)
        self.model.hold(tokens)
        life_us = self.model.life_us(check.wish.life_us, now_us)
        lease_id = next(self.ids).to_bytes(16, "big")
        self.out[lease_id] = _Out(lessee, tokens, now_us + life_us, self.model.instance)
        return Grant(lease_id, tokens, life_us)

    def returned(self, item: Returned, now_us: int) -> None:
        self.now(now_us)
        out = self.out.pop(item.lease_id, None)
        if out is None:
            return
        assert 0 <= item.used <= out.tokens
        self.model.hold(-out.tokens)
        self.model.credit(out.tokens - item.used, out.instance, alive=True)
        self.model.now(now_us)

    def now(self, now_us: int) -> None:
        for lease_id in [each for each, out in self.out.items() if out.expires_us <= now_us]:
            out = self.out[lease_id]
            if isinstance(self.model, BucketModel):
                self.model.now(max(out.expires_us, self.model.at_us))
                self.model.hold(-out.tokens)
                del self.out[lease_id]
            elif out.instance != self.model.instance or now_us >= self.model.end_us:
                del self.out[lease_id]
        self.model.now(now_us)


class World:
    """Runs clients against a service; `admitted` holds when each request was let through."""

    def __init__(
        self, model: Model, *, seed: int, life_us: int, delay_us: tuple[int, int], loss: float = 0.0
    ) -> None:
        self.service = Service(model)
        self.random = random.Random(seed)
        self.delay_us, self.loss = delay_us, loss
        self.terms = LeaseTerms(1, (1,), life_us)
        self.machines = [LeaseMachine([self.terms]) for _ in range(CLIENTS)]
        self.now_us = 0
        self.admitted: list[int] = []
        self.arrived: list[int] = []
        self.asked = self.waited = self.leased = self.cached = 0
        self.uses: dict[bytes, int] = {}
        self.ends: dict[bytes, int] = {}
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, when_us: int, act: Callable[[], None]) -> None:
        heappush(self._events, (when_us, next(self._order), act))

    def run(self) -> None:
        while self._events:
            self.now_us, _, act = heappop(self._events)
            act()

    def load(self, rate: float, seconds: float) -> None:
        """Sends `rate` requests a second in all, at random moments, to random clients."""
        at_s = 0.0
        while (at_s := at_s + self.random.expovariate(rate)) < seconds:
            client = self.random.randrange(CLIENTS)
            self.at(int(at_s * SECOND), lambda client=client: self.request(client))  # type: ignore[misc]

    def request(self, client: int) -> None:
        self.arrived.append(self.now_us)
        said = self.machines[client].ask(1, ("alice",), 1, self.now_us)
        if isinstance(said, Leased):
            self.leased += 1
            self.admitted.append(self.now_us)
            if said.renewal is not None:
                self._send(client, said.renewal, waits=False)
        elif isinstance(said, Denial):
            self.cached += 1
        else:
            self.waited += 1
            self._send(client, said, waits=True)

    def _send(self, client: int, check: Check, *, waits: bool) -> None:
        self.asked += 1
        machine, sent_us = self.machines[client], self.now_us
        returns = machine.returns(sent_us)
        fate = self.random.random()
        if fate < self.loss / 2:
            self.at(sent_us + TIMEOUT_US, lambda: self._lost(client, check, returns))
            return

        def decide() -> None:
            for item in returns:
                self.service.returned(item, self.now_us)
            answer = self.service.check(client, check, self.now_us)
            if fate < self.loss:
                self.at(sent_us + TIMEOUT_US, lambda: self._lost(client, check, returns))
                return
            if waits and answer.verdict.allowed:
                self.admitted.append(self.now_us)
            arrives_us = self.now_us + self._delay()
            self.at(arrives_us, lambda: machine.answered(check, answer, sent_us=sent_us, now_us=self.now_us))

        self.at(sent_us + self._delay(), decide)

    def _delay(self) -> int:
        return self.random.randint(*self.delay_us)

    def _lost(self, client: int, check: Check, returns: list[Returned]) -> None:
        self.machines[client].failed(check, self.now_us)
        self.machines[client].unsent(returns)


def ideal(model: Model, arrived: list[int]) -> list[int]:
    """Returns which of the requests a limit without leases and delays admits."""
    admitted = []
    for at_us in arrived:
        model.now(at_us)
        if model.room >= 1:
            model.take(1)
            admitted.append(at_us)
    return admitted
