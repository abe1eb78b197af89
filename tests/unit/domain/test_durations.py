from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.durations import format_window, parse_window


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m", 60), ("1h", 3600), ("7d", 604_800), ("2w", 1_209_600), ("1h30m", 5400), ("0s", 0)],
)
def test_windows_as_people_write_them(text: str, seconds: int) -> None:
    assert parse_window(text) == seconds * 1_000_000


@pytest.mark.parametrize(
    "text", ["", "1", "h", "1 h", "1H", "-1h", "1.5h", "1h ", "1h\n", "1y", "1ms", "1234567890s"]
)
def test_what_is_no_window_says_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 30s or 1h"):
        parse_window(text)


@steady
@given(st.integers(0, 366 * 86_400))
def test_whole_seconds_are_written_so_that_they_read_back(seconds: int) -> None:
    assert parse_window(format_window(seconds * 1_000_000)) == seconds * 1_000_000
