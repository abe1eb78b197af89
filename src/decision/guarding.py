"""What guards of strategies take beside the limits of policies: per address, for identities that are merely claimed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from usageflow.domain.decisions import LimitOutcome, Question
from usageflow.domain.identity import CompiledStrategy, Identity, network_of
from usageflow.domain.policies import Algorithm
from usageflow.domain.snapshot import CompiledLimit, CompiledPolicy
from usageflow.storage.counters import LimitTake


def guard_takes(
    policies: Iterable[CompiledPolicy],
    question: Question,
    identity_of: Callable[[CompiledStrategy], Identity | None],
) -> Iterator[tuple[CompiledLimit, LimitTake]]:
    """Yields what guards of these policies take: each strategy's once, whose first policy owns the denial.

    Without an address all such callers share one, so that leaving it out frees nobody.
    """
    seen: set[str] = set()
    for policy in policies:
        if policy.strategy is None or not policy.guards or policy.strategy.name in seen:
            continue
        seen.add(policy.strategy.name)
        identity = identity_of(policy.strategy)
        if identity is None or identity.verified or identity.anonymous:
            continue
        address = network_of(question.attributes.client_ip)
        for limit in policy.guards:
            member = identity.key if limit.rule.algorithm is Algorithm.CONCURRENCY else ""
            yield limit, LimitTake(f"{limit.prefix}|{address}", limit.rule, 1, member=member, once=True)


def shown(outcomes: Iterable[LimitOutcome]) -> tuple[LimitOutcome, ...]:
    """Returns what callers see: every limit, and guards only where they deny."""
    return tuple(item for item in outcomes if item.exceeded or not item.limit.guard)


def guard_message(exceeded: Sequence[LimitOutcome]) -> str:
    """Returns what a denial says where guards are among the reasons, "" where they are not."""
    return next((item.limit.guard for item in exceeded if item.limit.guard), "")
