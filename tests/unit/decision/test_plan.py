from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from decision.engine import Engine
from decision.keyring import KeyRing
from decision.plan import Plan, build_plan, missing_parameters
from decision.questions import HttpRequest, Terms, question_by_name, question_by_number
from decision.tokens import TokenReader
from tests.unit.fakes import hashed_block, limit, policy, request, resilient, snapshot, steady, strategy
from tests.unit.tokens import jwt_source, token
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.identity import PATH_PARAMETER
from usageflow.domain.matching import target_of_route
from usageflow.domain.policies import Block, FailMode, Mode, OnMissing, Policy
from usageflow.domain.snapshot import Snapshot
from usageflow.domain.templates import canonical_template
from usageflow.domain.usage import EndpointName
from usageflow.runtime.jwks_http import HttpKeyFetcher
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.ports import NumberKind

TEMPLATES = ["/a", "/a/{x}", "/{x}/{y}", "/a/{x}/b", "/a/{tail*}", "/v{x}/b", "/"]
PATHS = ["*", "/a", "/a/:id", "/a/b", "/:x/:y", "/a/*", "/a/c/b", "/*/b", "/v1/b", "/b/:y"]
VALUES = ["b", "c", "1", "a", "b/c", "a b"]
USERS = ["u", "v", ""]
PLACES = ["cookie", "body", "context", "query", "path"]

policies = st.lists(
    st.tuples(
        st.sampled_from(PATHS),
        st.sampled_from([("*",), ("GET",), ("POST",)]),
        st.sampled_from(["", "by-user", "by-key", "deny", "anywhere", "joined"]),
        st.integers(0, 2),
        st.sampled_from(list(Mode)),
        st.booleans(),
    ),
    max_size=4,
)
blocks = st.lists(
    st.tuples(st.sampled_from(PATHS[1:]), st.sampled_from(["", "u", "k"]), st.sampled_from(["*", "GET"])),
    max_size=2,
)
parameters = st.fixed_dictionaries({name: st.sampled_from(VALUES) for name in ("x", "y", "tail")})


def plan_of(state: Snapshot) -> Plan:
    return build_plan(state)


def state_of(
    given_policies: list[tuple[str, tuple[str, ...], str, int, Mode, bool]],
    given_blocks: list[tuple[str, str, str]],
    method: str = "GET",
) -> Snapshot:
    made: list[Policy] = [
        policy(f"p{n}", path, methods, [limit(size)] if size else [], strategy=named, mode=mode, stop=stop)
        for n, (path, methods, named, size, mode, stop) in enumerate(given_policies)
    ]
    stored: list[Block] = [hashed_block(path, who, methods=[verb]) for path, who, verb in given_blocks]
    declared = [
        strategy("by-user"),
        strategy("by-key", "X-API-Key", "X-User"),
        strategy("deny", "X-Other", on_missing=OnMissing.DENY),
        strategy("anywhere", sources=[jwt_source(), *({"in": place, "name": "x"} for place in PLACES)]),
        strategy("joined", sources=[{"join": [{"in": "path", "name": "x"}, {"in": "client_ip"}]}]),
    ]
    return snapshot(
        *made, strategies=declared, blocks=stored, endpoints=[(method, item) for item in TEMPLATES]
    )


@steady
@given(policies, blocks, parameters, st.sampled_from(["GET", "HEAD", "POST"]))
def test_where_the_plan_says_report_nothing_has_to_be_asked(
    given_policies: list[tuple[str, tuple[str, ...], str, int, Mode, bool]],
    given_blocks: list[tuple[str, str, str]],
    values: dict[str, str],
    method: str,
) -> None:
    state = state_of(given_policies, given_blocks, method)
    plan = plan_of(state)
    assert {item.endpoint.template for item in plan.instructions.values()} == set(TEMPLATES)
    for item in plan.instructions.values():
        if item.check:
            continue
        target = target_of_route(item.endpoint.template, values)
        assert not state.blocks.lookup(method, target)
        for matched in state.trie.lookup(method, target):
            if matched.enforced and matched.policy.stop:
                assert not matched.asks
                break
            assert not matched.limits
            assert matched.strategy is None or matched.strategy.on_missing is not OnMissing.DENY


async def _decide(state: Snapshot, question: object) -> object:
    clock = ManualClock()
    tokens = TokenReader(KeyRing(HttpKeyFetcher(allow_private=False), clock), clock)
    engine = Engine(
        resilient(MemoryCounterStore(clock)), MemoryCounterStore(clock), clock, lambda: "r", tokens
    )
    return await engine.decide(state, [question, question, question])  # type: ignore[list-item]


@steady
@given(
    policies,
    blocks,
    parameters,
    st.sampled_from(USERS),
    st.sampled_from(["k", ""]),
    st.sampled_from(["o", ""]),
    st.sampled_from(TEMPLATES),
    st.sampled_from([("jwt", token()), ("jwt", "no.token.x"), *((place, "w") for place in PLACES[:-1])]),
)
async def test_a_check_by_number_decides_exactly_like_one_by_name(
    given_policies: list[tuple[str, tuple[str, ...], str, int, Mode, bool]],
    given_blocks: list[tuple[str, str, str]],
    values: dict[str, str],
    user: str,
    key: str,
    other: str,
    template: str,
    more: tuple[str, str],
) -> None:
    state = state_of(given_policies, given_blocks)
    instruction = plan_of(state).instructions[state.endpoint_numbers[EndpointName("GET", template)]]
    assume(instruction.check)
    headers = {"x-user": user, "x-api-key": key, "x-other": other}
    positional = []
    for number in instruction.attributes:
        location, name = state.attributes[number]
        if location == PATH_PARAMETER:
            positional.append(values.get(name) if f"{{{name}" in template else None)
        elif location == "header":
            positional.append(headers[name] or None)
        else:
            positional.append(more[1] if location == more[0] else None)
    by_number = question_by_number(state, instruction, positional, "203.0.113.1", Terms())
    by_name = question_by_name(
        state,
        HttpRequest(
            "GET",
            route=template,
            parameters={name: value for name, value in values.items() if f"{{{name}" in template},
            attributes=[
                *(("header", name.upper(), value) for name, value in headers.items() if value),
                (more[0], "x", more[1]),
            ],
            client_ip="203.0.113.1",
        ),
        Terms(),
    )
    assert await _decide(state, by_number) == await _decide(state, by_name)


def test_an_endpoint_that_nothing_asks_about_is_reported_and_names_no_attribute() -> None:
    state = snapshot(policy("meters", "/a", metering={"price": "price_1"}), endpoints=[("GET", "/a")])
    (item,) = plan_of(state).instructions.values()
    assert (item.check, item.attributes, item.fail_mode, item.local) == (False, (), FailMode.OPEN, None)


def test_what_stop_leaves_out_needs_no_check() -> None:
    state = snapshot(
        policy("health", "/health", stop=True),
        policy("all", limits=[limit(1)]),
        endpoints=[("GET", "/health")],
    )
    (item,) = plan_of(state).instructions.values()
    assert not item.check


def test_a_shadow_policys_stop_spares_no_check() -> None:
    state = snapshot(
        policy("health", "/health", stop=True, mode=Mode.SHADOW),
        policy("all", limits=[limit(1)]),
        endpoints=[("GET", "/health")],
    )
    (item,) = plan_of(state).instructions.values()
    assert item.check


def test_the_plan_carries_the_strictest_fail_mode_and_the_tightest_rate() -> None:
    state = snapshot(
        policy("one", limits=[limit(100, "1h", name="a"), limit(10, "1m", name="b")], fail_mode="LOCAL"),
        policy("two", limits=[limit(5, "1h")], fail_mode="CLOSED"),
        policy("three", limits=[limit(1, "1h")], mode=Mode.SHADOW),
        endpoints=[("GET", "/a")],
    )
    (item,) = plan_of(state).instructions.values()
    assert item.fail_mode is FailMode.CLOSED
    assert item.local == (5, 3_600_000_000)


def test_attributes_that_are_credentials_are_marked() -> None:
    state = snapshot(
        policy("p", limits=[limit(1)], strategy="s"),
        strategies=[strategy("s", "Authorization", "X-User"), strategy("unused", "X-Unused")],
        endpoints=[("GET", "/a")],
    )
    assert [(item.key, item.sensitive) for item in plan_of(state).attributes] == [
        (("header", "authorization"), True),
        (("header", "x-user"), False),
    ]


def test_tokens_and_parameters_travel_raw_even_where_they_are_sensitive() -> None:
    sources = [
        jwt_source(sensitive=True),
        jwt_source(name="org", **{"from": "cookie:sid"}),
        {"in": "path", "name": "id", "sensitive": True},
        {"in": "cookie", "name": "sid"},
        {"in": "client_ip"},
    ]
    state = snapshot(
        policy("p", limits=[limit(1)], strategy="s"),
        strategies=[strategy("s", sources=sources)],
        endpoints=[("GET", "/a/{id}")],
    )
    assert sorted((*item.key, item.sensitive) for item in plan_of(state).attributes) == [
        ("client_ip", "", False),
        ("cookie", "sid", True),
        ("jwt", "bearer", False),
        ("jwt", "cookie:sid", False),
        ("path_parameter", "id", False),
    ]


def test_an_endpoint_whose_parameters_have_no_number_yet_is_left_to_checks_by_name() -> None:
    state = snapshot(policy("p", "/a/b", limits=[limit(1)]), endpoints=[("GET", "/a/{x}"), ("GET", "/a/b")])
    unfinished = replace(state, attributes={})
    assert [item.endpoint.template for item in plan_of(unfinished).instructions.values()] == ["/a/b"]


def test_parameters_that_have_no_number_yet() -> None:
    numbers = {(NumberKind.ATTRIBUTE, f"{PATH_PARAMETER} x"): 1}
    assert missing_parameters(numbers, ["/{x}/{b}/v{a}", "/{tail*}", "/plain", "/{x}"]) == [
        "a",
        "b",
        "tail",
    ]


@steady
@given(st.text(alphabet="/a.%2:{}*<>()x~0\\", max_size=12).map(lambda text: "/" + text))
def test_no_registered_route_keeps_a_snapshot_from_compiling(text: str) -> None:
    try:
        template = canonical_template(text)
    except InvalidArgument:
        return
    state = snapshot(policy(limits=[limit(1)]), endpoints=[("GET", template), ("POST", template)])
    assert len(plan_of(state).instructions) == 2
    question_by_name(state, request("/a"), Terms())
