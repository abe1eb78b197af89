from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.ids import DAY_S, day_of, uuid7

DAY_US = DAY_S * 1_000_000


@steady
@given(st.integers(0, 2**48 * 1000 - 1), st.binary(min_size=10, max_size=10))
def test_a_uuid7_holds_its_millisecond_version_variant_and_randomness(now_us: int, random: bytes) -> None:
    made = uuid.UUID(uuid7(now_us, random))
    assert made.int >> 80 == now_us // 1000
    assert (made.int >> 76 & 15, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 64 & 0xFFF == int.from_bytes(random, "big") >> 68
    assert made.int & (1 << 62) - 1 == int.from_bytes(random, "big") & (1 << 62) - 1
    assert day_of(str(made)) == now_us // DAY_US == day_of(str(made).upper())


@pytest.mark.parametrize("day", [1, 20_000])
def test_the_day_changes_at_midnight_utc(day: int) -> None:
    assert day_of(uuid7(day * DAY_US, bytes(10))) == day
    assert day_of(uuid7(day * DAY_US - 1000, bytes(10))) == day - 1


@pytest.mark.parametrize(
    "other",
    ["", "batch-1", str(uuid.UUID(int=0)), "01890a5d-ac96-4744-8bcc-b302099a8057", "0" * 32, "x" * 36],
)
def test_any_other_id_belongs_to_day_0(other: str) -> None:
    assert day_of(other) == 0
