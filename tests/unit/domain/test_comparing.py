from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usageflow.domain.comparing import FieldDifference, differences

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "policy", "in", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)

HOURLY = {"name": "hourly", "limit": 1, "window": "1h"}
DAILY = {"name": "daily", "limit": 5, "window": "1d"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({"a": 1}, {"b": 2}, [("a", 1, None), ("b", None, 2)]),
        ({"match": {"path": "/a"}}, {"match": {"path": "/b"}}, [("match.path", "/a", "/b")]),
        (
            {"limits": [HOURLY]},
            {"limits": [DAILY, {**HOURLY, "limit": 2}]},
            [("limits[hourly].limit", 1, 2), ("limits[daily]", None, DAILY)],
        ),
        ({"limits": [{"limit": 1}]}, {"limits": [{"limit": 2}]}, [("limits[default].limit", 1, 2)]),
        (
            {"limits": [HOURLY, DAILY]},
            {"limits": [DAILY, HOURLY]},
            [("limits", ["hourly", "daily"], ["daily", "hourly"])],
        ),
        (
            {"overrides": [{"policy": "p", "limit": 1}]},
            {"overrides": [{"policy": "p", "limit": 2}]},
            [("overrides[p default].limit", 1, 2)],
        ),
        (
            {"sources": [{"in": "header", "name": "a"}]},
            {"sources": [{"in": "header", "name": "b"}]},
            [("sources[0].name", "a", "b")],
        ),
        ({"methods": ["GET"]}, {"methods": ["GET", "PUT"]}, [("methods", ["GET"], ["GET", "PUT"])]),
    ],
)
def test_fields_that_differ(before: Any, after: Any, expected: list[tuple[str, Any, Any]]) -> None:
    assert differences(before, after) == tuple(FieldDifference(*each) for each in expected)


@given(
    st.dictionaries(st.text(max_size=2), PLAIN, max_size=3),
    st.dictionaries(st.text(max_size=2), PLAIN, max_size=3),
)
def test_whatever_differs_is_told_both_ways(before: dict[str, Any], after: dict[str, Any]) -> None:
    # None and absent are one; so are True and 1, which no field of ours may both be.
    found = differences(before, after)
    assert bool(found) == (_without_none(before) != _without_none(after))
    assert len(found) == len(differences(after, before))


def _without_none(value: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in value.items() if each is not None}
