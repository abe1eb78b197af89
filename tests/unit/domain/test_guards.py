from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.fakes import strategy
from usageflow.domain.guards import Guard
from usageflow.domain.policies import PolicySet
from usageflow.domain.validation import validate
from usageflow.policyfile import PolicyFileError, load

GUARD: dict[str, Any] = {"limit": 600, "window": "1m", "new_identities": 20}
JWT = {"in": "jwt", "name": "sub", "issuer": "i", "audience": "a", "jwks_url": "https://i.example/keys"}


@pytest.mark.parametrize(
    ("sources", "fine"),
    [
        ([{"in": "header", "name": "X-User"}], True),
        ([JWT, {"in": "query", "name": "user"}], True),
        ([{"join": [{"in": "context", "name": "tenant"}, {"in": "cookie", "name": "sid"}]}], True),
        ([{"in": "jwt", "name": "sub", "allow_unverified": True}], True),
        ([JWT, {"in": "context", "name": "user"}], False),
        ([{"in": "client_ip"}], False),
    ],
)
def test_only_claims_are_guarded(sources: list[dict[str, Any]], fine: bool) -> None:
    declared = strategy(sources=sources, guard=GUARD)
    faults = [fault.field for fault in validate(PolicySet(strategies=(declared,)))]
    assert faults == ([] if fine else ["strategies[0].guard"])


def test_a_guard_is_stored_as_it_is_written() -> None:
    guard = Guard.model_validate(GUARD)
    assert (guard.limit, guard.window_us, guard.new_identities) == (600, 60_000_000, 20)
    assert Guard.model_validate_json(guard.model_dump_json(by_alias=True)) == guard


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"window": "2d"},
        {"window": 500_000},
        {"window": 1_500_000},
        {"new_identities": -1},
        {"new_identities": 10_001},
        {"more": 1},
    ],
)
def test_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Guard.model_validate({**GUARD, **wrong})


def test_a_file_says_where_a_guard_is_wrong() -> None:
    text = (
        "version: 1\napplication: demo\nstrategies:\n"
        "  - {name: s, sources: [{in: header, name: X}], guard: {limit: 0, window: 2d}}\n"
    )
    with pytest.raises(PolicyFileError) as caught:
        load(text, filename="f.yaml")
    assert [str(each).partition(";")[0] for each in caught.value.problems] == [
        "f.yaml:4:64: 'limit' is out of bounds: 0",
        "f.yaml:4:75: 'window' is out of bounds: \"2d\"",
    ]
