"""What an expression reads, and what is refused with place and fix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.expressions import MAX_EXPRESSION, Place, Reads, ResultType
from usageflow.expressions import check, compile_term

BOOL, NUMBER = ResultType.BOOL, ResultType.NUMBER
TIER, USER_TIER = ("header", "x-tier"), ("body_json", "user.tier")


def reads(text: str, result: ResultType = BOOL) -> Reads:
    found = check(text, result)
    assert isinstance(found, Reads), found
    return found


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("true", []),
        ("request.method == 'GET' || request.route.startsWith('/a')", []),
        ('request.headers["x-tier"] == "gold"', [TIER]),
        ('request.headers["X-Tier"] == "gold"', [TIER]),
        ("request.headers.`x-tier` == 'gold'", [TIER]),
        (".request.headers['x-tier'] == 'gold'", [TIER]),
        ("request.headers.x_tier == 'gold'", [("header", "x_tier")]),
        ("has(request.headers.tier)", [("header", "tier")]),
        ("'X-Tier' in request.headers", [TIER]),
        ("!('page' in request.query) || request.query.page == '1'", [("query", "page")]),
        ("request.path_parameters.id.matches('^[0-9]+$')", [("path_parameter", "id")]),
        ("request.app_context.plan == 'pro'", [("context", "plan")]),
        ("request.client_ip.startsWith('10.')", [("client_ip", "")]),
        ("request.body.user.tier == 'x'", [USER_TIER]),
        ("request.body['user'].tier == 'x'", [USER_TIER]),
        ("has(request.body.user.tier)", [USER_TIER]),
        ("'model' in request.body", [("body_json", "model")]),
        ("'tier' in request.body.user", [("body_json", "user")]),
        ("request.body.user.tier == 'x' && has(request.body.user)", [("body_json", "user")]),
        ("request.body.tags[0] == 'a'", [("body_json", "tags")]),
        (
            "request.body.tags.exists(t, t == request.body.model)",
            [("body_json", "tags"), ("body_json", "model")],
        ),
        ("request.body.items.all(item, item.price < 5.0)", [("body_json", "items")]),
        ("request.body.l.filter(x, x > 1.0).map(x, double(x) * 2.0).size() > 1", [("body_json", "l")]),
        ("request.body.l.all(request, request.body == 1)", [("body_json", "l")]),
        (
            "has(request.headers.a) ? request.query.b == 'c' : [request.headers.d, 'e'].exists(x, x == 'f')",
            [("header", "a"), ("query", "b"), ("header", "d")],
        ),
        ("{'k': request.headers.v}.k == 'x'", [("header", "v")]),
        ("request.body.max_tokens > 100", [("body_json", "max_tokens")]),
    ],
)
def test_exactly_what_is_read_is_listed(text: str, attributes: list[tuple[str, str]]) -> None:
    assert list(reads(text).attributes) == attributes


def test_what_is_no_attribute_is_told_by_flags() -> None:
    found = reads(
        "request.time > timestamp('2026-01-01T00:00:00Z') && identity.verified && request.path == '/a'"
    )
    assert (found.time, found.identity, found.path, found.body, found.client_ip) == (
        True,
        True,
        True,
        False,
        False,
    )
    found = reads("request.body.n == 1 && request.client_ip != ''")
    assert (found.time, found.identity, found.path, found.body, found.client_ip) == (
        False,
        False,
        False,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("text", "route_only", "values"),
    [
        ("request.method == 'GET'", True, False),
        ("request.path == '/a'", True, True),
        ("request.path_parameters.id == '1'", True, True),
        ("request.headers.a == '1'", False, False),
        ("identity.anonymous", False, False),
        ("request.time.getHours() == 1", False, False),
        ("request.client_ip == ''", False, False),
    ],
)
def test_what_reports_can_tell_is_known(text: str, route_only: bool, values: bool) -> None:
    assert (reads(text).route_only, reads(text).values) == (route_only, values)


def test_an_attribute_stands_where_it_is_read_first() -> None:
    text = "'é𝄞' == request.headers.a\n  && request.body.b == request.headers.a"
    assert reads(text).places == {("header", "a"): Place(1, 9), ("body_json", "b"): Place(2, 6)}


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("request.headers[request.path] == ''", "what it reads of request.headers is not named", "column 1"),
        (
            "true && request.headers['a' + 'b'] == ''",
            "what it reads of request.headers is not named",
            "column 9",
        ),
        ("size(request.headers) > 0", "what it reads of request.headers is not named", "column 6"),
        ("request.headers.all(k, k == '')", "what it reads of request.headers is not named", "column 1"),
        ("request.path in request.query", "what it reads of request.query is not named", "column 17"),
        ("request.body == null", "what it reads of request.body is not named", "column 1"),
        ("has(request.body)", "what it reads of request.body is not named", "column"),
        ("request.body[0] == 1", "what it reads of request.body is not named", "column 1"),
        ("dyn(request.body).x == 1", "what it reads of request.body is not named", "column 5"),
        ("[request.body][0].x == 1", "what it reads of request.body is not named", "column 2"),
        ("request.body['a.b'] == 1", "a body's field with a dot in its name", "column 1"),
        ("request.headers[''] == ''", "the name has no or over 256 bytes", "column 1"),
        ("request.headers['" + "x" * 257 + "'] == ''", "the name has no or over 256 bytes", "column 1"),
        ("request.headers.Authorization == ''", "is a credential", "column 1"),
        ("has(request.cookies.sid)", "is a credential", "column 5"),
        ("'x-api-key' in request.headers", "is a credential", "column 16"),
        ("request.query.access_token == ''", "is a credential", "column 1"),
        ("request.body.password == ''", "is a credential", "column 1"),
        ("request.body.n * 2 > 1", "a body's numbers are doubles", "column 16"),
        ("request.path.matches(request.body.p)", "the pattern of matches is not a constant", "column 21"),
        ("matches('a', request.path)", "the pattern of matches is not a constant", "column 8"),
        ("[1, 2].all(x, [1].all(y, x == y))", "a loop stands inside another", "column"),
        ("request.body.l.all(x, x + x == 'aa')", "texts and lists are not joined inside a loop", "column 25"),
        (" && ".join(["[1].all(x, true)"] * 5), "there are more than 4 loops", "column"),
        ("google.protobuf.Duration{} == duration('1s')", "an expression makes no messages", "column"),
        ("request.method", "it yields string, not true or false", "column 1"),
        ("1", "it yields int, not true or false", "column 1"),
        ("request == 1", "there is no 'request'", "column 1"),
        ("true && request.bod.x == 1", "there is no 'request.bod.x'", "column 9"),
        ("request.method == 'a' &&\n  nobody()", "there is no function 'nobody'", "line 2, column 3"),
        ("request.method == 1", "'==' does not take (string, int)", "column 16"),
        ("request.method = 'GET'", "there is a syntax error: token recognition error", "column 16"),
        ("request.method ==", "there is a syntax error: mismatched input 'the end'", "column 18"),
        ("", "there is a syntax error", "column 1"),
        ("\x00", "there is a syntax error", "column 1"),
        ("\ud800", "the expression cannot be read", "column 1"),
        ("(" * 500 + "true" + ")" * 500, "the expression is nested too deeply", "column 1"),
        ("[" * 500, "the expression is nested too deeply", "column 1"),
        ("request.body" + ".a" * 900 + " == 1", "the expression is nested too deeply", "column 1"),
    ],
)
def test_what_cannot_be_saved_is_refused_with_place_and_fix(text: str, message: str, place: str) -> None:
    found = check(text, BOOL)
    assert isinstance(found, Fault)
    assert message in found.message
    assert place in found.message
    assert found.fix
    assert (found.field, found.reason) == ("", "INVALID_EXPRESSION")
    with pytest.raises(InvalidArgument):
        compile_term(text, BOOL)


def test_a_long_expression_is_refused_unread() -> None:
    found = check(" " * MAX_EXPRESSION + "1", NUMBER)
    assert isinstance(found, Fault)
    assert "2,049 characters" in found.message


def test_a_cost_is_a_number() -> None:
    for text in ("1", "2u", "1.5", "request.body.n", "int(request.query.n)", "double(request.body.n) * 1.5"):
        assert isinstance(check(text, NUMBER), Reads)
    for text in ("true", "'1'", "[1]", "request.time"):
        assert isinstance(check(text, NUMBER), Fault)


def test_the_same_text_is_compiled_once() -> None:
    assert compile_term("request.path == '/once'", BOOL) is compile_term("request.path == '/once'", BOOL)


WORDS = [
    "request.body",
    "request.headers",
    ".a",
    "['b']",
    "identity.value",
    "==",
    "+",
    "*",
    "1",
    "'x'",
    "(",
    ")",
    "[",
    "]",
    "&&",
    "!",
    "?",
    ":",
    ".all(x,",
    "has(",
    " in ",
    "{",
    "}",
    ",",
    "\n",
    "x",
    "request.time",
    "int(",
    "\u00e9",
]


@steady
@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(WORDS), max_size=20).map("".join)))
def test_whatever_the_text_there_is_an_answer_or_a_fault_with_a_fix(text: str) -> None:
    for result in ResultType:
        found = check(text, result)
        assert isinstance(found, Reads) or (found.message and found.fix and "line" in found.message)
