from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.handler import pack
from decision.plan import EndpointInstruction, build_plan
from decision.watching import Sent
from tests.unit.fakes import hashed_block, limit, plan, policy, snapshot, steady, strategy
from usageflow.domain.policies import Mode
from usageflow.domain.snapshot import Snapshot
from usageflow.domain.templates import UNMATCHED

ENDPOINTS = [("GET", "/a/{id}"), ("GET", "/b"), ("POST", "/b"), ("GET", UNMATCHED)]
BASE: dict[str, Any] = {
    "policies": [
        policy("a", "/a/*", limits=[limit(9)], strategy="by-user"),
        policy("b", "/b", limits=[limit(9)]),
    ],
    "strategies": [strategy("by-user"), strategy("by-key", "X-API-Key")],
}


def state_of(**changed: Any) -> Snapshot:
    fields = {**BASE, **changed}
    return snapshot(*fields.pop("policies"), endpoints=ENDPOINTS, **fields)


def epochs_of(state: Snapshot) -> dict[str, int]:
    return {
        f"{item.endpoint.method} {item.endpoint.template}": item.lease_epoch
        for item in build_plan(state).instructions.values()
    }


def moved(before: Snapshot, after: Snapshot) -> set[str]:
    old, new = epochs_of(before), epochs_of(after)
    return {name for name in old if old[name] != new[name]}


@pytest.mark.parametrize(
    ("changed", "endpoints"),
    [
        ({}, set()),
        ({"revision": 8, "plan_version": 99}, set()),
        ({"policies": [*BASE["policies"], policy("c", "/c", limits=[limit(1)])]}, set()),
        ({"policies": BASE["policies"][::-1]}, set()),
        (
            {"policies": [*BASE["policies"], policy("b2", "/b", ["POST"], [limit(5)], strategy="by-key")]},
            {"POST /b"},
        ),
        (
            {"policies": [policy("a", "/a/*", limits=[limit(8)], strategy="by-user"), BASE["policies"][1]]},
            {"GET /a/{id}"},
        ),
        ({"blocks": [hashed_block("/elsewhere")]}, set()),
        ({"blocks": [hashed_block("/b", methods=["POST"])]}, {"POST /b"}),
        ({"strategies": [strategy("by-user", "X-Other"), strategy("by-key", "X-API-Key")]}, {"GET /a/{id}"}),
        ({"strategies": [strategy("by-user"), strategy("by-key", "X-Key")]}, set()),
        ({"plans": [plan("pro", policy="b", limit_name="default", limit=99)]}, {"GET /b", "POST /b"}),
        (
            {"policies": [BASE["policies"][0], policy("b", "/b", limits=[limit(9)], condition="1 == 1")]},
            {"GET /b", "POST /b"},
        ),
    ],
)
def test_only_what_decides_for_an_endpoint_moves_its_epoch(
    changed: dict[str, Any], endpoints: set[str]
) -> None:
    assert moved(state_of(), state_of(**changed)) == endpoints


def test_a_block_that_moves_from_one_value_to_another_moves_the_epoch() -> None:
    before, after = (state_of(blocks=[hashed_block(path)]) for path in ("/a/1", "/a/2"))
    assert moved(before, after) == {"GET /a/{id}"}


def test_where_a_block_names_somebody_every_strategy_decides() -> None:
    blocks = [hashed_block("/b", "mallory")]
    changed = [strategy("by-user"), strategy("by-key", "X-Key")]
    assert moved(state_of(blocks=blocks), state_of(blocks=blocks, strategies=changed)) == {
        "GET /b",
        "POST /b",
    }


def test_epochs_are_the_same_everywhere() -> None:
    assert epochs_of(state_of())["GET /b"] == 3632770740380038095, "no salt, no address, no order of a set"


only = st.lists(
    st.tuples(
        st.sampled_from(["/a/*", "/a/:id", "/a/7", "/b", "/c", "*"]),
        st.sampled_from([["*"], ["GET"], ["POST"]]),
        st.sampled_from(["", "by-user", "by-key"]),
        st.integers(1, 3),
    ),
    max_size=4,
)
blocks = st.lists(st.tuples(st.sampled_from(["/a/7", "/b", "/c"]), st.sampled_from(["", "u"])), max_size=2)


def drawn(rows: list[Any], blocked: list[Any], turn: Callable[[list[Any]], list[Any]]) -> Snapshot:
    made = [
        policy(f"p{n}", path, methods, [limit(size)], strategy=named)
        for n, (path, methods, named, size) in enumerate(rows)
    ]
    return state_of(policies=turn(made), blocks=turn([hashed_block(path, who) for path, who in blocked]))


@steady
@given(only, blocks)
def test_equal_states_have_equal_epochs_in_whatever_order_they_are_written(
    rows: list[Any], blocked: list[Any]
) -> None:
    given_order, reverse = (drawn(rows, blocked, turn) for turn in (list, lambda items: items[::-1]))
    assert epochs_of(given_order) == epochs_of(reverse)


@steady
@given(only, blocks, only)
def test_an_unrelated_policy_leaves_the_epoch_alone_and_a_related_one_does_not(
    rows: list[Any], blocked: list[Any], more: list[Any]
) -> None:
    before, after = drawn(rows, blocked, list), drawn([*rows, *more], blocked, list)
    old, new = build_plan(before).instructions, build_plan(after).instructions
    for number, was in old.items():
        method, template = was.endpoint.method, was.endpoint.template
        added = len(after.trie.could_match(method, template)) - len(before.trie.could_match(method, template))
        if was.lease_epoch:
            assert (new[number].lease_epoch == was.lease_epoch) == (added == 0)


def instruction(*policies: Any, template: str = "/b") -> EndpointInstruction:
    (found,) = build_plan(snapshot(*policies, endpoints=[("GET", template)])).instructions.values()
    return found


def test_the_plan_says_how_long_tokens_may_live() -> None:
    window, bucket = limit(9, name="w"), limit(9, algorithm="TOKEN_BUCKET", name="t")
    sliding = limit(9, algorithm="SLIDING_WINDOW")
    shadow = policy("s", limits=[limit(1)], mode=Mode.SHADOW)
    for policies, life_us in (
        ([policy(limits=[window])], 10_000_000),
        ([policy(limits=[window, limit(9, "2s")])], 2_000_000),
        ([policy(limits=[window, bucket])], 1_000_000),
        ([policy(limits=[window]), policy("q", limits=[bucket])], 1_000_000),
        ([policy(limits=[sliding])], 0),
        ([policy(limits=[window]), policy("q", "/b", limits=[limit(1, algorithm="CONCURRENCY")])], 0),
        ([policy(limits=[window]), shadow], 0),
        ([policy(limits=[window], enforce_percent=50)], 0),
        ([policy(strategy="by-user")], 0),
        ([policy(limits=[window], condition="request.headers['x-tier'] == 'gold'")], 10_000_000),
        ([policy(limits=[window]), policy("q", condition="request.time.getHours() == 3")], 0),
        ([policy(limits=[window], condition="has(request.body.n)")], 0),
        ([policy(limits=[window], cost="size(request.path)")], 0),
        ([policy("p", "/elsewhere", limits=[window])], 0),
    ):
        found = instruction(*policies)
        assert found.lease_life_us == life_us
        assert (0 < found.lease_epoch < 2**63) == bool(life_us)


def test_what_no_route_matched_is_never_leased() -> None:
    assert instruction(policy(limits=[limit(9)]), template=UNMATCHED).lease_life_us == 0


def test_the_message_carries_life_and_epoch() -> None:
    made = build_plan(state_of())
    for item, message in zip(
        made.instructions.values(), pack.plan_response(Sent(made, 0)).endpoints, strict=True
    ):
        assert (message.lease_life_ms, message.lease_epoch) == (
            item.lease_life_us // 1_000,
            item.lease_epoch,
        )
