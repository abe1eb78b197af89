"""Which requests may be paid for ahead, and for how long. Pure.

Leased requests are not seen one by one, so whatever has to look at each of them (what is in flight, an estimate of a sliding
window, a shadow that only tells, an address under guard, an expression over time or body) is not leased.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from usageflow.domain.decisions import Question
from usageflow.domain.policies import Algorithm
from usageflow.domain.snapshot import CompiledPolicy

BUCKET_LIFE_US = 1_000_000
"""The longest life of tokens from a bucket: it does not refill beside them."""

WINDOW_LIFE_US = 10_000_000
"""The longest life of tokens from windows: whoever sends a request every few seconds profits too."""

_LEASED = {Algorithm.FIXED_WINDOW: WINDOW_LIFE_US, Algorithm.TOKEN_BUCKET: BUCKET_LIFE_US}


def longest_life_us(policies: Iterable[CompiledPolicy]) -> int:
    """Returns how long tokens for requests under all of these policies may live; 0 where they may not be leased. Never longer than a
    window: a client wishes the demand of a life, and what a window grants for the next one is lost.
    """
    life_us = 0
    for policy in policies:
        if not _may_be_leased(policy):
            return 0
        for limit in policy.limits:
            longest = min(_LEASED.get(limit.rule.algorithm, 0), limit.rule.window_us)
            if not longest:
                return 0
            life_us = min(life_us or longest, longest)
    return life_us


def _may_be_leased(policy: CompiledPolicy) -> bool:
    """Tells whether a policy, its limits aside, says the same of every request of one key."""
    return policy.enforced and policy.shadow is None and not policy.guards and policy.leasable_terms


def lease_life_us(
    matched: Iterable[CompiledPolicy],
    enforced: Sequence[CompiledPolicy],
    shadows: Sequence[CompiledPolicy],
    question: Question,
) -> int:
    """Returns how long the tokens that a question asks for may live, 0 for none. ``matched`` are all policies that match: a
    condition that is false now may be true for the next request.
    """
    if question.lease_tokens <= 0 or question.lease_life_us <= 0 or question.hold_us or shadows:
        return 0
    if not all(policy.leasable_terms for policy in matched):
        return 0
    return min(question.lease_life_us, longest_life_us(enforced))
