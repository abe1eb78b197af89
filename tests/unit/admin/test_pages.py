from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.pages import DEFAULT_SIZE, MAX_SIZE, PageRequest
from tests.unit.fakes import steady
from usageflow.domain.errors import InvalidArgument

QUERY = ("demo", "True")


@steady
@given(st.lists(st.text(min_size=1), unique=True, max_size=30), st.integers(1, 7))
def test_pages_hold_everything_once(keys: list[str], size: int) -> None:
    keys.sort()
    seen: list[str] = []
    token = ""
    for _ in range(len(keys) + 1):
        page = PageRequest(size, token)
        after = page.after(QUERY)
        found = [key for key in keys if key > after][: size + 1]
        listed = page.of(found, QUERY, lambda key: key)
        seen += listed.items
        token = listed.next_token
        if not token:
            break
    assert seen == keys


def test_a_token_is_good_for_its_own_list_alone() -> None:
    token = PageRequest(1, "").of(["a", "b"], QUERY, lambda key: key).next_token
    assert PageRequest(1, token).after(QUERY) == "a"
    with pytest.raises(InvalidArgument):
        PageRequest(1, token).after(("other", "True"))


@steady
@given(st.text())
def test_no_token_is_more_than_a_mistake(token: str) -> None:
    try:
        after = PageRequest(1, token).after(QUERY)
    except InvalidArgument:
        return
    assert (after == "") == (token == "")


def test_sizes_have_a_default_and_an_end() -> None:
    sizes = [PageRequest.of_request(size, "").size for size in (0, 1, MAX_SIZE, 2**31 - 1)]
    assert sizes == [DEFAULT_SIZE, 1, MAX_SIZE, MAX_SIZE]
    with pytest.raises(InvalidArgument):
        PageRequest.of_request(-1, "")
