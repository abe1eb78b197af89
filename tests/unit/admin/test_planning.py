"""What people read before they apply: every field, and no raw identity nor a whole hash."""

from __future__ import annotations

from admin.customers import stored
from admin.planning import resources, with_fields
from tests.unit.fakes import APPLICATION_KEY, customer, hashed_block, limit, policy, strategy
from usageflow.domain.blocks import block_id
from usageflow.domain.changes import Action, Change
from usageflow.domain.comparing import FieldDifference
from usageflow.domain.policies import PolicySet

POLICY = policy("p", "/a", limits=[limit(5)], strategy="by-user")


def test_what_is_new_says_all_and_what_differs_says_how() -> None:
    before = resources(PolicySet(policies=(POLICY,)))
    wanted = POLICY.model_copy(update={"limits": (limit(9),), "stop": True})
    after = resources(PolicySet(policies=(wanted,), strategies=(strategy(),)))
    changes = [Change(Action.CREATED, "strategy", "by-user"), Change(Action.UPDATED, "policy", "p")]
    created, updated = with_fields(changes, before, after)
    assert [each.path for each in created.fields] == ["name", "sources"]
    assert updated.fields == (
        FieldDifference("limits[default].limit", 5, 9),
        FieldDifference("stop", None, True),
    )


def test_what_is_gone_says_what_it_was() -> None:
    before = resources(PolicySet(policies=(POLICY,)))
    (deleted,) = with_fields([Change(Action.DELETED, "policy", "p")], before, resources(PolicySet()))
    assert {each.path for each in deleted.fields} == {"name", "match", "strategy", "limits"}
    assert all(each.after is None for each in deleted.fields)


def test_identities_are_cut_hashes() -> None:
    block = hashed_block("/a", "secret-user")
    acme = stored(
        customer("acme", "secret-user", overrides=[{"policy": "p", "limit": 1, "identity": "secret-user"}]),
        APPLICATION_KEY,
    )
    after = resources(PolicySet(), [block], [acme])
    changes = [
        Change(Action.CREATED, "block", "* /a for secret-user", block_id(block)),
        Change(Action.CREATED, "customer", "acme"),
    ]
    told = str([each.fields for each in with_fields(changes, resources(PolicySet()), after)])
    assert f"hash:{block.identity[:12]}" in told
    assert block.identity not in told
    assert "secret-user" not in told


def test_an_answer_fits_into_a_message() -> None:
    many = [policy(f"p{number}", "/a") for number in range(3_000)]
    changes = [Change(Action.CREATED, "policy", item.name) for item in many]
    told = with_fields(changes, resources(PolicySet()), resources(PolicySet(policies=tuple(many))))
    assert len(told) == 3_000
    assert 5_000 <= sum(len(each.fields) for each in told) < 5_100
    assert not told[-1].fields
