"""The question and the answer of a decision, free of transport and store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from usageflow.domain.identity import Attributes, Identity
from usageflow.domain.limits import Standing
from usageflow.domain.matching import MatchTarget
from usageflow.domain.policies import Algorithm, FailMode
from usageflow.domain.snapshot import CompiledLimit, CompiledPolicy
from usageflow.domain.usage import EndpointName


class Reason(StrEnum):
    """Why a decision is what it is; the names are those of the contract."""

    WITHIN_LIMITS = "WITHIN_LIMITS"
    NO_POLICY = "NO_POLICY"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    COST_ABOVE_LIMIT = "COST_ABOVE_LIMIT"
    BLOCKED = "BLOCKED"
    IDENTITY_REQUIRED = "IDENTITY_REQUIRED"
    CONCURRENCY_EXCEEDED = "CONCURRENCY_EXCEEDED"
    FAIL_MODE = "FAIL_MODE"


class DegradedReason(StrEnum):
    """Why a decision was not made normally."""

    STORE_TIMEOUT = "STORE_TIMEOUT"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    OVERLOADED = "OVERLOADED"


@dataclass(frozen=True, slots=True)
class Question:
    """One request. ``target`` is what is matched: the route with its values, or a raw path where there is no route.

    ``cost`` 0 means what each policy says. ``hold_us`` above 0 asks for a reservation, ``lease_tokens`` above 0 for so many
    further requests ahead, for ``lease_life_us``.
    """

    endpoint: EndpointName
    target: MatchTarget | str
    attributes: Attributes
    cost: int = 0
    hold_us: int = 0
    refund_on_expiry: bool = False
    lease_tokens: int = 0
    lease_life_us: int = 0


@dataclass(frozen=True, slots=True)
class LimitOutcome:
    """Where a limit stands after the decision; ``exceeded`` where it has no room for ``cost``."""

    limit: CompiledLimit
    standing: Standing
    cost: int

    @property
    def exceeded(self) -> bool:
        """Tells whether the cost does not fit."""
        return self.standing.wait_us != 0

    @property
    def window_us(self) -> int:
        """Length of the window: of the present one where windows follow a calendar."""
        return self.standing.window_us or self.limit.rule.window_us

    @property
    def reset_us(self) -> int:
        """Time until this cost fits where it does not, else until the window ends or the bucket is full."""
        return self.standing.wait_us or self.standing.reset_us


@dataclass(frozen=True, slots=True)
class ShadowOutcome:
    """What a policy in SHADOW would have done; ``limits`` are those without room."""

    policy: CompiledPolicy
    limits: tuple[str, ...]

    @property
    def would_deny(self) -> bool:
        """Tells whether it would have denied."""
        return bool(self.limits)


@dataclass(frozen=True, slots=True)
class Degraded:
    """A decision that a fail mode made."""

    reason: DegradedReason
    fail_mode: FailMode


@dataclass(frozen=True, slots=True)
class TermFailure:
    """A policy's expression (``condition`` or ``cost``) that could not be evaluated, and why."""

    policy: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class ReservationGrant:
    """Units held until ``expires_us``, Unix time."""

    reservation_id: str
    amount: int
    expires_us: int


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """Further requests that were paid for ahead, for ``life_us`` from when the caller sent its request."""

    lease_id: str
    tokens: int
    life_us: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision. ``retry_after_us`` is set on a denial that passes."""

    allowed: bool
    reason: Reason
    revision: int
    identity: Identity | None = None
    policies: tuple[CompiledPolicy, ...] = ()
    limits: tuple[LimitOutcome, ...] = ()
    retry_after_us: int | None = None
    shadow: tuple[ShadowOutcome, ...] = ()
    degraded: Degraded | None = None
    message: str = ""
    decided_by: CompiledPolicy | None = None
    reservation: ReservationGrant | None = None
    slot_id: str = ""
    lease: LeaseGrant | None = None
    failures: tuple[TermFailure, ...] = ()
    timed: bool = False
    """True where an expression read the time, so that the same question may end otherwise later."""

    @property
    def repeatable(self) -> bool:
        """Tells whether clients may repeat a denial for a while: not where each denied request has to be charged, nor where a
        slot may become free at any moment, nor where a guard denied, since the next one may come from elsewhere.
        """
        fickle = any(
            outcome.limit.rule.charge_denied
            or (outcome.exceeded and outcome.limit.rule.algorithm is Algorithm.CONCURRENCY)
            or (outcome.exceeded and outcome.limit.guard)
            for outcome in self.limits
        )
        return bool(self.retry_after_us) and self.degraded is None and not fickle
