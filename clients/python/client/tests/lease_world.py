"""A simulated world for the lease machine: eight clients, one service with one limit, a network that delays and loses."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count

from clients.python.client.tests.lease_service import SECOND, Model, Service
from usageflow.client._core.denials import Denial
from usageflow.client._core.lease import LeaseTerms, Returned
from usageflow.client._core.leases import Answer, Check, Leased, LeaseMachine

CLIENTS = 8
TIMEOUT_US = 50_000


class World:
    """Runs clients against a service; `admitted` holds when each request was let through."""

    def __init__(
        self, model: Model, *, seed: int, life_us: int, delay_us: tuple[int, int], loss: float = 0.0
    ) -> None:
        self.service = Service(model)
        self.random = random.Random(seed)
        self.delay_us, self.loss = delay_us, loss
        self.life_us = life_us
        self.machines = [LeaseMachine([LeaseTerms(1, (1,), life_us)]) for _ in range(CLIENTS)]
        self.now_us = 0
        self.admitted: list[int] = []
        self.arrived: list[int] = []
        self.asked = self.waited = self.cached = 0
        self.grants: dict[bytes, tuple[int, int]] = {}
        """Tokens of each lease that reached its client, and when it expires there."""
        self.uses: Counter[bytes] = Counter()
        self.paid: Counter[bytes] = Counter()
        """Admitted renewals by the lease that had paid for the request in whose name they asked."""
        self.ends: Counter[bytes] = Counter()
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
            self.at(int(at_s * SECOND), partial(self.request, client))

    def request(self, client: int) -> None:
        self.arrived.append(self.now_us)
        said = self.machines[client].ask(1, ("alice",), 1, self.now_us)
        if isinstance(said, Leased):
            self.admitted.append(self.now_us)
            self.uses[said.lease_id] += 1
            assert self.now_us < self.grants[said.lease_id][1], "used when its life was over"
            if said.renewal is not None:
                self._send(client, said.renewal, payer=said.lease_id)
        elif isinstance(said, Denial):
            self.cached += 1
        else:
            self.waited += 1
            self._send(client, said)

    def change(self, client: int, *, attributes: int, epoch: int = 0) -> None:
        """Gives a client a plan whose key or epoch may have changed."""
        self.machines[client].replan([LeaseTerms(1, (attributes,), self.life_us, epoch)], (), self.now_us)

    def revise(self, epoch: int) -> None:
        """Changes a policy: every client hears of the new epoch a little later."""
        for client in range(CLIENTS):
            self.at(self.now_us + self._delay(), partial(self.change, client, attributes=1, epoch=epoch))

    def close(self) -> None:
        """Closes all clients and hands their returns to the service."""
        for machine in self.machines:
            machine.close(self.now_us)
            for item in machine.returns(self.now_us, 1_000_000):
                self.ends[item.lease_id] += 1
                self.service.returned(item, self.now_us)

    def _send(self, client: int, check: Check, *, payer: bytes | None = None) -> None:
        self.asked += 1
        machine, sent_us = self.machines[client], self.now_us
        returns = machine.returns(sent_us)
        self.ends.update(item.lease_id for item in returns)
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
            if payer is None and answer.verdict.allowed:
                self.admitted.append(self.now_us)
            elif answer.verdict.allowed and payer is not None:
                self.paid[payer] += 1
            self.at(self.now_us + self._delay(), lambda: self._answered(machine, check, answer, sent_us))

        self.at(sent_us + self._delay(), decide)

    def _answered(self, machine: LeaseMachine, check: Check, answer: Answer, sent_us: int) -> None:
        if answer.grant is not None:
            self.grants[answer.grant.lease_id] = (answer.grant.tokens, sent_us + answer.grant.life_us)
        machine.answered(check, answer, sent_us=sent_us, now_us=self.now_us)

    def _delay(self) -> int:
        return self.random.randint(*self.delay_us)

    def _lost(self, client: int, check: Check, returns: list[Returned]) -> None:
        self.machines[client].failed(check, self.now_us)
        self.machines[client].unsent(returns)
        self.ends.subtract(item.lease_id for item in returns)
