from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usageflow.client._core.ids import uuid7


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_is_a_version_7_uuid_that_holds_time_and_randomness(unix_ms: int, random: bytes) -> None:
    parsed = uuid.UUID(uuid7(unix_ms, random))
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == unix_ms
    assert str(parsed) == uuid7(unix_ms, random)


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_later_ids_sort_later(first: bytes, second: bytes) -> None:
    assert uuid7(1_000, first) < uuid7(1_001, second)


def test_the_example_of_rfc_9562() -> None:
    rand_a, rand_b = 0xCC3, 0x18C4DC0C0C07398F
    noise = (rand_a << 62) | rand_b
    assert uuid7(0x017F22E279B0, noise.to_bytes(10, "big")) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


def test_wants_ten_bytes() -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        uuid7(0, b"short")
