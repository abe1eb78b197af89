"""What plans make of conditions and costs."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from decision.engine import Engine
from decision.plan import build_plan
from decision.questions import HttpRequest, Terms, question_by_name, question_by_number
from tests.unit.fakes import limit, metering, policy, resilient, snapshot, steady
from usageflow.domain.clock import ManualClock
from usageflow.domain.identity import PATH_PARAMETER, AttributeKey
from usageflow.domain.matching import target_of_route
from usageflow.domain.snapshot import Snapshot
from usageflow.domain.usage import EndpointName
from usageflow.storage.memory import MemoryCounterStore

TEMPLATE = "/a/{id}/{tail*}"
ENDPOINTS = [("GET", TEMPLATE), ("GET", "/plain"), ("GET", "/a/{id}")]
CONDITIONS = [
    "",
    "request.headers['X-Tier'] == 'gold'",
    "!has(request.headers.tier) || request.body.n > 1",
    "request.path.startsWith('/a/1')",
    "request.path_parameters.id == '1' || request.path_parameters.nobody == ''",
    "request.client_ip == '203.0.113.1'",
    "request.query.page == '2' && has(request.body.model)",
    "identity.value == 'u'",
    "request.method == 'GET' && request.route == '/plain'",
    "request.time.getHours() < 23 || request.body.broken == 1",
]
COSTS: list[object] = [
    1,
    3,
    "int(request.body.n)",
    "size(request.path)",
    "request.headers['x-tier'] == 'gold' ? 2 : 1",
]
PATHS = ["*", "/a/:id/*", "/a/1/*", "/plain", "/a/*"]
SENT: dict[AttributeKey, list[str]] = {
    ("header", "x-tier"): ["gold", "silver"],
    ("header", "x-user"): ["u", "v"],
    ("header", "tier"): ["t"],
    ("query", "page"): ["2"],
    ("body_json", "n"): ["0", "2", '"x"'],
    ("body_json", "model"): ['"gpt"'],
}

declared = st.lists(
    st.tuples(
        st.sampled_from(PATHS),
        st.sampled_from(CONDITIONS),
        st.sampled_from(COSTS),
        st.sampled_from(["", "by-user"]),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=4,
)
values = st.fixed_dictionaries({key: st.none() | st.sampled_from(choices) for key, choices in SENT.items()})
parameters = st.fixed_dictionaries(
    {"id": st.sampled_from(["1", "2", "a b"]), "tail": st.sampled_from(["x", "x/y"])}
)


def state_of(given_policies: list[tuple[str, str, object, str, int, bool]]) -> Snapshot:
    return snapshot(
        *(
            policy(
                f"p{n}",
                path,
                limits=[limit(size * 5)] if size else [],
                condition=condition,
                cost=cost,
                strategy=named,
                stop=stop,
                metering=metering(),
            )
            for n, (path, condition, cost, named, size, stop) in enumerate(given_policies)
        ),
        endpoints=ENDPOINTS,
    )


@steady
@given(declared, parameters)
def test_where_the_plan_says_report_no_limit_can_apply(
    given_policies: list[tuple[str, str, object, str, int, bool]], params: dict[str, str]
) -> None:
    state = state_of(given_policies)
    plan = build_plan(state)
    assert len(plan.instructions) == len(ENDPOINTS)
    for item in plan.instructions.values():
        if item.check:
            continue
        for matched in state.trie.lookup("GET", target_of_route(item.endpoint.template, params)):
            assert not matched.limits
            assert matched.condition is None or matched.condition.reads.route_only
            if matched.stops:
                break


async def _decide(state: Snapshot, question: object) -> object:
    clock = ManualClock()
    engine = Engine(resilient(MemoryCounterStore(clock)), MemoryCounterStore(clock), clock, lambda: "r")
    return await engine.decide(state, [question, question, question])  # type: ignore[list-item]


@steady
@given(declared, parameters, values, st.sampled_from(ENDPOINTS))
async def test_a_check_by_number_sees_what_one_by_name_sees(
    given_policies: list[tuple[str, str, object, str, int, bool]],
    params: dict[str, str],
    sent: dict[AttributeKey, str | None],
    endpoint: tuple[str, str],
) -> None:
    state = state_of(given_policies)
    instruction = build_plan(state).instructions[state.endpoint_numbers[EndpointName(*endpoint)]]
    assume(instruction.check)
    known = {name: value for name, value in params.items() if f"{{{name}" in endpoint[1]}
    positional = [
        known.get(key[1]) if key[0] == PATH_PARAMETER else sent.get(key)
        for key in (state.attributes[number] for number in instruction.attributes)
    ]
    by_number = question_by_number(state, instruction, positional, "203.0.113.1", Terms())
    by_name = question_by_name(
        state,
        HttpRequest(
            "GET",
            route=endpoint[1],
            parameters=known,
            attributes=[(*key, value) for key, value in sent.items() if value is not None],
            client_ip="203.0.113.1",
        ),
        Terms(),
    )
    assert await _decide(state, by_number) == await _decide(state, by_name)


def test_the_plan_names_what_expressions_of_possible_policies_read() -> None:
    state = snapshot(
        policy(
            "one",
            "/a/:id/*",
            condition="request.path != '' && request.client_ip != ''",
            cost="request.body.n",
        ),
        policy("two", "/plain", condition="request.headers.a == request.path_parameters.id"),
        policy("three", "/elsewhere", condition="request.headers.b == 'x'"),
        endpoints=ENDPOINTS,
    )
    plan = build_plan(state)
    read = {
        item.endpoint.template: sorted(state.attributes[number] for number in item.attributes)
        for item in plan.instructions.values()
    }
    assert read == {
        TEMPLATE: [
            ("body_json", "n"),
            ("client_ip", ""),
            ("path_parameter", "id"),
            ("path_parameter", "tail"),
        ],
        "/plain": [("header", "a")],
        "/a/{id}": [],
    }
    assert not any(item.sensitive for item in plan.attributes)


def test_a_condition_on_stop_spares_no_check() -> None:
    state = snapshot(
        policy("health", "/plain", stop=True, condition="request.method == 'GET'"),
        policy("all", limits=[limit(1)]),
        endpoints=ENDPOINTS,
    )
    assert all(item.check for item in build_plan(state).instructions.values())
