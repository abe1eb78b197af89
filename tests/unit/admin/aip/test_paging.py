from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.aip.fields import TIMES, FieldType
from admin.aip.ordering import parse_order
from admin.aip.paging import fingerprint, make_token, page_size, read_token
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.listing import Order

FIELDS = {"name": FieldType.TEXT, "priority": FieldType.NUMBER, "match": FieldType.NODE, **TIMES}
MARK = fingerprint("demo", "filter")


@pytest.mark.parametrize(("asked", "size"), [(0, 50), (1, 1), (1000, 1000), (5000, 1000)])
def test_pages_are_bounded(asked: int, size: int) -> None:
    assert page_size(asked) == size


def test_a_negative_page_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        page_size(-1)


def test_a_token_brings_its_place_back_for_its_own_query_only() -> None:
    token = make_token(MARK, [7, None, "é"])
    assert read_token(token, MARK, [int, int, str]) == (7, None, "é")
    assert read_token("", MARK, [int]) == ()
    for mark, types in ((fingerprint("other"), [int, int, str]), (MARK, [int, str]), (MARK, [str, int, str])):
        with pytest.raises(InvalidArgument) as raised:
            read_token(token, mark, types)
        assert raised.value.faults[0].field == "page_token"


@given(st.one_of(st.text(max_size=60), st.binary(max_size=40).map(lambda data: data.hex())))
def test_any_text_that_is_no_token_is_one_fault(text: str) -> None:
    fields = []
    try:
        read_token(text, MARK, [str])
    except InvalidArgument as error:
        fields = [fault.field for fault in error.faults]
    assert fields == (["page_token"] if text else [])


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("", (Order("name"),)),
        ("priority desc", (Order("priority", descending=True), Order("name"))),
        ("name desc", (Order("name", descending=True),)),
        (" update_time , name asc", (Order("update_time"), Order("name"))),
    ],
)
def test_an_order_ends_with_what_names_an_item(text: str, orders: tuple[Order, ...]) -> None:
    assert parse_order(text, FIELDS) == orders


@pytest.mark.parametrize(
    "text", ["nothing", "name up", "name asc desc", ",", "name,name", "match", "name,,", "a,b,c,d,e,f"]
)
def test_a_wrong_order_is_one_fault(text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_order(text, FIELDS)
    assert raised.value.faults[0].field == "order_by"
