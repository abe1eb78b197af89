from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.endpoints import endpoint_of
from decision.plan import EndpointInstruction, build_plan
from decision.questions import HttpRequest, Terms, question_by_name, question_by_number
from tests.unit.fakes import limit, policy, request, snapshot, steady
from usageflow.domain.decisions import Question
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.matching import MatchTarget
from usageflow.domain.policies import MAX_UNITS
from usageflow.domain.snapshot import Snapshot
from usageflow.domain.usage import EndpointName

STATE = snapshot(
    policy("p", "/a/b", limits=[limit(1)], strategy="by-user"),
    policy("q", "/raw/:id/*"),
    endpoints=[("GET", "/a/{x}"), ("GET", "/t/{id}")],
)
PLAN = build_plan(STATE)
NUMBERED: EndpointInstruction = PLAN.instructions[STATE.endpoint_numbers[EndpointName("GET", "/a/{x}")]]


def ask(terms: Terms = Terms(), state: Snapshot = STATE, **fields: Any) -> Question:  # noqa: B008
    return question_by_name(state, request(**fields), terms)


def faults(error: pytest.ExceptionInfo[InvalidArgument]) -> list[str]:
    return [fault.field for fault in error.value.faults]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"method": ""}, "method"),
        ({"method": "G T"}, "method"),
        ({"method": "GET\n"}, "method"),
        ({"method": "G" * 33}, "method"),
        ({"path": ""}, "path"),
        ({"path": "a"}, "path"),
        ({"path": "/%zz"}, "path"),
        ({"path": "/%00"}, "path"),
        ({"path": "/" + "x" * 8192}, "path"),
        ({"route": "{unmatched}", "path": ""}, "path"),
        ({"route": "a"}, "route"),
        ({"route": "/{x}/{x}"}, "route"),
        ({"route": "/" + "x" * 1024}, "route"),
        ({"attributes": [("header", "a", "b")] * 257}, "attributes"),
        ({"attributes": [("header", "a", "b"), ("nowhere", "a", "b")]}, "attributes[1].location"),
        ({"attributes": [("", "a", "b")]}, "attributes[0].location"),
        ({"attributes": [("header", "", "b")]}, "attributes[0].name"),
        ({"attributes": [("header", "é" * 129, "b")]}, "attributes[0].name"),
        ({"attributes": [("query", "a", "x" * 8193)]}, "attributes[0].value"),
        ({"route": "/{x}", "parameters": {"x": "y" * 8193}}, "path_parameters[x]"),
        ({"route": "/{x}", "parameters": {str(n): "y" for n in range(257)}}, "path_parameters"),
        ({"client_ip": "nowhere"}, "client_ip"),
        ({"client_ip": "203.0.113.1:80"}, "client_ip"),
        ({"terms": Terms(cost=-1)}, "cost"),
        ({"terms": Terms(cost=MAX_UNITS + 1)}, "cost"),
        ({"terms": Terms(hold_us=-1)}, "reserve.hold"),
        ({"terms": Terms(hold_us=999_999)}, "reserve.hold"),
        ({"terms": Terms(hold_us=3_600_000_001)}, "reserve.hold"),
    ],
)
def test_what_is_out_of_bounds_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        ask(**fields)
    assert faults(error) == [field]


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "x" * 32},
        {"path": "/" + "x" * 8191},
        {"attributes": [("header", "a", "b")] * 256},
        {"attributes": [("header", "x" * 256, "x" * 8192)]},
        {"client_ip": "::1"},
        {"client_ip": ""},
        {"terms": Terms(cost=MAX_UNITS)},
        {"terms": Terms(hold_us=1_000_000)},
        {"terms": Terms(hold_us=3_600_000_000)},
    ],
)
def test_bounds_themselves_are_within(fields: dict[str, Any]) -> None:
    assert isinstance(ask(**fields), Question)


@pytest.mark.parametrize(
    ("values", "client_ip", "field"),
    [
        ([], "", "values"),
        (["b"] * 3, "", "values"),
        (["b", b"short"], "", "values[1]"),
        (["x" * 8193, None], "", "values[0]"),
        (["b", None], "nowhere", "client_ip"),
    ],
)
def test_numbered_values_that_are_out_of_bounds_are_named(
    values: list[str | bytes | None], client_ip: str, field: str
) -> None:
    with pytest.raises(InvalidArgument) as error:
        question_by_number(STATE, NUMBERED, values, client_ip, Terms())
    assert faults(error) == [field]


def test_numbered_values_stand_in_the_plans_order() -> None:
    question = question_by_number(STATE, NUMBERED, ["b", "u"], "", Terms(cost=3))
    assert question.target == MatchTarget(("a", "b"))
    assert question.attributes.values == {("header", "x-user"): ["u"], ("path_parameter", "x"): ["b"]}
    assert (question.cost, question.endpoint) == (3, EndpointName("GET", "/a/{x}"))


def test_a_route_in_any_spelling_and_case_is_the_endpoint() -> None:
    question = ask(method="get", route="/t/:id", parameters={"id": "9"})
    assert question.endpoint == EndpointName("GET", "/t/{id}")
    assert question.target == MatchTarget(("t", "9"))


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/t/1", "/t/{id}"),
        ("/t/1/?q=2", "/t/{id}"),
        ("/x/../t/1", "/t/{id}"),
        ("/raw/1/2/3", "/raw/{id}/{rest*}"),
        ("/nothing/here", "{unmatched}"),
    ],
)
def test_a_raw_path_is_counted_under_a_name_and_never_becomes_one(path: str, template: str) -> None:
    question = ask(path=path)
    assert question.endpoint == EndpointName("GET", template)
    assert question.target == path


def test_a_request_that_no_route_matched_stays_unmatched() -> None:
    assert ask(path="/t/1", route="{unmatched}").endpoint == EndpointName("GET", "{unmatched}")


@pytest.mark.parametrize(
    ("pattern", "path", "template"),
    [
        ("/a/:id/b/:id", "/a/1/b/2", "/a/{id}/b/{any4}"),
        ("/a/:1", "/a/x", "/a/{any2}"),
        ("/a/{x.y}", "/a/x", "/a/{x.y}"),
        ("/a/*/c", "/a/x/c", "/a/{any2}/c"),
        ("/f/{tail*}", "/f/a/b", "/f/{rest*}"),
        ("/a/b:c", "/a/b:c", "/a/b%3Ac"),
        ("/(a)/b", "/(a)/b", "/%28a%29/b"),
        ("/é/%2A", "/%C3%A9/%2A", "/é/%2A"),
        ("/" + "*/" * 255 + "*", "/" + "x/" * 255 + "x", "{unmatched}"),
        ("*", "/x", "{unmatched}"),
        ("/", "/", "/"),
        ("/a/", "/a", "/a"),
    ],
)
def test_every_pattern_has_a_template_to_be_counted_under(pattern: str, path: str, template: str) -> None:
    state = snapshot(policy("p", pattern))
    assert ask(path=path, state=state).endpoint == EndpointName("GET", template)


def test_the_registered_template_comes_before_the_policys_pattern() -> None:
    state = snapshot(policy("p", "/t/:other"), endpoints=[("GET", "/t/{id}")])
    assert ask(path="/t/1", state=state).endpoint.template == "/t/{id}"
    assert ask(path="/t/1", method="HEAD", state=state).endpoint == EndpointName("HEAD", "/t/{id}")
    assert ask(path="/t/1", method="POST", state=state).endpoint.template == "/t/{other}"


def test_endpoints_are_canonical() -> None:
    assert endpoint_of("post", "/a/<int:id>") == EndpointName("POST", "/a/{id}")


anything = st.text(st.characters(), max_size=30)
odd = st.one_of(anything, st.text(alphabet="/a%2.{}*:?#\x00é\udc80", max_size=12), st.just("/a"))
requests = st.builds(
    HttpRequest,
    st.one_of(odd, st.sampled_from(["GET", "post"])),
    st.one_of(odd, odd.map(lambda text: "/" + text)),
    st.one_of(st.just(""), odd, odd.map(lambda text: "/" + text)),
    st.dictionaries(odd, odd, max_size=3),
    st.lists(st.tuples(st.one_of(odd, st.sampled_from(["header", "query"])), odd, odd), max_size=3),
    st.one_of(st.just(""), odd, st.ip_addresses().map(str)),
)


@steady
@given(requests, st.builds(Terms, st.integers(-1, 10), st.integers(-1, 2_000_000)))
def test_any_request_ends_in_a_question_or_in_named_faults(item: HttpRequest, terms: Terms) -> None:
    try:
        question = question_by_name(STATE, item, terms)
    except InvalidArgument as error:
        named = [fault for fault in error.faults if fault.field and fault.message and fault.fix]
    else:
        assert question.endpoint.method == item.method.upper()
        return
    assert named
