"""What expressions come to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import steady
from usageflow.domain.expressions import EvaluationFailed, Facts, ResultType, Value
from usageflow.domain.identity import Attributes, Identity
from usageflow.domain.usage import EndpointName
from usageflow.expressions import compile_term

BOOL, NUMBER = ResultType.BOOL, ResultType.NUMBER
ENDPOINT = EndpointName("POST", "/users/{id}/{rest*}")
NOON_US = 1_767_268_800_000_000  # 2026-01-01T12:00:00Z


def body(**fields: object) -> dict[tuple[str, str], str]:
    return {("body_json", name.replace("__", ".")): json.dumps(value) for name, value in fields.items()}


def facts(values: Mapping[tuple[str, str], str | bytes] | None = None, **fields: object) -> Facts:
    attributes = Attributes.of((values or {}).items(), "2001:db8::1")
    return Facts(**{"endpoint": ENDPOINT, "attributes": attributes, "time_us": NOON_US, **fields})  # type: ignore[arg-type]


def value(text: str, known: Facts | None = None, result: ResultType = BOOL) -> Value | EvaluationFailed:
    return compile_term(text, result).evaluate(known or facts())


def failure(text: str, known: Facts | None = None, result: ResultType = BOOL) -> str:
    found = value(text, known, result)
    assert isinstance(found, EvaluationFailed)
    return found.message


@pytest.mark.parametrize(
    "text",
    [
        "request.method == 'POST'",
        "request.route == '/users/{id}/{rest*}'",
        "request.path == '/users/a%20b/x/y'",
        "request.path_parameters.id == 'a b'",
        "request.client_ip == '2001:db8::/64'",
        "request.time.getHours() == 12 && request.time < timestamp('2026-01-01T12:00:00.1Z')",
        "request.headers['X-Tier'] == 'gold' && request.headers['x-tier'] == 'gold'",
        "'x-tier' in request.headers && has(request.headers.`x-tier`)",
        "!has(request.headers.nobody) && !('nobody' in request.headers) && request.headers.nobody == ''",
        "request.headers.twice == '' && !has(request.headers.twice)",
        "request.headers.hashed == ''",
        "request.query.page == '2' && request.app_context.plan == 'pro'",
        "request.body.model == 'gpt' && request.body.user.tier == 'x'",
        "request.body.n == 3 && request.body.n > 2 && request.body.n < 3.5",
        "has(request.body.model) && 'model' in request.body && !has(request.body.nobody)",
        "!has(request.body.nobody.tier) && !('other' in request.body)",
        "request.body.tags.exists(t, t == 'b') && !request.body.tags.all(t, t == 'b')",
        "size(request.body.tags) == 2 && request.body.flag && request.body.nothing == null",
        "request.body.items.exists(i, i.price > 5.0)",
        "!has(request.body.broken) && !has(request.body.infinite)",
        "request.body.plain == 'text of a caller by name'",
    ],
)
def test_conditions_see_the_request(text: str) -> None:
    known: list[tuple[tuple[str, str], str | bytes]] = [
        (("path_parameter", "id"), "a b"),
        (("path_parameter", "rest"), "x/y"),
        (("header", "x-tier"), "gold"),
        (("header", "twice"), "1"),
        (("header", "twice"), "2"),
        (("header", "hashed"), bytes(32)),
        (("query", "page"), "2"),
        (("context", "plan"), "pro"),
        (("body", "plain"), "text of a caller by name"),
        (("body_json", "broken"), "{"),
        (("body_json", "infinite"), "Infinity"),
        *body(
            model="gpt", user__tier="x", n=3, tags=["a", "b"], flag=True, nothing=None, items=[{"price": 9}]
        ).items(),
    ]
    assert value(text, facts(attributes=Attributes.of(known, "2001:db8::1"))) is True


def test_without_a_route_the_path_is_the_normalised_raw_one() -> None:
    unmatched = EndpointName("GET", "{unmatched}")
    assert value(
        "request.path == '/b' && request.route == '{unmatched}'",
        facts(endpoint=unmatched, raw_path="/a/..//b"),
    )
    assert value("request.path == ''", facts(endpoint=unmatched))


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (None, ("", True, False)),
        (Identity("a:192.0.2.1", "client address", anonymous=True), ("", True, False)),
        (Identity("v:u1", "header X-User"), ("u1", False, False)),
        (Identity("h:" + "ab" * 32, "jwt sub", verified=True), ("h:" + "ab" * 32, False, True)),
    ],
)
def test_who_is_asking_is_known(identity: Identity | None, expected: tuple[str, bool, bool]) -> None:
    known = facts(identity=identity)
    assert value(f"identity.value == '{expected[0]}'", known) is True
    assert (value("identity.anonymous", known), value("identity.verified", known)) == expected[1:]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("2u", 2),
        ("1.5", 1.5),
        ("double(request.body.n) * 1.5", 4.5),
        ("int(request.body.n) * 2", 6),
        ("request.body.n / 2.0", 1.5),
        ("request.method == 'POST' ? 5 : 1", 5),
        ("size(request.body.tags) + 1", 3),
        ("int(request.query.n)", 7),
    ],
)
def test_costs_are_numbers(text: str, expected: float) -> None:
    found = value(text, facts({**body(n=3, tags=["a", "b"]), ("query", "n"): "7"}), NUMBER)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("request.body.nobody == 1", "Key not found"),
        ("1 / 0 == 1", "divide by zero"),
        ("int(request.headers.n) > 1", "cannot convert"),
        ("timestamp('x') < request.time", ""),
        ("request.headers.n.matches('[')", ""),
        ("request.body.model", "it yields string, not true or false"),
        ("request.body.n.startsWith('x')", "No matching overloads"),
        ("request.body.many.all(x, x == 0)", "over 256 values"),
        ("request.body.deep == 1", "or 32 levels"),
        ("request.body.some == request.body.more", "over 256 values"),
        ("request.body.odd == 'x'", ""),
    ],
)
def test_what_cannot_be_evaluated_is_a_value_too(text: str, message: str) -> None:
    deep: list[object] = []
    for _ in range(40):
        deep = [deep]
    known = facts(
        body(model="gpt", n=3, many=[0] * 257, deep=deep, some=[0] * 200, more=[0] * 200, odd="\ud800")
    )
    assert message in failure(text, known)


def test_nothing_that_a_caller_sends_grows_without_bounds() -> None:
    nested = facts({("body_json", "l"): "[" * 8000, ("body_json", "s"): json.dumps("x" * 8000)})
    assert value("!has(request.body.l)", nested) is True
    loops = "[" + ",".join(["1"] * 200) + "]"
    assert value(f"{loops}.all(x, request.body.s.contains('y') == false)", nested) is True


def test_an_expression_may_be_evaluated_by_many_threads() -> None:
    term = compile_term("request.body.l.exists(x, x == 2.0)", BOOL)
    found: list[object] = []
    known = facts(body(l=[1, 2, 3]))

    def work() -> None:
        found.extend(term.evaluate(known) for _ in range(100))

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
TERMS = [
    compile_term("request.body.a == request.body.b || request.body.a > 1.0", BOOL),
    compile_term("request.body.a.exists(x, x in request.body.b)", BOOL),
    compile_term(
        "has(request.body.a.c) && request.body.a.c.size() > 1 && request.headers.h.matches('^a')", BOOL
    ),
    compile_term("double(request.body.a) + 1.0", NUMBER),
    compile_term("int(request.headers.h)", NUMBER),
]


@steady
@given(JSON | st.none(), st.one_of(JSON.map(json.dumps), st.text(max_size=20)), st.text(max_size=10))
def test_whatever_is_sent_there_is_a_value_or_a_failure(first: object, second: str, header: str) -> None:
    known = facts(
        {("body_json", "a"): json.dumps(first), ("body_json", "b"): second, ("header", "h"): header}
    )
    for term in TERMS:
        found = term.evaluate(known)
        if term.result is BOOL:
            assert isinstance(found, bool | EvaluationFailed)
        else:
            assert isinstance(found, int | float | EvaluationFailed)
