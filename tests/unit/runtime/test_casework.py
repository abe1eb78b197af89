"""Cases are decided as requests are, and whatever is not as expected is told."""

from __future__ import annotations

import pytest

from usageflow.expressions import check
from usageflow.policyfile import PolicyFileError, load
from usageflow.policyfile.cases import load_cases
from usageflow.runtime.casework import CaseResult, run_cases
from usageflow.runtime.rehearsal import snapshot_of_file

POLICIES = """\
version: 1
application: demo
strategies:
  - name: by-user
    sources: [{in: header, name: X-User, sensitive: true}, {in: body, name: user.id}]
  - name: by-token
    sources:
      - {in: jwt, name: sub, issuer: "https://id", audience: api, jwks_url: "https://id/keys"}
    on_missing: DENY
policies:
  - name: p
    match: {path: /a}
    strategy: by-user
    limits: [{limit: 3, window: 1h}]
    message: slowly
  - name: chat
    match: {path: /chat, methods: [POST]}
    condition: request.body.model == "large" && request.body.n > 1.0
    cost: request.body.n
    limits: [{limit: 10, window: 1h, scope: SHARED}]
  - name: mine
    match: {path: /mine}
    strategy: by-token
    limits: [{limit: 1, window: 1h}]
plans:
  - {name: pro, overrides: [{policy: p, limit: 5}]}
customers:
  - {name: acme, identities: [alice], plan: pro}
blocks:
  - {path: /*, identity: mallory, reason: abuse}
"""


async def results(cases: str) -> list[CaseResult]:
    loaded = load(POLICIES, filename="p.yaml", check=check)
    return await run_cases(
        snapshot_of_file(loaded), load_cases("version: 1\ncases:\n" + cases, filename="c.yaml")
    )


async def told(request: str, expect: str, more: str = "") -> list[str]:
    case = f"  - {{name: a, request: {{path: /a, {request}}}, expect: {{{expect}}}{more}}}\n"
    (result,) = await results(case)
    return [str(each) for each in result.mismatches]


@pytest.mark.parametrize(
    ("request_", "expect", "more"),
    [
        ("headers: {x-user: bob}", "decision: ALLOW, identity: bob, policies: [p]", ", times: 3"),
        (
            "headers: {X-User: bob}",
            "decision: DENY, status: 429, retry_after: 1h, message: slowly",
            ", times: 4",
        ),
        (
            "headers: {X-User: alice}",
            "decision: DENY, limits: [{policy: p, limit: 5, exceeded: true}]",
            ", times: 6",
        ),
        ("headers: {X-User: mallory}", "decision: DENY, reason: BLOCKED, status: 403", ""),
        ("body: {user: {id: 7}}", 'decision: ALLOW, identity: "7"', ""),
        ("cost: 4", "decision: DENY, reason: COST_ABOVE_LIMIT", ""),
        ("path: /chat, method: POST, body: {model: large, n: 4}", "decision: ALLOW", ", times: 2"),
        (
            "path: /chat, method: POST, body: {model: large, n: 4}",
            "decision: DENY, policy: chat",
            ", times: 3",
        ),
        (
            "path: /chat, method: POST, body: {model: small, n: 4}",
            "decision: ALLOW, policies: []",
            ", times: 9",
        ),
        ("path: /mine", "decision: DENY, reason: IDENTITY_REQUIRED, status: 401", ""),
        ("path: /mine, claims: {sub: zoe}", "decision: DENY, identity: zoe", ", times: 2"),
    ],
)
async def test_what_holds(request_: str, expect: str, more: str) -> None:
    path = "" if "path:" in request_ else "path: /a, "
    case = f"  - {{name: a, request: {{{path}{request_}}}, expect: {{{expect}}}{more}}}\n"
    (result,) = await results(case)
    assert [str(each) for each in result.mismatches] == []
    assert result.holds


async def test_what_does_not_hold_is_told() -> None:
    wrong = "decision: DENY, reason: BLOCKED, policy: q, identity: bob, status: 403, limits: [{policy: p, remaining: 1}]"
    assert await told("headers: {X-User: zoe}", wrong + "") == [
        "decision: expected DENY, got ALLOW",
        "reason: expected BLOCKED, got WITHIN_LIMITS",
        "policy: expected q, got p",
        "status: expected 403, got 200",
        *await told("headers: {X-User: zoe}", "decision: ALLOW, identity: bob"),
        "limits[p/default].remaining: expected 1, got 2",
    ]
    assert await told("", "decision: ALLOW, limits: [{policy: x}]") == [
        "limits[x/default]: expected a limit that has a say, got none"
    ]


async def test_a_denial_that_comes_too_early_is_told() -> None:
    assert await told("", "decision: DENY", ", times: 6") == [
        "request 4 of 6: expected ALLOW, got DENY (LIMIT_EXCEEDED)"
    ]


async def test_counters_begin_empty_unless_a_case_comes_after_another() -> None:
    request = "request: {path: /a}"
    found = await results(
        f"  - {{name: a, {request}, times: 4, expect: {{decision: DENY}}}}\n"
        f"  - {{name: b, {request}, expect: {{decision: ALLOW}}}}\n"
        f"  - {{name: c, after: 59m, {request}, expect: {{decision: ALLOW, limits: [{{policy: p, remaining: 1}}]}}}}\n"
        f"  - {{name: d, after: 1m, {request}, expect: {{decision: ALLOW, limits: [{{policy: p, remaining: 2}}]}}}}\n"
    )
    assert [(each.name, each.mismatches) for each in found] == [(name, ()) for name in "abcd"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("path: a", "c.yaml:3:"),
        ("path: /a, ip: nowhere", "'nowhere' is not an address"),
        ("path: '/a?b=c'", "a query stands in the path; write it under `query`"),
        ("route: '/a/{x'", "c.yaml:3:"),
        ("path: /a, method: 'G T'", "is not an HTTP method"),
    ],
)
async def test_what_is_no_request_is_told_at_its_place(request_: str, message: str) -> None:
    with pytest.raises(PolicyFileError, match=r"c\.yaml:3:") as caught:
        await results(f"  - {{name: a, request: {{{request_}}}, expect: {{decision: ALLOW}}}}\n")
    assert message in str(caught.value)
