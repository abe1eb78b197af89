from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from usageflow.v1 import common_pb2 as common
from usageflow.v1.decision_pb2 import (
    CheckResponse,
    ExplainResponse,
    LimitExplanation,
    PolicyExplanation,
)

CHECK = ("check", "--method", "post", "--path", "/api/transactions")

DENIED = CheckResponse(
    decision=common.DECISION_DENY,
    reason=common.REASON_LIMIT_EXCEEDED,
    identity="user-1",
    policies=["transactions", "everything"],
    limits=[
        common.LimitStatus(
            policy="transactions",
            limit_name="hourly",
            algorithm=common.ALGORITHM_FIXED_WINDOW,
            limit=100,
            window=Duration(seconds=3600),
            remaining=0,
            reset=Duration(seconds=1799, nanos=500_000_000),
            exceeded=True,
            cost=1,
        )
    ],
    retry_after=Duration(seconds=1799, nanos=500_000_000),
    shadow=[common.ShadowVerdict(policy="trial", would_deny=True, limit_names=["daily"])],
    degraded=common.Degraded(reason=common.DEGRADED_REASON_STORE_TIMEOUT, fail_mode=common.FAIL_MODE_LOCAL),
    revision=2**60,
    message="slow down",
)
ALLOWED = CheckResponse(
    decision=common.DECISION_ALLOW, reason=common.REASON_NO_POLICY, identity="anonymous:::1", revision=3
)


def test_a_denial_is_exit_code_3_and_says_everything(run: Any, service: Any) -> None:
    service.will("Check", DENIED)
    result = run(*CHECK, "--output", "json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {
        "decision": "DENY",
        "reason": "LIMIT_EXCEEDED",
        "identity": "user-1",
        "policies": ["transactions", "everything"],
        "limits": [
            {
                "policy": "transactions",
                "name": "hourly",
                "algorithm": "FIXED_WINDOW",
                "limit": 100,
                "window_s": 3600,
                "remaining": 0,
                "reset_s": 1799.5,
                "exceeded": True,
                "cost": 1,
            }
        ],
        "retry_after_s": 1799.5,
        "degraded": {"reason": "STORE_TIMEOUT", "fail_mode": "LOCAL"},
        "revision": 2**60,
        "shadow": [{"policy": "trial", "would_deny": True, "limits": ["daily"]}],
        "message": "slow down",
        "slot_id": "",
    }
    assert result.stderr == ""


def test_an_allowed_request_is_exit_code_0(run: Any, service: Any) -> None:
    service.will("Check", ALLOWED)
    result = run(*CHECK, "--output", "json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert (answer["retry_after_s"], answer["degraded"], answer["limits"]) == (None, None, [])


def test_the_table_shows_decision_and_limits(run: Any, service: Any) -> None:
    service.will("Check", DENIED)
    lines = run(*CHECK).stdout.splitlines()
    assert lines[0] == "DENY (LIMIT_EXCEEDED)"
    assert "retry after: 1799.5 s" in lines
    assert "degraded: STORE_TIMEOUT, fail mode LOCAL" in lines
    assert "shadow: trial would deny (daily)" in lines
    assert " ".join(lines[-1].split()) == "transactions hourly FIXED_WINDOW 100 3600 s 0 1799.5 s yes"


def test_a_slot_is_shown_and_its_limit_has_no_reset(run: Any, service: Any) -> None:
    at_once = common.LimitStatus(
        policy="jobs",
        limit_name="at-once",
        algorithm=common.ALGORITHM_CONCURRENCY,
        limit=2,
        window=Duration(seconds=60),
        remaining=1,
        reset=Duration(seconds=1),
        cost=1,
    )
    answer = CheckResponse(decision=common.DECISION_ALLOW, limits=[at_once], slot_id=b"\x01\xff")
    service.will("Check", answer)
    lines = run(*CHECK).stdout.splitlines()
    assert "slot: 01ff, held until its life ends" in lines
    assert " ".join(lines[-1].split()) == "jobs at-once CONCURRENCY 2 60 s 1 no"
    service.will("Check", answer)
    shown = json.loads(run(*CHECK, "--output", "json").stdout)
    assert (shown["slot_id"], shown["limits"][0]["reset_s"]) == ("01ff", None)


def test_values_cannot_steer_the_terminal(run: Any, service: Any) -> None:
    service.will("Check", CheckResponse(decision=common.DECISION_ALLOW, identity="\x1b[2J[red]x"))
    result = run(*CHECK)
    assert "identity: \\x1b[2J[red]x" in result.stdout


def test_the_request_holds_what_the_options_say(run: Any, service: Any) -> None:
    service.will("Check", ALLOWED)
    run(
        *("check", "--method", "get", "--path", "/a?page=2&q=a%20b&empty=", "--route", "/{x}"),
        *("--header", "X-User-Id:  user-1 ", "--header", "A: b:c", "--query", "k=v=w", "--query", "z="),
        *("--client-ip", "::1", "--cost", "5", "--request-id", "r-1"),
    )
    [(method, request, metadata)] = service.calls
    assert method == "Check"
    assert metadata["authorization"] == "Bearer uf_key"
    assert (request.cost, request.request_id, request.application) == (5, "r-1", "")
    http = request.request
    assert (http.method, http.path, http.route, http.client_ip) == ("GET", "/a", "/{x}", "::1")
    header, query = common.ATTRIBUTE_LOCATION_HEADER, common.ATTRIBUTE_LOCATION_QUERY
    assert [(each.location, each.name, each.value) for each in http.attributes] == [
        (header, "X-User-Id", "user-1"),
        (header, "A", "b:c"),
        (query, "page", "2"),
        (query, "q", "a b"),
        (query, "empty", ""),
        (query, "k", "v=w"),
        (query, "z", ""),
    ]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--header", "nonsense"], "'nonsense' is not 'Name: value'"),
        (["--header", ": x"], "': x' is not 'Name: value'"),
        (["--query", "nonsense"], "'nonsense' is not 'name=value'"),
        (["--client-ip", "10.0.0"], "'10.0.0' is not an IPv4 or IPv6 address"),
        (["--cost", "-1"], "--cost"),
        (["--cost", "many"], "--cost"),
        (["--output", "xml"], "--output"),
        (["--timeout", "nan"], "--timeout"),
        (["--path", "api"], "write a path that begins with /"),
        (["--path", "/?" + "&".join(f"a{i}=" for i in range(300))], "at most 256 parameters"),
        (["--route", "\udcff"], "is not UTF-8"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_wrong_usage_is_exit_code_2(run: Any, service: Any, args: list[str], words: str) -> None:
    result = run(*CHECK, *args)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not service.calls


def test_no_decision_is_exit_code_1(run: Any, service: Any) -> None:
    service.will("Check", CheckResponse())
    result = run(*CHECK, "--output", "json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "the service decided nothing: start a service of this version\n"


VIOLATION = BadRequest(
    field_violations=[BadRequest.FieldViolation(field="request.path", description="it is long; cut it")]
)


@pytest.mark.parametrize(
    ("code", "details", "words"),
    [
        (
            grpc.StatusCode.UNAUTHENTICATED,
            [],
            (
                "the service does not accept this credential (why): set USAGEFLOW_API_KEY, or take the one in "
                ".usageflow/credentials.toml"
            ),
        ),
        (
            grpc.StatusCode.PERMISSION_DENIED,
            [],
            "this credential may not do that (why): set USAGEFLOW_API_KEY to one that may",
        ),
        (
            grpc.StatusCode.NOT_FOUND,
            [],
            "the service does not find it (why): check the application's name",
        ),
        (grpc.StatusCode.INVALID_ARGUMENT, [], "the service refuses the request: why"),
        (grpc.StatusCode.INVALID_ARGUMENT, [VIOLATION], "request.path: it is long; cut it"),
        (grpc.StatusCode.INTERNAL, [], "the service answered INTERNAL: why"),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            [RetryInfo(retry_delay=Duration(seconds=2))],
            "the service cannot do this now (why): try again in 2 s",
        ),
        (
            grpc.StatusCode.UNAVAILABLE,
            [ErrorInfo(reason="UNAVAILABLE", domain="usageflow")],
            "the service cannot do this now (why): try again",
        ),
        (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            [],
            "ADDRESS did not answer within 10 s: try again, or wait longer with --timeout",
        ),
        (grpc.StatusCode.UNAVAILABLE, [], "cannot reach ADDRESS: start it with `make run`"),
    ],
)
def test_a_failed_call_is_one_sentence_and_exit_code_1(
    run: Any, service: Any, code: grpc.StatusCode, details: list[Any], words: str
) -> None:
    service.fails("Check", code, "why", *details)
    result = run(*CHECK)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == words.replace("ADDRESS", service.address) + "\n"


def test_a_method_that_the_service_lacks(run: Any, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service.fails("Check", grpc.StatusCode.UNIMPLEMENTED, "no such method")
    assert "does not offer this: start a service of this version" in run(*CHECK).stderr


def explanation() -> ExplainResponse:
    return ExplainResponse(
        answer=ALLOWED,
        policies=[
            PolicyExplanation(
                policy="transactions", applies=True, because="it matches", mode=common.POLICY_MODE_ENFORCE
            ),
            PolicyExplanation(
                policy="users", because="method POST is not among GET", mode=common.POLICY_MODE_SHADOW
            ),
        ],
        identity_source="header X-User-Id",
        limits=[LimitExplanation(after=DENIED.limits[0], remaining_before=1)],
        matched_path="/api/transactions",
    )


def test_explain_asks_with_the_admin_token(run: Any, service: Any) -> None:
    service.will("Explain", explanation())
    result = run("explain", *CHECK[1:], "--application", "shop", "--cost", "2", "--output", "json")
    assert result.exit_code == 0
    [(_, request, metadata)] = service.calls
    assert metadata["authorization"] == "Bearer uf_admin_token"
    assert (request.application, request.cost, request.request.method) == ("shop", 2, "POST")
    shown = json.loads(result.stdout)
    assert shown["answer"]["decision"] == "ALLOW"
    assert shown["identity_source"] == "header X-User-Id"
    assert shown["matched_path"] == "/api/transactions"
    assert shown["policies"][1] == {
        "policy": "users",
        "applies": False,
        "because": "method POST is not among GET",
        "mode": "SHADOW",
    }
    assert (shown["limits"][0]["remaining_before"], shown["limits"][0]["remaining"]) == (1, 0)


def test_explain_reads_as_tables(run: Any, service: Any) -> None:
    service.will("Explain", explanation())
    text = run("explain", *CHECK[1:]).stdout
    assert "matched path: /api/transactions" in text
    assert "identity from: header X-User-Id\n\n" in text
    assert "method POST is not among GET" in text
    last = " ".join(text.splitlines()[-1].split())
    assert last == "transactions hourly FIXED_WINDOW 100 3600 s 1 0 1799.5 s"
    assert service.requests[0].application == "demo"


def test_a_new_enum_value_of_a_newer_service_is_its_number(run: Any, service: Any) -> None:
    service.will("Check", CheckResponse.FromString(b"\x08\x01\x10\x63"))
    assert json.loads(run(*CHECK, "--output", "json").stdout)["reason"] == "99"


def test_everything_that_strategies_read_can_be_named(run: Any, service: Any) -> None:
    service.will("Check", ALLOWED)
    more = ("--cookie", "sid=a=b", "--body", "user.id=7", "--context", "org=acme", "--path-param", "id=7")
    assert run(*CHECK, *more, "--bearer", "a.b.c").exit_code == 0
    request = service.requests[0].request
    assert [(each.location, each.name, each.value) for each in request.attributes] == [
        (common.ATTRIBUTE_LOCATION_COOKIE, "sid", "a=b"),
        (common.ATTRIBUTE_LOCATION_BODY, "user.id", "7"),
        (common.ATTRIBUTE_LOCATION_BODY_JSON, "user.id", "7"),
        (common.ATTRIBUTE_LOCATION_APP_CONTEXT, "org", "acme"),
        (common.ATTRIBUTE_LOCATION_JWT_CLAIM, "bearer", "a.b.c"),
    ]
    assert dict(request.path_parameters) == {"id": "7"}


@pytest.mark.parametrize("option", ["--cookie", "--body", "--context", "--path-param"])
def test_what_names_nothing_is_refused(run: Any, option: str) -> None:
    result = run(*CHECK, option, "=a")
    assert result.exit_code == 2
    assert option in result.stderr
