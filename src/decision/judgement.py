"""The pure part of a decision: what to take before the store is asked, and what its answer means.

prepare() ends in an Answer where the counters have no say, or in a Pending with the take to make; conclude() and
shadow_outcomes() read what the store answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from decision.terms import PolicyTerms
from usageflow.domain.decisions import (
    Answer,
    Degraded,
    LimitOutcome,
    Question,
    Reason,
    ShadowOutcome,
    TermFailure,
)
from usageflow.domain.identity import CompiledStrategy, Identity, block_key
from usageflow.domain.matching import PatternTrie
from usageflow.domain.policies import FailMode, OnMissing, strictest
from usageflow.domain.snapshot import CompiledLimit, CompiledPolicy, Snapshot, blocking
from usageflow.storage.counters import LimitTake, Reserve, Take, Taken

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pending:
    """A decision that waits for the counters. ``limits`` and ``take.limits`` go together, one to one."""

    base: Answer
    limits: tuple[CompiledLimit, ...]
    take: Take
    shadows: tuple[tuple[CompiledPolicy, Take], ...]

    @property
    def fail_mode(self) -> FailMode:
        """Returns what decides where the counters do not answer: CLOSED beats LOCAL beats OPEN."""
        counting = {limit.policy for limit in self.limits}  # a policy that skips this caller has no say
        return strictest(policy.policy.fail_mode for policy in self.base.policies if policy.name in counting)


class _Resolver:
    """Resolves each strategy at most once per request."""

    def __init__(self, snapshot: Snapshot, question: Question, now_us: int = 0) -> None:
        self._snapshot = snapshot
        self._question = question
        self.terms = PolicyTerms(question, now_us, self.identity)
        self._known: dict[str, Identity | None] = {}

    def identity(self, strategy: CompiledStrategy) -> Identity | None:
        if strategy.name not in self._known:
            self._known[strategy.name] = strategy.resolve(self._question.attributes, self._snapshot.hash_key)
        return self._known[strategy.name]

    def side(self, policy: CompiledPolicy) -> CompiledPolicy:
        if policy.shadow is None:
            return policy
        identity = self.identity(policy.strategy) if policy.strategy is not None else None
        return policy.side(identity.key if identity else "")

    def hashes(self) -> frozenset[str]:
        """Returns the hashes of all identities that the application's strategies find, anonymous ones aside."""
        found = (self.identity(strategy) for strategy in self._snapshot.strategies)
        return frozenset(
            block_key(item.key, self._snapshot.hash_key)
            for item in found
            if item is not None and not item.anonymous
        )


def matching(snapshot: Snapshot, question: Question) -> tuple[CompiledPolicy, ...]:
    """Returns the policies that match, most specific first, limits of what `stop` leaves out still among them."""
    return _found(snapshot.trie, question)


def _found(trie: PatternTrie[T], question: Question) -> tuple[T, ...]:
    """Returns what a trie holds for a question: by its route with values, else by its raw path."""
    if isinstance(question.target, str):
        return trie.lookup_paths(question.endpoint.method, question.target)
    return trie.lookup(question.endpoint.method, question.target)


def sides(
    snapshot: Snapshot, question: Question, now_us: int
) -> tuple[PolicyTerms, Callable[[CompiledPolicy], CompiledPolicy]]:
    """Returns what the expressions of policies come to, and what tells of a policy how it holds for who is asking:
    enforced, or as its shadow.
    """
    resolver = _Resolver(snapshot, question, now_us)
    return resolver.terms, resolver.side


def applying(
    matched: Iterable[CompiledPolicy], side: Callable[[CompiledPolicy], CompiledPolicy]
) -> tuple[tuple[CompiledPolicy, ...], tuple[CompiledPolicy, ...]]:
    """Returns (enforced, shadow) policies up to the first enforced one that says stop."""
    enforced: list[CompiledPolicy] = []
    shadows: list[CompiledPolicy] = []
    for policy in map(side, matched):
        (enforced if policy.enforced else shadows).append(policy)
        if policy.enforced and policy.policy.stop:
            break
    return tuple(enforced), tuple(shadows)


def prepare(
    snapshot: Snapshot, question: Question, reserve: Reserve | None = None, now_us: int = 0
) -> Answer | Pending:
    """Returns the answer where no counter has a say, else what to take. ``now_us`` is what expressions see."""
    resolver = _Resolver(snapshot, question, now_us)
    return _with_failures(_prepared(snapshot, question, reserve, resolver), resolver.terms.failures)


def _with_failures(found: Answer | Pending, failures: tuple[TermFailure, ...]) -> Answer | Pending:
    if not failures:
        return found
    if isinstance(found, Answer):
        return replace(found, failures=failures)
    return replace(found, base=replace(found.base, failures=failures))


def _prepared(
    snapshot: Snapshot, question: Question, reserve: Reserve | None, resolver: _Resolver
) -> Answer | Pending:
    refused = _blocked(snapshot, question, resolver)
    if refused is not None:
        return refused
    enforced, shadows = applying(resolver.terms.applicable(matching(snapshot, question)), resolver.side)
    if not enforced and not shadows:
        return Answer(allowed=True, reason=Reason.NO_POLICY, revision=snapshot.revision)
    base = _base(snapshot, enforced, resolver)
    if not base.allowed:
        return base
    if base.identity is None:
        base = replace(base, identity=_left_out_identity(shadows, resolver))
    limits = tuple(_limits(enforced, question, resolver))
    held = tuple((item, _take(_limits((item,), question, resolver))) for item in shadows)
    if not limits and not any(take.limits for _, take in held):
        return base
    return Pending(base, tuple(limit for limit, _ in limits), _take(limits, reserve), held)


def _blocked(snapshot: Snapshot, question: Question, resolver: _Resolver) -> Answer | None:
    blocks = _found(snapshot.blocks, question)
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


def _first_identity(strategies: Iterable[CompiledStrategy], resolver: _Resolver) -> Identity | None:
    found = (resolver.identity(strategy) for strategy in strategies)
    return next((item for item in found if item is not None and not item.anonymous), None)


def _base(snapshot: Snapshot, enforced: tuple[CompiledPolicy, ...], resolver: _Resolver) -> Answer:
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


def _left_out_identity(shadows: Iterable[CompiledPolicy], resolver: _Resolver) -> Identity | None:
    """Returns who is asking where ``enforce_percent`` leaves them out: their usage is theirs all the same."""
    left_out = (item for item in shadows if item.policy.enforce_percent < 100)
    found = (resolver.identity(item.strategy) for item in left_out if item.strategy is not None)
    return next((identity for identity in found if identity is not None), None)


def _limits(
    policies: Iterable[CompiledPolicy], question: Question, resolver: _Resolver
) -> Iterable[tuple[CompiledLimit, LimitTake]]:
    for policy in policies:
        identity = resolver.identity(policy.strategy) if policy.strategy is not None else None
        if policy.strategy is not None and identity is None:
            continue  # on_missing SKIP (or a shadow policy that would ask for one): nobody to count for
        cost = question.cost or (resolver.terms.cost(policy) if policy.limits else 0)
        for limit in policy.limits:
            key = limit.key(identity.key if identity else "", question.endpoint)
            yield limit, LimitTake(key, limit.rule, cost)


def _take(limits: Iterable[tuple[CompiledLimit, LimitTake]], reserve: Reserve | None = None) -> Take:
    return Take(tuple(take for _, take in limits), reserve)


def conclude(pending: Pending, taken: Taken) -> Answer:
    """Returns the answer that the counters gave."""
    outcomes = outcomes_of(pending, taken)
    if taken.admitted:
        return replace(pending.base, limits=outcomes)
    exceeded = [outcome for outcome in outcomes if outcome.exceeded]
    permanent = any(outcome.standing.wait_us is None for outcome in exceeded)
    owner = _owner(pending.base.policies, exceeded[0])
    return replace(
        pending.base,
        allowed=False,
        reason=Reason.COST_ABOVE_LIMIT if permanent else Reason.LIMIT_EXCEEDED,
        limits=outcomes,
        retry_after_us=None if permanent else max(outcome.standing.wait_us or 0 for outcome in exceeded),
        message=owner.policy.message,
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


def shadow_outcomes(pending: Pending, taken: Sequence[Taken]) -> tuple[ShadowOutcome, ...]:
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
        for (policy, _), result in zip(pending.shadows, taken, strict=True)
    )


def failed(pending: Pending, degraded: Degraded) -> Answer:
    """Returns the answer of fail mode OPEN or CLOSED."""
    allowed = degraded.fail_mode is not FailMode.CLOSED
    return replace(pending.base, allowed=allowed, reason=Reason.FAIL_MODE, degraded=degraded)
