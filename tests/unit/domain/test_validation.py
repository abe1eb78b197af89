from __future__ import annotations

import pytest

from tests.unit.fakes import limit, metering, policy, strategy
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.policies import Block, Metering, Policy, PolicySet, Strategy
from usageflow.domain.validation import ensure_valid, validate


def faults(
    *policies: Policy, strategies: tuple[Strategy, ...] = (), blocks: tuple[Block, ...] = ()
) -> list[str]:
    found = validate(PolicySet(strategies=strategies, policies=policies), blocks)
    assert all(fault.message and fault.fix for fault in found)
    return [fault.field for fault in found]


def test_a_good_set_has_no_fault() -> None:
    good = policy(
        "p",
        "/a/:id",
        limits=[limit(5, name="a"), limit(9, name="b")],
        strategy="by-user",
        metering=metering(),
    )
    assert (
        faults(good, policy("q"), strategies=(strategy(),), blocks=(Block(path="/a"), Block(path="/b"))) == []
    )
    ensure_valid(PolicySet())


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (policy(path="a"), "match.path"),
        (policy(path="/a//b"), "match.path"),
        (policy(methods=["*", "GET"]), "match.methods"),
        (policy(methods=["G T"]), "match.methods"),
        (policy(strategy="nobody"), "strategy"),
        (policy(limits=[limit(1, scope="SHARED"), limit(2, scope="SHARED")]), "limits[1].name"),
        (policy(limits=[limit(1)]), "limits[0].scope"),
        (policy(limits=[limit(1, burst=2, scope="SHARED")]), "limits[0].burst"),
        (policy(limits=[limit(4, scope="SHARED")], cost=5), "limits[0].limit"),
        (
            policy(limits=[limit(9, algorithm="TOKEN_BUCKET", burst=4, scope="SHARED")], cost=5),
            "limits[0].limit",
        ),
        (policy(metering=Metering(price="price_1", expression="usage_record")), "metering.expression"),
    ],
)
def test_a_fault_is_named_by_its_path(bad: Policy, field: str) -> None:
    assert faults(policy("good"), bad) == [f"policies[1].{field}"]


def test_a_bucket_with_a_burst_as_large_as_the_cost_is_fine() -> None:
    assert faults(policy(limits=[limit(4, algorithm="TOKEN_BUCKET", burst=5, scope="SHARED")], cost=5)) == []


def test_names_are_unique_per_kind() -> None:
    assert faults(policy("a"), policy("b"), policy("a"), strategies=(strategy("a"), strategy("a"))) == [
        "strategies[1].name",
        "policies[2].name",
    ]


def test_blocks_are_unique_whatever_the_order_and_case_of_their_methods() -> None:
    blocks = (
        Block(methods=("GET", "PUT"), path="/a"),
        Block(methods=("put", "GET"), path="/a"),
        Block(methods=("GET", "PUT"), path="/a", identity="u"),
    )
    assert faults(blocks=blocks) == ["blocks[1]"]


def test_skip_has_to_be_meant() -> None:
    assert faults(strategies=(strategy(on_missing="SKIP"),)) == ["strategies[0].on_missing"]
    assert faults(strategies=(strategy(on_missing="SKIP", allow_unlimited=True),)) == []


def test_an_unknown_strategy_names_those_that_there_are() -> None:
    (fault,) = validate(
        PolicySet(strategies=(strategy("b"), strategy("a")), policies=(policy(strategy="c"),))
    )
    assert (fault.reason, fault.fix) == ("UNKNOWN_STRATEGY", "use one of a, b")


def test_all_faults_are_raised_together() -> None:
    bad = PolicySet(
        policies=(policy(path="a", strategy="nobody", limits=[limit(1, burst=2, scope="SHARED")]),)
    )
    with pytest.raises(InvalidArgument) as error:
        ensure_valid(bad, [Block(path="b")])
    assert [fault.field for fault in error.value.faults] == [
        "policies[0].match.path",
        "policies[0].strategy",
        "policies[0].limits[0].burst",
        "blocks[0].path",
    ]


def test_a_fault_stands_below_its_parent() -> None:
    assert Fault("name", "m", "f").under("a[0]").field == "a[0].name"
    assert Fault("", "m", "f").under("a[0]").field == "a[0]"
