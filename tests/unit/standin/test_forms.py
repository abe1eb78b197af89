from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.standin.errors import StripeError
from usageflow.standin.forms import parse_form, parse_json

names = st.text("abcdefgh_", min_size=1, max_size=8)
trees: Any = st.recursive(
    st.text(max_size=8),
    lambda inner: (
        st.dictionaries(names, inner, min_size=1, max_size=3) | st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def spelled(name: str, value: Any) -> list[str]:
    """Returns the fields that a client writes for a value."""
    if isinstance(value, dict):
        return [each for key, below in value.items() for each in spelled(f"{name}[{key}]", below)]
    if isinstance(value, list):
        return [each for index, below in enumerate(value) for each in spelled(f"{name}[{index}]", below)]
    return [f"{quote_plus(name)}={quote_plus(value)}"]


@steady
@given(st.dictionaries(names, trees, max_size=4))
def test_what_a_client_writes_is_read(fields: dict[str, Any]) -> None:
    text = "&".join(each for name, value in fields.items() for each in spelled(name, value))
    assert parse_form(text) == fields


@steady
@given(st.text(max_size=40) | st.text("ab[]=&0", max_size=30))
def test_any_text_is_fields_or_a_fault(text: str) -> None:
    with contextlib.suppress(StripeError):
        assert isinstance(parse_form(text), dict)


@steady
@given(st.binary(max_size=30) | st.just(b"[" * 100_000))
def test_any_body_is_an_object_or_a_fault(body: bytes) -> None:
    with contextlib.suppress(StripeError):
        assert isinstance(parse_json(body), dict)


@pytest.mark.parametrize("text", ["a[b][c][d][e][f][g][h][i]=1", "a=1&a[b]=2", "&".join(["a=1"] * 1_001)])
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(StripeError):
        parse_form(text)
