"""A pure model of a service with one limit, for simulations of the lease machine.

It does what the contract promises of leases: a grant is min(wished, room // (4 x live lessees)) and debited at once, a window's
lease ends with the window, a bucket's debt never drains below the tokens that are out, and unused tokens are credited to the
instance that was debited. Times are microseconds; nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from usageflow.client._core.lease import Grant, Returned
from usageflow.client._core.leases import Answer, Check
from usageflow.client._core.verdict import LimitView, Verdict
from usageflow.v1 import common_pb2 as common

SECOND = 1_000_000


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
        out = self.out.get(item.lease_id)
        if out is None:
            return
        del self.out[item.lease_id]
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


def ideal(model: Model, arrived: list[int]) -> list[int]:
    """Returns which of the requests a limit without leases and delays admits."""
    admitted = []
    for at_us in arrived:
        model.now(at_us)
        if model.room >= 1:
            model.take(1)
            admitted.append(at_us)
    return admitted
