from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import hashed_block, limit, policy, snapshot, steady, strategy
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.patterns import Pattern
from usageflow.domain.policies import Block, Mode, Scope
from usageflow.domain.snapshot import (
    CompiledBlock,
    CompiledLimit,
    attribute_name,
    blocking,
    template_of_pattern,
)
from usageflow.domain.templates import UNMATCHED, canonical_template
from usageflow.domain.usage import EndpointName

A, B = EndpointName("GET", "/a"), EndpointName("POST", "/a")


def compiled(**fields: object) -> CompiledLimit:
    number = fields.pop("limit", 10)
    made: dict[str, object] = {"strategy": "by-user", **fields}
    own = {key: made.pop(key) for key in ("window", "algorithm", "scope", "burst", "label") if key in made}
    window, label = str(own.pop("window", "1h")), own.pop("label", "default")
    declared = limit(number, window, name=label, **own)  # type: ignore[arg-type]
    (found,) = snapshot(policy(limits=[declared], **made)).policies  # type: ignore[arg-type]
    return found.limits[0]


def test_another_limit_burst_or_revision_keeps_the_counter() -> None:
    key = compiled().key("v:u", A)
    assert compiled(limit=99).key("v:u", A) == key
    assert compiled(cost=2, fail_mode="CLOSED", message="x").key("v:u", A) == key


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "TOKEN_BUCKET"},
        {"window": "2h"},
        {"scope": Scope.SHARED},
        {"scope": Scope.IDENTITY_AND_ENDPOINT},
        {"label": "other"},
        {"name": "q"},
        {"mode": Mode.SHADOW},
        {"strategy": ""},
    ],
)
def test_what_starts_a_new_counter(fields: dict[str, object]) -> None:
    assert compiled(**fields).key("v:u", A) != compiled().key("v:u", A)


@pytest.mark.parametrize(
    ("scope", "same_identity", "same_endpoint"),
    [(Scope.IDENTITY, False, True), (Scope.IDENTITY_AND_ENDPOINT, False, False), (Scope.SHARED, True, True)],
)
def test_what_a_scope_shares(scope: Scope, same_identity: bool, same_endpoint: bool) -> None:
    made = compiled(scope=scope)
    assert (made.key("v:u", A) == made.key("v:w", A)) is same_identity
    assert (made.key("v:u", A) == made.key("v:u", B)) is same_endpoint


def test_a_policy_without_a_strategy_counts_everybody_as_one() -> None:
    made = compiled(strategy="", scope=Scope.IDENTITY)
    assert made.key("v:u", A) == made.key("v:w", B)


def test_disabled_policies_are_left_out_and_numbers_are_kept() -> None:
    state = snapshot(policy("off", mode=Mode.DISABLED), policy("on"), strategies=[strategy("s", "X-User")])
    assert [item.name for item in state.policies] == ["on"]
    assert {item.name for item in state.policy_numbers.values()} == {"on"}
    assert list(state.attributes.values()) == [("header", "x-user")]
    assert attribute_name(("header", "x-user")) == "header x-user"


def test_a_pattern_that_does_not_parse_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        snapshot(policy(path="no/slash"))
    with pytest.raises(InvalidArgument):
        snapshot(blocks=[hashed_block("no/slash")])


def test_the_first_block_that_holds() -> None:
    everybody, mallory = (
        CompiledBlock(who, why, Block(path="*", identity=who, reason=why))
        for who, why in [("", "all"), ("aa", "one")]
    )
    assert blocking([mallory, everybody], frozenset({"bb"})) is everybody
    assert blocking([mallory, everybody], frozenset({"aa"})) is mallory
    assert blocking([mallory], frozenset()) is None


def test_a_route_that_no_path_can_have_spoils_nothing() -> None:
    state = snapshot(endpoints=[("GET", "/a/.."), ("GET", "/x/%zz"), ("GET", "/a/{id}")])
    assert state.name_of_path("GET", "/a/7") == EndpointName("GET", "/a/{id}")
    assert len(state.endpoint_numbers) == 3


@pytest.mark.parametrize(
    ("template", "path"),
    [("/v{x}/b", "/v1/b"), ("/f/{tail*}", "/f/a/b"), ("/{name}.{ext}", "/a.txt"), ("/", "/")],
)
def test_a_raw_path_finds_its_template(template: str, path: str) -> None:
    state = snapshot(endpoints=[("GET", template)])
    assert state.name_of_path("GET", path) == EndpointName("GET", template)
    assert state.name_of_path("POST", path) == EndpointName("POST", UNMATCHED)


segments = st.one_of(
    st.sampled_from(
        ["*", ":id", "{id}", ":1", ":x.y", "{$a}", "a:b", "%2A", "%7Bx%7D", "(a)", "é", "a.b", "%C3%A9", "\\"]
    ),
    st.text(alphabet="ab:(){}%2.-\\+", min_size=1, max_size=5),
)


@steady
@given(st.lists(segments, max_size=6).map(lambda parts: "/" + "/".join(parts)))
def test_every_pattern_has_a_canonical_template(path: str) -> None:
    try:
        Pattern.parse(path)
    except InvalidArgument:
        return
    template = template_of_pattern(path)
    assert canonical_template(template) == template
