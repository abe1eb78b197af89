"""Leases, and what one key holds of them. A key is endpoint, attribute values and cost; a token pays for one such request."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias

from usageflow.client._core.demand import MAX_LIFE_US, counted, expected, sized
from usageflow.client._core.verdict import NOT_ASKED, Verdict
from usageflow.v1 import common_pb2 as common

Values: TypeAlias = tuple[str | bytes | None, ...]
"""Values of the attributes that the plan names for an endpoint, in its order: text, keyed hash, or None for absent."""
Key: TypeAlias = tuple[int, Values, int]
"""Endpoint number, values, cost asked."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """What a plan says of an endpoint that is checked."""

    number: int
    attributes: tuple[int, ...]
    """Numbers of the attributes that make the key."""
    life_us: int
    """Life to wish, at most 10 s; 0 where tokens may not be leased."""
    epoch: int = 0
    """Names everything that decides for the endpoint: leases of another epoch are void."""

    def __post_init__(self) -> None:
        if not 0 <= self.life_us <= MAX_LIFE_US:
            raise ValueError(f"life_us is {self.life_us}: wish a life of 0 to {MAX_LIFE_US} microseconds")

    def same_key(self, other: LeaseTerms | None) -> bool:
        """Tells whether leases of the other terms can go on under these."""
        return (
            other is not None
            and self.attributes == other.attributes
            and self.epoch == other.epoch
            and (self.life_us > 0) == (other.life_us > 0)
        )


class Wish(NamedTuple):
    """Tokens to ask for, and how long they would be used."""

    tokens: int
    life_us: int


class Grant(NamedTuple):
    """Tokens that the service granted; their life counts from when the check was sent."""

    lease_id: bytes
    tokens: int
    life_us: int


class Returned(NamedTuple):
    """A lease that has ended; its other tokens are to be credited."""

    lease_id: bytes
    used: int


class Lease:
    """A lease that lives."""

    __slots__ = ("expires_us", "holding", "lease_id", "tokens", "used")

    def __init__(self, grant: Grant, sent_us: int, holding: Holding) -> None:
        self.lease_id = grant.lease_id
        self.tokens = grant.tokens
        self.used = 0
        self.expires_us = sent_us + grant.life_us
        """From then on no token of it is used."""
        self.holding = holding

    @property
    def unused(self) -> int:
        """Tokens left."""
        return self.tokens - self.used


class Holding:
    """What is known of one key: its demand, its live leases, and the newest answer."""

    __slots__ = (
        "answered_us",
        "gone",
        "last_us",
        "leases",
        "paused_until_us",
        "payer",
        "renew_at_us",
        "renew_below",
        "sent_us",
        "unused",
        "verdict",
        "weight",
        "window_ends_us",
        "wishing",
    )

    def __init__(self, now_us: int) -> None:
        self.leases: list[Lease] = []
        """The one that expires first is first."""
        self.unused = 0
        """Tokens left in all of them."""
        self.weight = 0
        self.last_us = now_us
        self.wishing = False
        """True while a check with a wish is on its way: there is one at a time."""
        self.payer: Lease | None = None
        """The lease that paid for the request in whose name the renewal on its way asks."""
        self.paused_until_us = now_us
        self.renew_at_us = 0
        self.renew_below = 0
        self.verdict = NOT_ASKED
        self.sent_us = now_us
        self.answered_us = now_us
        self.window_ends_us = 0
        self.gone = False
        """True once it was evicted or its endpoint changed: answers that come later find nothing."""

    def seen(self, now_us: int, life_us: int) -> None:
        """Counts a request."""
        elapsed_us = now_us - self.last_us
        self.weight = counted(self.weight, elapsed_us, life_us)
        if elapsed_us > 0:
            self.last_us = now_us

    def spendable(self) -> Lease | None:
        """Returns the lease that expires first among those with tokens left."""
        for lease in self.leases:
            if lease.used < lease.tokens:
                return lease
        return None

    def wants_renewal(self, now_us: int) -> bool:
        """Tells whether half of the tokens are used, or half the life is over."""
        return self.unused <= self.renew_below or now_us >= self.renew_at_us

    def wish(self, now_us: int, life_us: int) -> Wish | None:
        """Returns what to wish: the demand of a life, or of what is left of the window, that held tokens will not meet."""
        if self.wishing or now_us < self.paused_until_us:
            return None
        demand = expected(self.weight)
        left_us = self.window_ends_us - now_us
        wished_us = min(life_us, left_us) if left_us > 0 else life_us
        meant = sized(_part(demand, wished_us, life_us), lost=left_us <= life_us)
        tokens = meant - self._usable(demand, now_us, life_us)
        return Wish(tokens, wished_us) if tokens > 0 else None

    def _usable(self, demand: int, now_us: int, life_us: int) -> int:
        """Returns how many of the held tokens will be used before they expire."""
        if not self.leases:
            return 0
        left_us = min(self.leases[-1].expires_us - now_us, life_us)
        return min(self.unused, _part(demand, left_us, life_us))

    def add(self, lease: Lease, sent_us: int, life_us: int) -> None:
        """Takes a granted lease up."""
        self.leases.append(lease)
        self.leases.sort(key=_EXPIRES)
        self.unused += lease.tokens
        self.renew_below = self.unused // 2
        self.renew_at_us = sent_us + life_us // 2

    def remove(self, lease: Lease) -> None:
        """Takes out a lease that has ended."""
        self.leases.remove(lease)
        self.unused -= lease.unused
        if self.payer is lease:
            self.payer = None

    def answered(self, verdict: Verdict, sent_us: int, now_us: int) -> None:
        """Keeps an answer for the headers of requests that tokens pay for, unless a newer one is there."""
        if sent_us >= self.sent_us:
            self.verdict, self.sent_us, self.answered_us = verdict, sent_us, now_us
            self.window_ends_us = now_us + _window_left_us(verdict)


_EXPIRES: Final = attrgetter("expires_us")


def _part(demand: int, part_us: int, life_us: int) -> int:
    """Returns the share of a life's demand that falls into a part of it, rounded up."""
    return -(-demand * part_us // life_us)


def _window_left_us(verdict: Verdict) -> int:
    """Returns the time until the first window ends; 0 where a bucket counts too, or no window does."""
    if any(limit.algorithm == common.ALGORITHM_TOKEN_BUCKET for limit in verdict.limits):
        return 0
    return min((limit.reset_us for limit in verdict.limits), default=0)
