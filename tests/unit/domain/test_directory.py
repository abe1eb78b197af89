"""Whose numbers count: the order of overrides, their end, and customers that come, change and go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import limit, plan, policy, snapshot, steady
from usageflow.domain.directory import EVERY, Directory, Entry, Numbers, plan_rules
from usageflow.domain.snapshot import CompiledLimit

ONE, TWO = b"1" * 32, b"2" * 32
PLANS = plan_rules([plan("pro", policy="p", limit_name="default", limit=1000)])


def compiled(**fields: Any) -> CompiledLimit:
    state = snapshot(policy("p", limits=[limit(100, **fields)], strategy="by-user"))
    return state.policies[0].limits[0]


def entry(plan_name: str = "", **numbers: Numbers) -> Entry:
    whose = {"all": EVERY, "one": ONE}
    rules = {("p", "default", whose[key]): value for key, value in numbers.items()}
    return Entry("acme", plan_name, (ONE, TWO), rules)


def found(item: Entry, identity: bytes = ONE, now_us: int = 0) -> tuple[int, int | None, str]:
    directory = Directory().changed(1, [item]).under(PLANS)
    effective = directory.effective(compiled(), identity, now_us)
    return effective.rule.limit, effective.until_us, effective.source


def test_identity_beats_customer_beats_plan_beats_policy() -> None:
    every, own = Numbers(5000, None), Numbers(9000, None)
    assert found(entry("pro", all=every, one=own)) == (
        9000,
        None,
        "override of customer acme for this identity",
    )
    assert found(entry("pro", all=every, one=own), TWO) == (5000, None, "override of customer acme")
    assert found(entry("pro")) == (1000, None, "plan pro")
    assert found(entry()) == (100, None, "policy")
    assert found(entry("gone")) == (100, None, "policy")
    assert found(entry("pro", all=every), b"3" * 32) == (100, None, "policy")


def test_an_override_counts_until_it_expires_and_says_when() -> None:
    both = entry("pro", all=Numbers(5000, None, 20), one=Numbers(9000, None, 10))
    assert [found(both, ONE, now)[:2] for now in (9, 10, 19, 20)] == [
        (9000, 10),
        (5000, 20),
        (5000, 20),
        (1000, None),
    ]


def test_a_shared_counter_never_differs() -> None:
    directory = Directory().changed(1, [entry(all=Numbers(5000, None))])
    shared = compiled(scope="SHARED")
    assert directory.effective(shared, ONE, 0).rule == shared.rule


@pytest.mark.parametrize(("burst", "capacity"), [(None, 20), (0, 1000), (50, 50)])
def test_a_burst_is_kept_dropped_or_replaced(burst: int | None, capacity: int) -> None:
    bucket = compiled(algorithm="TOKEN_BUCKET", burst=20)
    rule = Directory().changed(1, [entry(all=Numbers(1000, burst))]).effective(bucket, ONE, 0).rule
    assert (rule.limit, rule.capacity, rule.window_us) == (1000, capacity, bucket.rule.window_us)


def test_who_changes_nothing_is_not_held() -> None:
    assert Directory().empty
    assert Directory().changed(1, [entry()]).empty
    held = Directory().changed(1, [entry("pro")])
    assert not held.empty
    assert held.changed(2, [entry()]).empty
    assert held.changed(2, [], ["acme"]).empty


names = st.sampled_from("abc")
hashes = st.sampled_from([bytes([index]) * 32 for index in range(4)])


@given(st.lists(st.tuples(names, st.none() | st.sets(hashes)), max_size=30))
@steady
def test_changes_one_by_one_equal_the_whole(turns: list[tuple[str, set[bytes] | None]]) -> None:
    """Identities are given up before somebody else gets them, as the store sees to."""
    owned: dict[str, set[bytes]] = {}
    directory = Directory()
    for version, (name, identities) in enumerate(turns, start=1):
        touched = {name} | {other for other, theirs in owned.items() if theirs & (identities or set())}
        for other in touched & owned.keys():
            owned[other] -= identities or set()
        owned.pop(name, None)
        if identities is not None:
            owned[name] = identities
        entries = [Entry(each, "pro", tuple(owned[each])) for each in sorted(touched & owned.keys())]
        directory = directory.changed(version, entries, touched - owned.keys())
        whole = Directory().changed(version, [Entry(each, "pro", tuple(owned[each])) for each in owned])
        for index in range(4):
            one = directory._entries.get(bytes([index]) * 32)
            other_one = whole._entries.get(bytes([index]) * 32)
            assert (one and one.customer) == (other_one and other_one.customer)
        assert directory.empty == whole.empty


def test_what_was_handed_out_never_changes() -> None:
    before = Directory().changed(1, [entry("pro")]).under(PLANS)
    before.changed(2, [replace(entry(), plan="")])
    assert before.effective(compiled(), ONE, 0).rule.limit == 1000
