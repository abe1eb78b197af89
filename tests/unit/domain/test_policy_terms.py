from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.fakes import limit, policy, snapshot, strategy
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.policies import Policy, PolicySet
from usageflow.domain.validation import ensure_valid, validate
from usageflow.expressions import check


def faults(*policies: Policy, **fields: Any) -> list[tuple[str, str]]:
    found = validate(PolicySet(policies=policies, **fields), check=check)
    assert all(fault.fix for fault in found)
    return [(fault.field, fault.message) for fault in found]


def test_a_cost_is_a_number_or_an_expression() -> None:
    assert (policy(cost=5).cost, policy(cost=5).cost_expression) == (5, "")
    made = policy(cost="size(request.path)")
    assert (made.cost, made.cost_expression) == (1, "size(request.path)")
    assert Policy.model_validate_json(made.model_dump_json()) == made
    for bad in ("", 0, 1.5, True):
        with pytest.raises(ValidationError):
            policy(cost=bad)


def test_good_expressions_have_no_fault_and_bad_ones_say_where() -> None:
    assert faults(policy(condition="request.method == 'GET'", cost="request.body.n")) == []
    bad = policy("q", condition="request.method", cost="nobody")
    assert faults(policy(), bad) == [
        ("policies[1].condition", "it yields string, not true or false (line 1, column 1)"),
        ("policies[1].cost", "there is no 'nobody' (line 1, column 1)"),
    ]


def test_a_number_and_an_expression_are_one_too_many() -> None:
    assert faults(policy(cost=5, cost_expression="1")) == [
        ("policies[0].cost", "there is a number and an expression")
    ]


def test_an_expression_is_not_compared_with_limits() -> None:
    assert faults(policy(limits=[limit(2, scope="SHARED")], cost="5")) == []


def test_what_a_strategy_calls_sensitive_arrives_as_a_hash() -> None:
    sources = [
        {"in": "header", "name": "X-Tier", "sensitive": True},
        {"in": "path", "name": "id", "sensitive": True},
    ]
    declared = (strategy("s", sources=sources),)
    reads = policy(condition="request.path_parameters.id == '1' && request.headers['x-tier'] == 'gold'")
    assert faults(reads, strategies=declared) == [
        (
            "policies[0].condition",
            "header x-tier is sensitive in a strategy, so it arrives as a hash (line 1, column 38)",
        )
    ]


def test_without_a_language_every_expression_is_refused() -> None:
    ensure_valid(PolicySet(policies=(policy(),)))
    with pytest.raises(InvalidArgument, match="cannot be checked here"):
        ensure_valid(PolicySet(policies=(policy(condition="true"),)))


@pytest.mark.parametrize(
    ("fields", "leasable", "asks"),
    [
        ({}, True, False),
        ({"condition": "request.method == 'GET'"}, True, False),
        ({"condition": "request.path == '/a'"}, True, False),
        ({"condition": "request.headers.a == '1'"}, True, True),
        ({"condition": "identity.anonymous"}, True, True),
        ({"condition": "request.body.a == 1"}, False, True),
        ({"condition": "request.time.getHours() == 1"}, False, True),
        ({"cost": "2"}, False, False),
    ],
)
def test_a_compiled_policy_tells_what_its_expressions_ask_for(
    fields: dict[str, object], leasable: bool, asks: bool
) -> None:
    (compiled,) = snapshot(policy(**fields)).policies  # type: ignore[arg-type]
    assert (compiled.leasable_terms, compiled.asks) == (leasable, asks)


def test_both_sides_of_a_policy_have_its_expressions() -> None:
    (compiled,) = snapshot(policy(condition="true", cost="2", enforce_percent=50, stop=True)).policies
    assert compiled.shadow is not None
    assert compiled.shadow.terms == compiled.terms
    assert len(compiled.terms) == 2
    assert not compiled.not_stopping.policy.stop
    assert compiled.not_stopping.shadow is not None
    assert not compiled.not_stopping.shadow.policy.stop
