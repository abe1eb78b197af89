from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.aip.fields import TIMES, FieldType, fields_of
from admin.aip.filtering import parse_filter
from admin.resources.in_memory import page_of
from admin.resources.shared import Found, Listing
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.listing import EVERYTHING, Comparison, Every, Negated, Operator, Some
from usageflow.domain.policies import Policy
from usageflow.storage.resources import Stamp

FIELDS = fields_of(Policy, {**TIMES, "revision": FieldType.NUMBER})
A = Comparison("priority", Operator.EQUAL, 1)
B = Comparison("priority", Operator.GREATER, 2)
C = Comparison("stop", Operator.EQUAL, value=True)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("", EVERYTHING),
        ("priority = 1", A),
        ("priority=1", A),
        ("priority = 1 priority > 2", Every((A, B))),
        ("priority = 1 AND priority > 2", Every((A, B))),
        ("priority = 1 OR priority > 2 AND stop = true", Every((Some((A, B)), C))),
        ("priority = 1 OR (priority > 2 stop = true)", Some((A, Every((B, C))))),
        ("NOT priority = 1", Negated(A)),
        ("-priority = 1", Negated(A)),
        ("-(priority = 1 OR priority > 2)", Negated(Some((A, B)))),
        ("priority >= -5", Comparison("priority", Operator.GREATER_OR_EQUAL, -5)),
        ('match.path = "/a*"', Comparison("match.path", Operator.EQUAL, "/a*", wild=True)),
        ("match.path = /a/b-c", Comparison("match.path", Operator.EQUAL, "/a/b-c")),
        ('message = "say \\"no\\""', Comparison("message", Operator.EQUAL, 'say "no"')),
        ("limits:*", Comparison("limits", Operator.HAS, "*", wild=True)),
        ("limits.window > 1h30m", Comparison("limits.window", Operator.GREATER, 5_400_000_000)),
        (
            "update_time > 2026-01-01T00:00:00Z AND stop = true",
            Every((Comparison("update_time", Operator.GREATER, 1_767_225_600_000_000), C)),
        ),
        (
            'update_time < "2026-01-01T02:00:00+02:00"',
            Comparison("update_time", Operator.LESS, 1_767_225_600_000_000),
        ),
    ],
)
def test_a_filter_becomes_a_condition(text: str, condition: object) -> None:
    assert parse_filter(text, FIELDS) == condition


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("prioritty = 1", "no field 'prioritty'", "'priority'"),
        ("priority", "column 9: an operator belongs", "use ="),
        ("priority =", "column 11: a value belongs", "write such as"),
        ("priority = x", "column 12: 'priority' cannot be 'x'", "whole number"),
        ("(priority = 1", "column 14: a `(` is never closed", "add a `)`"),
        ("priority = 1)", "column 13: ')' stands where nothing can", "remove it"),
        ("= 1", "column 1: '=' stands where a field belongs", "write such as"),
        ("stop > true", "has no order", "use = != or :"),
        ("match = 1", "holds fields of its own", "match:*"),
        ("update_time > 2026-01-01", "cannot be", "write an instant"),
        ("limits.window > soon", "cannot be", "write a window"),
        ("priority = 99999999999999999999", "no number of 64 bits", "whole number"),
        ("(" * 40, "nested more than 30", "nest it less"),
        ("a" * 5000, "more than 4096", "shorter"),
        ("NOT", "ends too early", "write such as"),
    ],
)
def test_a_wrong_filter_is_told_by_column_with_the_fix(text: str, message: str, fix: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_filter(text, FIELDS)
    (fault,) = raised.value.faults
    assert fault.field == "filter"
    assert message in fault.message
    assert fix in fault.fix


PIECES = st.sampled_from(
    [
        *FIELDS,
        *"=<>:()-*\"'\\ .",
        "!=",
        "<=",
        ">=",
        " AND ",
        " OR ",
        " NOT ",
        "1",
        "true",
        "2026-01-01T00:00:00Z",
        "1h",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=20).map("".join)))
def test_any_text_is_a_condition_that_can_be_asked_or_one_fault(text: str) -> None:
    item = Policy.model_validate({"name": "a", "match": {"path": "/a"}})
    found = Found("policy", "a", item, Stamp(1, 2, 3))
    faults: tuple[Fault, ...] = ()
    try:
        page_of([found], Listing(filter=text), FIELDS, Policy, "test")
    except InvalidArgument as error:
        faults = error.faults
    assert all(fault.field == "filter" and fault.fix for fault in faults)
