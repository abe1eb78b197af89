"""The lease machine: which requests need no question, because a token pays or the same has just been denied.

No I/O, no clock: times are microseconds of any monotonic clock of this process. Not safe for concurrent calls: use it from
one event loop, or under one lock. The golden cases are spec/vectors/leases; the rules are in spec/vectors/README.md.

A request is asked with `ask`. What it answers with a `Check` goes to the service: `Check` itself is waited for, the
`renewal` of a `Leased` goes in the background. Every check ends in one `answered` or one `failed`. Whatever call goes out next
takes `returns` along; if it fails they are handed back with `unsent`.

A renewal asks in the name of the request that made it due. That request has a token's pay already, so once the renewal is
admitted its own unit pays for the request and the token is free again: nothing is debited twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count
from typing import Final

from usageflow.client._core.denials import Denial, DenialCache
from usageflow.client._core.lease import (
    Grant,
    Holding,
    Key,
    Lease,
    LeaseTerms,
    Returned,
    Values,
    Wish,
)
from usageflow.client._core.returns import ReturnBox
from usageflow.client._core.verdict import Verdict

MAX_KEYS: Final = 100_000
MAX_PAUSE_US: Final = 1_000_000
FAILED_PAUSE_US: Final = 100_000
"""How long a key wishes nothing after a check of it was not answered."""


@dataclass(slots=True)
class Check:
    """A question for the service."""

    key: Key
    wish: Wish | None
    """Tokens to wish with it; None for none."""
    round: int
    """The machine's own, like what follows."""
    holding: Holding | None = None


@dataclass(slots=True)
class Leased:
    """The request may run: a token pays for it."""

    lease_id: bytes
    renewal: Check | None
    """To be asked in the background; None where nothing is due."""
    _answer: Verdict
    _age_us: int
    _spare_units: int

    def verdict(self) -> Verdict:
        """Returns the newest answer, counted down to this request."""
        return self._answer.later(self._age_us, self._spare_units)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answered to a check."""

    verdict: Verdict
    grant: Grant | None = None
    cacheable: bool = False


@dataclass(slots=True)
class LeaseCounters:
    """Tokens since the start: granted = used + returned + expired + held."""

    granted: int = 0
    used: int = 0
    """Without those that a renewal's own unit paid for again."""
    returned: int = 0
    """Given back while they lived."""
    expired: int = 0
    """Expired unused."""
    held: int = 0


class LeaseMachine:
    """Leases and cached denials of one client. Of more than `max_keys` keys the least recently used give theirs back."""

    def __init__(self, terms: Iterable[LeaseTerms] = (), *, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._terms = {each.number: each for each in terms}
        self._holdings: OrderedDict[Key, Holding] = OrderedDict()
        self._leases: dict[bytes, Lease] = {}
        self._expiries: list[tuple[int, int, bytes]] = []
        self._order = count()
        self._denials = DenialCache(max_keys)
        self._returns = ReturnBox(max_keys)
        self._round = (
            0  # checks of an earlier round bring no tokens and no denials: things have changed since
        )
        self._counters = LeaseCounters()

    def ask(self, number: int, values: Values, cost: int, now_us: int) -> Leased | Denial | Check:
        """Answers a request. `number` is the endpoint's (0: unknown to the plan), `cost` the units asked (0: the policies')."""
        terms = self._terms.get(number)
        if terms is None:
            return Check((number, values, cost), None, self._round)
        key = (number, values, cost)
        life_us = terms.life_us
        holding = self._holding(key, now_us) if life_us else None
        if holding is not None:
            holding.seen(now_us, life_us)
            lease = self._spendable(holding, now_us)
            if lease is not None:
                return self._leased(key, holding, lease, now_us, life_us)
        denial = self._denials.find((number, values), cost, now_us)
        if denial is not None:
            return denial
        return self._check(key, holding, now_us, life_us)

    def answered(self, check: Check, answer: Answer, *, sent_us: int, now_us: int) -> None:
        """Takes the service's answer to a check. `sent_us` is when it was sent: lives count from then."""
        verdict, holding = answer.verdict, check.holding
        current = check.round == self._round
        normal = verdict.degraded is None
        if holding is not None and not holding.gone:
            self._settle(check, holding, now_us, paid=verdict.allowed and normal)
            if current and verdict.allowed and normal:
                holding.answered(verdict, sent_us, now_us)
        if answer.grant is not None and answer.grant.tokens > 0:
            self._granted(check, answer.grant, sent_us, now_us)
        elif check.wish is not None and holding is not None:
            holding.paused_until_us = sent_us + _pause_us(verdict)
        if answer.cacheable and current and not verdict.allowed and check.key[0] in self._terms:
            self._denials.add(check.key[:2], check.key[2], verdict, sent_us=sent_us, now_us=now_us)

    def failed(self, check: Check, now_us: int) -> None:
        """Notes that nobody answered a check, or that nothing was decided. The check may have taken: no token is freed."""
        holding = check.holding
        if holding is None or holding.gone:
            return
        self._settle(check, holding, now_us, paid=False)
        if check.wish is not None:
            holding.paused_until_us = now_us + FAILED_PAUSE_US

    def replan(self, changed: Iterable[LeaseTerms], removed: Iterable[int], now_us: int) -> None:
        """Takes a changed plan or directory: endpoints that are new or changed, and numbers of those that are gone.

        All denials are forgotten. Leases end where the attributes of the key, the epoch or whether tokens may be leased have
        changed, and only there.
        """
        self._round += 1
        self._denials.clear()
        moved = set(removed)
        for number in moved:
            self._terms.pop(number, None)
        for terms in changed:
            if not terms.same_key(self._terms.get(terms.number)):
                moved.add(terms.number)
            self._terms[terms.number] = terms
        if moved:
            for key in [key for key in self._holdings if key[0] in moved]:
                self._drop(self._holdings.pop(key), now_us)

    def close(self, now_us: int) -> None:
        """Ends all leases: `returns` gives them back. From now on every request is a check without a wish."""
        self.replan((), list(self._terms), now_us)

    def returns(self, now_us: int, at_most: int = 1_000) -> list[Returned]:
        """Takes out leases that have ended, for a call that goes out now; each comes once, unless it is handed back."""
        while self._expiries and self._expiries[0][0] <= now_us:
            lease = self._leases.get(heappop(self._expiries)[2])
            if lease is not None:
                self._end(lease, now_us)
        return self._returns.take(at_most)

    def unsent(self, returns: Iterable[Returned]) -> None:
        """Hands back what a failed call carried: it goes with the next. Sending it twice does no harm."""
        self._returns.put_back(returns)

    def status(self) -> LeaseCounters:
        """Returns the counters."""
        held = sum(lease.unused for lease in self._leases.values())
        return replace(self._counters, held=held)

    def _holding(self, key: Key, now_us: int) -> Holding:
        holding = self._holdings.get(key)
        if holding is not None:
            self._holdings.move_to_end(key)
            return holding
        holding = self._holdings[key] = Holding(now_us)
        if len(self._holdings) > self._max_keys:
            self._drop(self._holdings.popitem(last=False)[1], now_us)
        return holding

    def _spendable(self, holding: Holding, now_us: int) -> Lease | None:
        leases = holding.leases
        while leases and leases[0].expires_us <= now_us:
            self._end(leases[0], now_us)
        return holding.spendable() if leases else None

    def _leased(self, key: Key, holding: Holding, lease: Lease, now_us: int, life_us: int) -> Leased:
        lease.used += 1
        holding.unused -= 1
        self._counters.used += 1
        renewal = None
        if holding.wants_renewal(now_us):
            wish = holding.wish(now_us, life_us)
            if wish is not None:
                holding.wishing, holding.payer = True, lease
                renewal = Check(key, wish, self._round, holding)
        if lease.used == lease.tokens and holding.payer is not lease:
            self._end(lease, now_us)
        spare_units = holding.unused * max(key[2], 1)
        return Leased(lease.lease_id, renewal, holding.verdict, now_us - holding.answered_us, spare_units)

    def _check(self, key: Key, holding: Holding | None, now_us: int, life_us: int) -> Check:
        if holding is None:
            return Check(key, None, self._round)
        wish = holding.wish(now_us, life_us)
        holding.wishing |= wish is not None
        return Check(key, wish, self._round, holding)

    def _settle(self, check: Check, holding: Holding, now_us: int, *, paid: bool) -> None:
        """Ends a check with a wish: `paid` frees the token of the request in whose name it asked."""
        if check.wish is None:
            return
        holding.wishing = False
        payer, holding.payer = holding.payer, None
        if payer is None:
            return
        if paid and now_us < payer.expires_us:
            payer.used -= 1
            holding.unused += 1
            self._counters.used -= 1
        elif not payer.unused:
            self._end(payer, now_us)

    def _granted(self, check: Check, grant: Grant, sent_us: int, now_us: int) -> None:
        holding = check.holding
        if grant.lease_id in self._leases:
            return
        self._counters.granted += grant.tokens
        expired = now_us >= sent_us + grant.life_us
        if holding is None or holding.gone or check.round != self._round or expired:
            self._count_unused(grant.tokens, expired=expired)
            self._returns.add(Returned(grant.lease_id, 0))
            return
        lease = Lease(grant, sent_us, holding)
        self._leases[grant.lease_id] = lease
        heappush(self._expiries, (lease.expires_us, next(self._order), lease.lease_id))
        holding.add(lease, sent_us, grant.life_us)

    def _drop(self, holding: Holding, now_us: int) -> None:
        holding.gone = True
        for lease in list(holding.leases):
            self._end(lease, now_us)

    def _end(self, lease: Lease, now_us: int) -> None:
        del self._leases[lease.lease_id]
        lease.holding.remove(lease)
        self._count_unused(lease.unused, expired=lease.expires_us <= now_us)
        self._returns.add(Returned(lease.lease_id, lease.used))

    def _count_unused(self, tokens: int, *, expired: bool) -> None:
        if expired:
            self._counters.expired += tokens
        else:
            self._counters.returned += tokens


def _pause_us(verdict: Verdict) -> int:
    """Returns how long a key wishes nothing after an answer without tokens: until something may have changed, at most 1 s."""
    waits = [limit.reset_us for limit in verdict.limits] if verdict.allowed else [verdict.retry_after_us]
    return min([MAX_PAUSE_US, *(wait for wait in waits if wait > 0)])
