from __future__ import annotations

from usageflow.domain.changes import Action
from usageflow.domain.comparing import FieldDifference
from usageflow.domain.differences import Difference, differences
from usageflow.domain.policies import Policy, PolicySet


def policy(name: str, **fields: object) -> Policy:
    return Policy.model_validate({"name": name, "match": {"path": "/a"}, **fields})


def test_resources_differ_by_name_and_fields_by_path() -> None:
    before = PolicySet(
        policies=(policy("gone"), policy("same"), policy("other", limits=[{"limit": 1, "window": "1m"}]))
    )
    after = PolicySet(
        policies=(
            policy("other", limits=[{"limit": 2, "window": "1m"}, {"name": "b", "limit": 1, "window": "1h"}]),
            policy("same"),
            policy("new"),
        )
    )
    found = list(differences(before, after))
    assert [(each.action, each.name) for each in found] == [
        (Action.DELETED, "gone"),
        (Action.CREATED, "new"),
        (Action.UPDATED, "other"),
    ]
    first, second = found[-1].fields
    assert first == FieldDifference("limits[default].limit", 1, 2)
    assert (second.path, second.before, second.after["name"]) == ("limits[b]", None, "b")


def test_what_comes_first_is_no_difference() -> None:
    one, two = policy("one"), policy("two")
    assert list(differences(PolicySet(policies=(one, two)), PolicySet(policies=(two, one)))) == []
    assert list(differences(PolicySet(), PolicySet(policies=(one,)))) == [
        Difference(Action.CREATED, "policy", "one")
    ]
