from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from usageflow.domain.errors import InvalidArgument
from usageflow.domain.paths import MAX_BYTES, candidate_paths, normalise_path

steady = settings(derandomize=True, deadline=None, max_examples=200)
pieces = st.sampled_from(
    [
        *(
            "/",
            "/",
            "a",
            "B",
            ".",
            "..",
            "%2e",
            "%2E",
            "%2f",
            "%2F",
            "%25",
            "%61",
            "%c3%a9",
            "%ff",
            "%00",
            "%",
            "%4",
        ),
        *("?", "#", "é", " ", "\\", "\x00", ";", "~", "%7e", "2e"),
    ]
)
paths = st.one_of(st.text(), st.lists(pieces).map(lambda parts: "/" + "".join(parts)))


def attempt(text: str) -> str | InvalidArgument:
    try:
        return normalise_path(text)
    except InvalidArgument as error:
        return error


@given(paths)
@example("/%252e%252e/a")
@example("/" + " " * 8000)
@example("/\ud800")
@steady
def test_any_text_is_normalised_once_and_for_all_or_refused(text: str) -> None:
    normal = attempt(text)
    if isinstance(normal, InvalidArgument):
        assert [fault.field for fault in normal.faults] == ["path"]
        assert all(fault.message and fault.fix for fault in normal.faults)
        return
    assert normalise_path(normal) == normal
    assert normal.startswith("/")
    assert normal.isascii()
    assert len(normal) <= MAX_BYTES
    assert "//" not in normal
    assert normal == "/" or not normal.endswith("/")
    assert not {".", ".."} & set(normal.split("/"))


@given(paths)
@steady
def test_candidates_end_with_the_normalised_path(text: str) -> None:
    try:
        candidates = candidate_paths(text)
    except InvalidArgument:
        return
    assert candidates[-1] == normalise_path(text)
    assert len(set(candidates)) == len(candidates) <= 2
    assert not any("?" in path or "#" in path for path in candidates)


@pytest.mark.parametrize("segments", [1, 500, 4000])
def test_deep_paths_are_normalised_in_one_pass(segments: int) -> None:
    assert normalise_path("/a" * segments) == "/a" * segments
    assert normalise_path("/." * segments) == "/"
