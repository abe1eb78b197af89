from __future__ import annotations

from typing import Any

import pytest

from admin.aip.etags import ensure_same, etag_of
from admin.aip.fields import fields_of
from admin.aip.masks import merged
from usageflow.domain.errors import Aborted, InvalidArgument
from usageflow.domain.policies import Policy

FIELDS = fields_of(Policy, {})
PRESENT: dict[str, Any] = {
    "name": "a",
    "match": {"methods": ["GET"], "path": "/a"},
    "priority": 5,
    "limits": [{"limit": 1}],
}
WANTED: dict[str, Any] = {
    "name": "b",
    "match": {"path": "/b"},
    "limits": [],
    "metering": {"price": "price_1"},
}


@pytest.mark.parametrize(
    ("paths", "changed"),
    [
        ([], {}),
        (["match.path"], {"match": {"methods": ["GET"], "path": "/b"}}),
        (["match"], {"match": {"path": "/b"}}),
        (["limits", "name"], {"limits": []}),
        (["metering.price"], {"metering": {"price": "price_1"}}),
        (["*"], {"match": {"path": "/b"}, "limits": [], "metering": {"price": "price_1"}, "priority": None}),
        (["priority"], {"priority": None}),
    ],
)
def test_only_named_fields_change_and_absent_ones_get_their_default(
    paths: list[str], changed: dict[str, Any]
) -> None:
    expected = {key: value for key, value in {**PRESENT, **changed}.items() if value is not None}
    assert merged(PRESENT, WANTED, paths, FIELDS) == expected


@pytest.mark.parametrize("path", ["limit", "match.pth", "limits.limit", "*.a", "", "name.x"])
def test_a_path_that_is_no_field_is_told(path: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        merged(PRESENT, WANTED, [path], FIELDS)
    assert raised.value.faults[0].field == "update_mask"


def test_a_wildcard_stands_alone() -> None:
    with pytest.raises(InvalidArgument):
        merged(PRESENT, WANTED, ["*", "name"], FIELDS)


def test_another_etag_is_aborted_with_the_present_one() -> None:
    etag = etag_of("policy", "a", 1)
    ensure_same("", etag, "it")
    ensure_same(etag, etag, "it")
    with pytest.raises(Aborted) as raised:
        ensure_same(etag_of("policy", "a", 2), etag, "it")
    assert raised.value.etag == etag
