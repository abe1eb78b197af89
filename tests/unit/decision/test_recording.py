"""What the log keeps of a request is enough to decide it again, and holds no secret."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.questions import HttpRequest, Terms, question_by_name
from decision.recording import record_of
from decision.replaying import question_of, undecidable
from decision.resolving import matching
from tests.unit.decision.benches import Bench
from tests.unit.fakes import hashed_block, limit, policy, snapshot, steady, strategy
from usageflow.domain.decision_log import LoggedDecision, document_of
from usageflow.domain.decisions import Answer, Degraded, DegradedReason, Reason
from usageflow.domain.identity import Attributes
from usageflow.domain.policies import FailMode, Strategy
from usageflow.domain.snapshot import Snapshot

KEYED = Strategy.model_validate(
    {
        "name": "by-key",
        "sources": [
            {"in": "header", "name": "X-Api-Key"},
            {"in": "header", "name": "X-User"},
            {"in": "query", "name": "u"},
            {"in": "client_ip"},
        ],
    }
)
TOKEN = Strategy.model_validate(
    {
        "name": "by-token",
        "sources": [
            {"in": "jwt", "name": "sub", "allow_unverified": True},
            {"in": "jwt", "name": "secret", "sensitive": True, "allow_unverified": True},
        ],
    }
)
JOINED = Strategy.model_validate(
    {
        "name": "joined",
        "sources": [
            {"sensitive": True, "join": [{"in": "header", "name": "A"}, {"in": "header", "name": "B"}]}
        ],
    }
)
BY_ID = Strategy.model_validate({"name": "s", "sources": [{"in": "path", "name": "id"}]})
ALLOWED = Answer(allowed=True, reason=Reason.WITHIN_LIMITS, revision=7)


def state(strategy_: Strategy = KEYED, condition: str = "") -> Snapshot:
    return snapshot(
        policy("p", "/a/*", limits=[limit(3)], strategy=strategy_.name, condition=condition),
        strategies=[strategy_],
    )


def kept(snapshot_: Snapshot, path: str = "/a/1", *, route: str = "", **fields: object) -> LoggedDecision:
    attributes = fields.pop("attributes", ())
    request = HttpRequest("GET", path, route, attributes=attributes, **fields)  # type: ignore[arg-type]
    return record_of(snapshot_, question_by_name(snapshot_, request, Terms()), ALLOWED, 5)


def test_what_is_sensitive_is_hashed_and_what_nobody_reads_is_left_out() -> None:
    found = kept(state(), attributes=[("header", "x-api-key", "secret"), ("header", "X-Other", "other")])
    assert [key for key, _ in found.values] == [("header", "x-api-key")]
    assert isinstance(found.values[0][1], bytes)
    assert "secret" not in str(found)
    assert "other" not in str(found)


def test_a_query_is_never_part_of_a_path() -> None:
    assert kept(state(), "/a/1?token=secret#x").path == "/a/1"


SECRET = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"


@pytest.mark.parametrize("path", [f"/nowhere/{SECRET}", f"/nowhere/{SECRET}/x?y#z"])
def test_what_looks_like_a_secret_is_masked_in_a_path_of_no_route(path: str) -> None:
    found = kept(state(), path)
    assert found.path.startswith("/nowhere/***")
    assert "sk_live" not in document_of(found)


@pytest.mark.parametrize("by_route", [True, False])
def test_a_parameter_that_looks_like_a_secret_is_hidden(by_route: bool) -> None:
    made = snapshot(policy("p", "/a/{id}", limits=[limit(3)], strategy="s"), strategies=[BY_ID])
    route, named = ("/a/{id}", [("path", "id", SECRET)]) if by_route else ("", ())
    found = kept(made, f"/a/{SECRET}", route=route, attributes=named)
    assert "sk_live" not in document_of(found)
    if by_route:
        assert (found.path, found.hidden) == ("", ("id",))
        assert isinstance(found.values[0][1], bytes)


def test_a_parameter_with_the_name_of_a_secret_is_hidden() -> None:
    named = [("path", "token", "plain")]
    found = kept(state(), "/a/plain", route="/a/{token}", attributes=named)
    assert (found.path, found.hidden, dict(found.parameters)) == ("", ("token",), {})


def test_an_address_is_kept_as_the_network_that_tells_callers_apart() -> None:
    assert kept(state(), client_ip="203.0.113.7").client_ip == "203.0.113.7"
    assert kept(state(), client_ip="2001:db8::beef").client_ip == "2001:db8::"
    hiding = Strategy.model_validate({"name": "s", "sources": [{"in": "client_ip", "sensitive": True}]})
    assert kept(state(hiding), client_ip="203.0.113.7").client_ip == ""


def test_claims_are_kept_as_far_as_they_are_read() -> None:
    made = state(TOKEN)
    (rules, *_) = made.token_rules
    request = HttpRequest("GET", "/a/1")
    question = question_by_name(made, request, Terms())
    claims = {each.rules_id: {"sub": "alice", "secret": "SECRET", "other": 1} for each in made.token_rules}
    question = replace(question, attributes=Attributes(question.attributes.values, "", claims))
    found = record_of(made, question, ALLOWED, 5)
    assert (("claim", f"{rules.rules_id} sub"), "alice") in found.values
    assert "SECRET" not in str(found)
    assert "other" not in str(found)
    again = question_of(made, found)
    identities = [strategy_.resolve(again.attributes, made.hash_key) for strategy_ in made.strategies]
    assert identities[0] is not None
    assert identities[0].key == "v:alice"


def test_the_fields_of_a_sensitive_join_are_hashed() -> None:
    found = kept(state(JOINED), attributes=[("header", "A", "SECRET"), ("header", "B", "SECRET")])
    assert all(isinstance(value, bytes) for _, value in found.values)


@steady
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["header", "query"]),
            st.sampled_from(["X-Api-Key", "X-User", "u"]),
            st.text(max_size=4),
        ),
        max_size=4,
    ),
    st.sampled_from(["", "203.0.113.7", "2001:db8::1"]),
    st.sampled_from(["/a/1", "/a/b/c", "/x", "/a"]),
    st.sampled_from(["", "/a/{id}", "/{x}/y"]),
)
def test_the_same_revision_decides_a_logged_request_alike(
    attributes: list[tuple[str, str, str]], client_ip: str, path: str, route: str
) -> None:
    made = state(condition="request.query.u != 'no'")
    request = HttpRequest("GET", path, route, attributes=attributes, client_ip=client_ip)
    asked = question_by_name(made, request, Terms())
    logged = record_of(made, asked, ALLOWED, 5)
    again = question_of(made, logged)
    assert undecidable(made, again, logged) == ""
    assert (again.endpoint, again.target) == (asked.endpoint, asked.target)
    for each in made.strategies if matching(made, asked) else ():
        assert each.resolve(again.attributes, made.hash_key) == each.resolve(asked.attributes, made.hash_key)


async def test_another_revision_tells_what_it_lacks() -> None:
    logged = kept(state(), attributes=[("header", "X-User", "bob")])
    reads_other = state(strategy("other", "X-Other"))
    question = question_of(reads_other, logged)
    assert undecidable(reads_other, question, logged) == "header x-other was not kept: no policy read it"
    found_first = state(strategy("both", "X-User", "X-Other"))
    assert undecidable(found_first, question_of(found_first, logged), logged) == ""
    tokens = state(TOKEN)
    assert undecidable(tokens, question_of(tokens, logged), logged) == (
        "claim sub: tokens are not kept, and no policy read it"
    )
    body = state(condition="request.body.n > 1.0")
    assert undecidable(body, question_of(body, logged), logged) == "body n was not kept: no policy read it"
    blocking = snapshot(strategies=[strategy("z", "X-Z")], blocks=[hashed_block("/a/*", "eve")])
    assert undecidable(blocking, question_of(blocking, logged), logged) == (
        "header x-z was not kept: no policy read it"
    )
    answer = await Bench().engine.decide(state(), [question_of(state(), logged)])
    assert answer[0].identity is not None


def test_expressions_cannot_read_what_is_a_hash() -> None:
    secret = Strategy.model_validate(
        {"name": "s", "sources": [{"in": "path", "name": "id", "sensitive": True}]}
    )
    logged = kept(state(secret), "/a/SECRET", route="/a/{id}")
    reads = snapshot(policy("q", "/a/*", condition="request.path_parameters.id == 'x'"))
    told = "path parameter id is kept as a hash, which no expression can read"
    assert undecidable(reads, question_of(reads, logged), logged) == told


def test_values_of_secret_parameters_are_not_kept() -> None:
    secret = Strategy.model_validate(
        {"name": "s", "sources": [{"in": "path", "name": "id", "sensitive": True}]}
    )
    logged = kept(state(secret), "/a/SECRET", route="/a/{id}")
    assert "SECRET" not in str(logged)
    assert logged.hidden == ("id",)
    telling = snapshot(policy("q", "/a/x", limits=[limit(1, scope="SHARED")]))
    assert undecidable(telling, question_of(telling, logged), logged) == (
        "path parameter id is sensitive: its value was not kept"
    )


def test_what_a_fail_mode_decided_is_not_compared() -> None:
    made = state()
    question = question_by_name(made, HttpRequest("GET", "/a/1"), Terms())
    answer = replace(ALLOWED, degraded=Degraded(DegradedReason.STORE_TIMEOUT, FailMode.OPEN))
    logged = record_of(made, question, answer, 5)
    assert "fail mode" in undecidable(made, question_of(made, logged), logged)
