from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.unit.fakes import limit, metering, policy, steady, strategy
from usageflow.domain.policies import MAX_UNITS, Block, Limit, Policy, PolicySet


@steady
@given(
    st.integers(1, 366 * 86_400), st.integers(1, MAX_UNITS), st.sampled_from(["FIXED_WINDOW", "TOKEN_BUCKET"])
)
def test_what_is_stored_is_read_back_as_it_was(seconds: int, number: int, algorithm: str) -> None:
    own = Limit.model_validate({"limit": number, "window": seconds * 1_000_000, "algorithm": algorithm})
    saved = PolicySet(strategies=(strategy(),), policies=(policy(limits=[own], metering=metering()),))
    assert PolicySet.model_validate_json(saved.model_dump_json(by_alias=True)) == saved


@pytest.mark.parametrize("window", ["0s", "367d", 999_999, 1_500_000, "1.5s", None, 366 * 86_400_000_000 + 1])
def test_windows_are_whole_seconds_from_1_second_to_366_days(window: object) -> None:
    with pytest.raises(ValidationError) as error:
        Limit.model_validate({"limit": 1, "window": window})
    assert error.value.errors()[0]["loc"] == ("window",)


@pytest.mark.parametrize("field", ["limit", "burst"])
@pytest.mark.parametrize("value", [-1, MAX_UNITS + 1, 1.5, "5", True])
def test_units_are_whole_numbers_within_bounds(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Limit.model_validate({"limit": 1, "window": "1h", field: value})


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError):
        limit(0)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a b", "a" * 64, "a\n", "é"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        policy(name)


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63])
def test_what_is_a_name(name: str) -> None:
    assert policy(name).name == name


@pytest.mark.parametrize(
    "fields",
    [
        {"unknown": 1},
        {"priority": 1001},
        {"cost": 0},
        {"message": "x" * 501},
        {"mode": "enforce"},
        {"fail_mode": "ajar"},
        {"limits": [{"limit": 1, "window": "1h", "name": f"l{n}"} for n in range(21)]},
        {"metering": {"price": "prod_1"}},
        {"metering": {"price": "price_1\n"}},
        {"match": {"path": "/" + "x" * 1024}},
        {"match": {"path": "/a", "methods": []}},
    ],
)
def test_shapes_out_of_bounds_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate({"name": "p", "match": {"path": "/a"}, **fields})


def test_a_block_is_named_by_what_was_written_and_found_by_its_key() -> None:
    block = Block(methods=("put", "GET"), path="/a", identity="u")
    assert block.title == "put,GET /a for u"
    assert block.key == Block(methods=("GET", "PUT"), path="/a", identity="u", reason="r").key
    assert block.key != Block(methods=("GET", "PUT"), path="/a").key
