"""What the expressions of policies come to for one request: each is evaluated at most once. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from usageflow.domain.decisions import Question, TermFailure
from usageflow.domain.expressions import EvaluationFailed, Facts, Term, Value
from usageflow.domain.identity import PATH_PARAMETER, Attributes, CompiledStrategy, Identity
from usageflow.domain.policies import MAX_UNITS
from usageflow.domain.routes import parameters_of
from usageflow.domain.snapshot import CompiledPolicy
from usageflow.domain.templates import UNMATCHED, segments_of
from usageflow.domain.usage import EndpointName

FALLBACK_COST = 1
"""What a request costs whose expression yields no number of units."""


class PolicyTerms:
    """Conditions and costs for one request. ``identity`` resolves a strategy; it is asked only where an expression reads
    who is asking, which is then who that policy's own strategy finds.
    """

    def __init__(
        self, question: Question, now_us: int, identity: Callable[[CompiledStrategy], Identity | None]
    ) -> None:
        self._question = question
        self._now_us = now_us
        self._identity = identity
        self._facts: dict[str, Facts] = {}
        self._values: dict[tuple[Term, str], Value | EvaluationFailed] = {}
        self._failures: dict[tuple[str, str], TermFailure] = {}
        self.timed = False
        """True as soon as an expression that reads the time was evaluated: the same question may end otherwise later."""

    @property
    def failures(self) -> tuple[TermFailure, ...]:
        """Returns what could not be evaluated so far."""
        return tuple(self._failures.values())

    def condition(self, policy: CompiledPolicy) -> Value | EvaluationFailed:
        """Returns whether a policy's condition holds, True without one, or why that is not known."""
        return True if policy.condition is None else self._value(policy.condition, policy)

    def applicable(self, policies: Iterable[CompiledPolicy]) -> Iterator[CompiledPolicy]:
        """Yields the policies whose condition is not false, one by one. Where it cannot be evaluated the policy applies,
        but its ``stop``, which would spare other limits, does not.
        """
        for policy in policies:
            if policy.condition is None:
                yield policy
                continue
            found = self._value(policy.condition, policy)
            if isinstance(found, EvaluationFailed):
                self._fail(policy, "condition", found.message)
                yield policy.not_stopping
            elif found:
                yield policy

    def cost(self, policy: CompiledPolicy) -> int:
        """Returns what a request costs by the policy: doubles are rounded up; 1 for what is no number of 0 to 1e12 units."""
        if policy.cost is None:
            return policy.policy.cost
        found = self._value(policy.cost, policy)
        if isinstance(found, EvaluationFailed):
            self._fail(policy, "cost", found.message)
            return FALLBACK_COST
        if not 0 <= found <= MAX_UNITS:  # false for NaN as well
            self._fail(policy, "cost", f"it yields {found}, not 0 to {MAX_UNITS:,}")
            return FALLBACK_COST
        return math.ceil(found)

    def _value(self, term: Term, policy: CompiledPolicy) -> Value | EvaluationFailed:
        strategy = policy.strategy if term.reads.identity else None
        key = (term, strategy.name if strategy is not None else "")
        if key not in self._values:
            self.timed = self.timed or term.reads.time
            self._values[key] = term.evaluate(self._facts_for(strategy))
        return self._values[key]

    def _facts_for(self, strategy: CompiledStrategy | None) -> Facts:
        name = strategy.name if strategy is not None else ""
        if name not in self._facts:
            question = self._question
            self._facts[name] = Facts(
                endpoint=question.endpoint,
                attributes=question.attributes,
                raw_path=question.target if isinstance(question.target, str) else None,
                time_us=self._now_us,
                identity=self._identity(strategy) if strategy is not None else None,
            )
        return self._facts[name]

    def _fail(self, policy: CompiledPolicy, field: str, message: str) -> None:
        self._failures[policy.name, field] = TermFailure(policy.name, field, message)


def held(
    policies: Sequence[CompiledPolicy], endpoint: EndpointName, path: str, *, routed: bool, named: str
) -> Sequence[CompiledPolicy]:
    """Returns the policies whose condition held for a reported request, as far as a report tells.

    A condition that reads no more than method, route and the route's values is evaluated, where these are known. Any other
    held for the policy that decided (``named``), and nothing is known of the rest, which count as if it had not.
    """
    if not any(policy.condition is not None for policy in policies):
        return policies
    facts, complete = _reported_facts(endpoint, path, routed=routed)
    return [policy for policy in policies if _held(policy, facts, complete=complete, named=named)]


def _held(policy: CompiledPolicy, facts: Facts, *, complete: bool, named: str) -> bool:
    term = policy.condition
    if term is None:
        return True
    if not term.reads.route_only or (term.reads.values and not complete):
        return policy.name == named
    return term.evaluate(facts) is not False


def _reported_facts(endpoint: EndpointName, path: str, *, routed: bool) -> tuple[Facts, bool]:
    """Returns what a report tells of the request, and whether that includes all values of the route."""
    raw = path if path.startswith("/") else ""
    template = endpoint.template
    names = (
        frozenset() if template == UNMATCHED else {n for item in segments_of(template) for n in item.names}
    )
    values = parameters_of(template, raw) if names else {}
    attributes = Attributes.of(((PATH_PARAMETER, name), value) for name, value in values.items())
    facts = Facts(endpoint, attributes, raw_path=None if routed else raw)
    return facts, (routed or bool(raw)) and names <= values.keys()
