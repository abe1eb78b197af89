"""The expressions of policies: condition, cost and metering."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from usageflow.domain.errors import Fault
from usageflow.domain.expressions import ExpressionCheck, Reads, ResultType
from usageflow.domain.identity import AttributeKey, attribute_key, is_sensitive
from usageflow.domain.policies import DEFAULT_EXPRESSION, Policy, PolicySet, Strategy
from usageflow.domain.sources import Location

_RAW = frozenset({None, Location.PATH, Location.JWT, Location.CLIENT_IP})
"""Never hashed by clients."""


def expressions_of(policy: Policy) -> Iterator[tuple[str, str, ResultType]]:
    """Yields field, text and type of each expression."""
    if policy.condition:
        yield "condition", policy.condition, ResultType.BOOL
    if policy.cost_expression:
        yield "cost", policy.cost_expression, ResultType.NUMBER
    if policy.metering is not None and policy.metering.expression != DEFAULT_EXPRESSION:
        yield "metering.expression", policy.metering.expression, ResultType.UNITS


def term_faults(
    policy: Policy, check: ExpressionCheck, hashed: frozenset[AttributeKey] = frozenset()
) -> Iterator[Fault]:
    """Yields what is wrong with a policy's expressions. ``hashed`` are the attributes that clients send as hashes."""
    if policy.cost_expression and policy.cost != 1:
        yield Fault("cost", "there is a number and an expression", "keep one of them")
    for field, text, result in expressions_of(policy):
        found = check(text, result)
        if isinstance(found, Fault):
            yield found.under(field) if found.field else Fault(field, found.message, found.fix, found.reason)
        elif result is not ResultType.UNITS:  # these read what was captured, never hashes
            yield from _hashed_faults(field, found, hashed)


def _hashed_faults(field: str, reads: Reads, hashed: frozenset[AttributeKey]) -> Iterator[Fault]:
    for key, place in reads.places.items():
        if key in hashed:
            message = f"{key[0]} {key[1]} is sensitive in a strategy, so it arrives as a hash ({place})"
            yield Fault(
                field, message, "compare identity.value, or send what the policy needs as app_context"
            )


def hashed_attributes(strategies: Iterable[Strategy]) -> frozenset[AttributeKey]:
    """Returns the attributes that clients send as keyed hashes, because a strategy calls them sensitive."""
    parts = (part for strategy in strategies for source in strategy.sources for part in source.parts)
    return frozenset(
        attribute_key(part.location or Location.HEADER, part.name)
        for part in parts
        if part.location not in _RAW and is_sensitive(part)
    )


def term_attributes(policies: PolicySet, check: ExpressionCheck) -> Iterator[AttributeKey]:
    """Yields the attributes that conditions and costs read; keys may repeat."""
    for policy in policies.policies:
        for _, text, result in expressions_of(policy):
            found = check(text, result) if result is not ResultType.UNITS else None
            if isinstance(found, Reads):
                yield from found.attributes
