"""The pure part of a decision: what to take before the store is asked, and what its answer means.

prepare() ends in an Answer where the counters have no say, or in a Pending with the take to make; conclude() reads what the
store answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from decision.guarding import guard_message, guard_takes, shown
from decision.leasing import lease_life_us
from decision.overriding import Overriding
from decision.resolving import Resolver, applying, found, matching
from decision.terms import PolicyTerms
from usageflow.domain.decisions import (
    Answer,
    Degraded,
    LeaseGrant,
    LimitOutcome,
    Question,
    Reason,
    ReservationGrant,
    ShadowOutcome,
)
from usageflow.domain.identity import CompiledStrategy, Identity
from usageflow.domain.policies import Algorithm, FailMode, OnMissing, strictest
from usageflow.domain.snapshot import CompiledLimit, CompiledPolicy, Snapshot, blocking
from usageflow.storage.counters import LimitTake, Take, Taken


@dataclass(frozen=True, slots=True)
class Pending:
    """A decision that waits for the counters. ``limits`` and ``take.limits`` go together, one to one, and so do ``shadows``
    and ``take.shadows``. ``until_us`` is the instant at which an override that it rests on expires; None: none does.
    """

    base: Answer
    limits: tuple[CompiledLimit, ...]
    take: Take
    shadows: tuple[CompiledPolicy, ...] = ()
    hold_us: int = 0
    refund_on_expiry: bool = False
    lease_tokens: int = 0
    lease_life_us: int = 0
    application_id: str = ""
    plain: bool = False
    """True where the take can be made as it is: nothing of it depends on the time or needs an id, nothing shadows it, and
    all limits are shown.
    """
    until_us: int | None = None

    @property
    def fail_mode(self) -> FailMode:
        """Returns what decides where the counters do not answer: CLOSED beats LOCAL beats OPEN."""
        counting = {limit.policy for limit in self.limits}  # a policy that skips this caller has no say
        return strictest(policy.policy.fail_mode for policy in self.base.policies if policy.name in counting)

    @property
    def takes_slots(self) -> bool:
        """Tells whether a limit counts what is in flight, so that the request needs a name."""
        every = (item for limits in (self.take.limits, *self.take.shadows) for item in limits)
        return any(item.rule.algorithm is Algorithm.CONCURRENCY and not item.member for item in every)


def prepare(snapshot: Snapshot, question: Question, *, now_us: int) -> Answer | Pending:
    """Returns the answer where no counter has a say, else what to take. Overrides count as they do at ``now_us``, which is also
    what expressions see.
    """
    resolver = Resolver(snapshot, question, now_us)
    return _with_terms(_prepared(snapshot, question, resolver, Overriding(snapshot, now_us)), resolver.terms)


def _with_terms(found: Answer | Pending, terms: PolicyTerms) -> Answer | Pending:
    """Returns the same with what is to be told of expressions."""
    if not terms.failures and not terms.timed:
        return found
    if isinstance(found, Answer):
        return replace(found, failures=terms.failures, timed=terms.timed)
    return replace(found, base=replace(found.base, failures=terms.failures, timed=terms.timed))


def _prepared(
    snapshot: Snapshot, question: Question, resolver: Resolver, overriding: Overriding
) -> Answer | Pending:
    refused = _blocked(snapshot, question, resolver)
    if refused is not None:
        return refused
    matched = matching(snapshot, question)
    enforced, shadows = applying(resolver.terms.applicable(matched), resolver.side)
    if not enforced and not shadows:
        return Answer(allowed=True, reason=Reason.NO_POLICY, revision=snapshot.revision)
    base = _base(snapshot, enforced, resolver)
    if not base.allowed:
        return base
    if base.identity is None:
        base = replace(base, identity=_left_out_identity(shadows, resolver))
    limits = (
        *guard_takes(enforced, question, resolver.identity),
        *_limits(enforced, question, resolver, overriding),
    )
    below = tuple(_takes(_limits((item,), question, resolver, overriding)) for item in shadows)
    if not limits and not any(below):
        return base
    take = Take(_takes(limits), shadows=below)
    held_us = question.hold_us if limits else 0
    life_us = overriding.capped(lease_life_us(matched, enforced, shadows, question))
    plain = not (held_us or life_us or shadows) and all(_is_plain(limit) for limit, _ in limits)
    return Pending(
        base,
        limits=tuple(limit for limit, _ in limits),
        take=take,
        shadows=shadows,
        hold_us=held_us,
        refund_on_expiry=question.refund_on_expiry,
        lease_tokens=question.lease_tokens,
        lease_life_us=life_us,
        application_id=snapshot.application_id,
        plain=plain,
        until_us=overriding.until_us,
    )


def _is_plain(limit: CompiledLimit) -> bool:
    rule = limit.rule
    return rule.calendar is None and rule.algorithm is not Algorithm.CONCURRENCY and not limit.guard


def _blocked(snapshot: Snapshot, question: Question, resolver: Resolver) -> Answer | None:
    blocks = () if snapshot.blocks.is_empty else found(snapshot.blocks, question)
    if not blocks:
        return None
    needs_identity = any(block.identity_hash for block in blocks)
    block = blocking(blocks, resolver.hashes() if needs_identity else frozenset())
    if block is None:
        return None
    identity = _first_identity(snapshot.strategies, resolver) if needs_identity else None
    return Answer(
        allowed=False,
        reason=Reason.BLOCKED,
        revision=snapshot.revision,
        identity=identity,
        message=block.reason,
    )


def _first_identity(strategies: Iterable[CompiledStrategy], resolver: Resolver) -> Identity | None:
    found = (resolver.identity(strategy) for strategy in strategies)
    return next((item for item in found if item is not None and not item.anonymous), None)


def _base(snapshot: Snapshot, enforced: tuple[CompiledPolicy, ...], resolver: Resolver) -> Answer:
    """Returns the answer as far as identities tell: allowed, unless a strategy requires what is missing."""
    identity: Identity | None = None
    for policy in enforced:
        if policy.strategy is None:
            continue
        found = resolver.identity(policy.strategy)
        if found is None and policy.strategy.on_missing is OnMissing.DENY:
            return Answer(
                allowed=False,
                reason=Reason.IDENTITY_REQUIRED,
                revision=snapshot.revision,
                policies=enforced,
                message=policy.policy.message,
                decided_by=policy,
            )
        identity = identity or found
    return Answer(
        allowed=True,
        reason=Reason.WITHIN_LIMITS if enforced else Reason.NO_POLICY,
        revision=snapshot.revision,
        identity=identity,
        policies=enforced,
        decided_by=enforced[0] if enforced else None,
    )


def _left_out_identity(shadows: Iterable[CompiledPolicy], resolver: Resolver) -> Identity | None:
    """Returns who is asking where ``enforce_percent`` leaves them out: their usage is theirs all the same."""
    left_out = (item for item in shadows if item.policy.enforce_percent < 100)
    found = (resolver.identity(item.strategy) for item in left_out if item.strategy is not None)
    return next((identity for identity in found if identity is not None), None)


def _limits(
    policies: Iterable[CompiledPolicy], question: Question, resolver: Resolver, overriding: Overriding
) -> Iterable[tuple[CompiledLimit, LimitTake]]:
    for policy in policies:
        identity = resolver.identity(policy.strategy) if policy.strategy is not None else None
        if policy.strategy is not None and identity is None:
            continue  # on_missing SKIP (or a shadow policy that would ask for one): nobody to count for
        cost = question.cost or (resolver.terms.cost(policy) if policy.limits else 0)
        for limit in overriding.effective(policy.limits, identity):
            key = limit.key(identity.key if identity else "", question.endpoint)
            taken = 1 if limit.rule.algorithm is Algorithm.CONCURRENCY else cost
            yield limit, LimitTake(key, limit.rule, taken)


def _takes(limits: Iterable[tuple[CompiledLimit, LimitTake]]) -> tuple[LimitTake, ...]:
    return tuple(take for _, take in limits)


def conclude(pending: Pending, taken: Taken, now_us: int) -> Answer:
    """Returns the answer that the counters gave, by ``now_us`` of the service's clock."""
    outcomes = outcomes_of(pending, taken)
    if taken.admitted:
        return replace(
            pending.base,
            limits=shown(outcomes),
            shadow=_shadow_outcomes(pending, taken.shadows),
            reservation=_reservation(pending.take, now_us),
            slot_id=own_id(pending.take.slot_id),
            lease=_lease(pending.take, taken),
        )
    exceeded = [outcome for outcome in outcomes if outcome.exceeded]
    permanent = any(outcome.standing.wait_us is None for outcome in exceeded)
    owner = _owner(pending.base.policies, exceeded[0])
    return replace(
        pending.base,
        allowed=False,
        reason=_denial(exceeded, permanent=permanent),
        limits=shown(outcomes),
        retry_after_us=None if permanent else max(outcome.standing.wait_us or 0 for outcome in exceeded),
        message=guard_message(exceeded) or owner.policy.message,
        decided_by=owner,
    )


def outcomes_of(pending: Pending, taken: Taken) -> tuple[LimitOutcome, ...]:
    """Returns where each limit stands."""
    return tuple(
        LimitOutcome(limit, standing, take.cost)
        for limit, standing, take in zip(pending.limits, taken.standings, pending.take.limits, strict=True)
    )


def _owner(policies: Sequence[CompiledPolicy], outcome: LimitOutcome) -> CompiledPolicy:
    return next(policy for policy in policies if policy.name == outcome.limit.policy)


def _denial(exceeded: Sequence[LimitOutcome], *, permanent: bool) -> Reason:
    if permanent:
        return Reason.COST_ABOVE_LIMIT
    busy = all(
        outcome.limit.rule.algorithm is Algorithm.CONCURRENCY and not outcome.limit.guard
        for outcome in exceeded
    )
    return Reason.CONCURRENCY_EXCEEDED if busy else Reason.LIMIT_EXCEEDED


def _reservation(take: Take, now_us: int) -> ReservationGrant | None:
    reserve = take.reserve
    if reserve is None:
        return None
    amount = max(item.cost for item in take.limits)
    return ReservationGrant(own_id(reserve.reservation_id), amount, now_us + reserve.life_us)


def _lease(take: Take, taken: Taken) -> LeaseGrant | None:
    if take.lease is None or not taken.tokens:
        return None
    return LeaseGrant(own_id(take.lease.lease_id), taken.tokens, taken.life_us)


def own_id(stored: str) -> str:
    """Returns the part of a hold's or slot's id that its application sees."""
    return stored.rpartition("|")[2]


def _shadow_outcomes(pending: Pending, taken: Sequence[Taken]) -> tuple[ShadowOutcome, ...]:
    """Returns what each shadow policy would have done."""
    return tuple(
        ShadowOutcome(
            policy,
            tuple(
                limit.name
                for limit, standing in zip(policy.limits, result.standings, strict=False)
                if standing.wait_us != 0
            ),
        )
        for policy, result in zip(pending.shadows, taken, strict=True)
    )


def failed(pending: Pending, degraded: Degraded) -> Answer:
    """Returns the answer of fail mode OPEN or CLOSED."""
    allowed = degraded.fail_mode is not FailMode.CLOSED
    return replace(pending.base, allowed=allowed, reason=Reason.FAIL_MODE, degraded=degraded)
