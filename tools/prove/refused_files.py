"""Policy files with one mistake each, which `usageflow apply` must refuse: where, and what it says to write instead."""

from __future__ import annotations

from typing import NamedTuple

PLACE = "‸"
"""Stands before the mistake, and is not part of the file."""

HEAD = "version: 1\napplication: demo\n{}\n"
_WHO = "strategies:\n  - {{name: by-user, sources: [{{in: header, name: X-User-Id}}]}}\n"
_POLICY = "policies:\n  - name: p\n    match: {{path: /a}}\n    strategy: by-user\n"
_LIMITED = """policies:
  - {{name: p, match: {{path: /a}}, strategy: by-user, limits: [{{name: hourly, limit: 10, window: 1h}}]}}
  - {{name: all, match: {{path: /b}}, limits: [{{limit: 10, window: 1h, scope: SHARED}}]}}
"""

MATCH = HEAD.format(_WHO + "policies:\n  - name: p\n    match: {}")
STRATEGY = HEAD.format("strategies:\n  - {}")
LIMIT = HEAD.format(_WHO + _POLICY + "    limits:\n      - {}")
POLICY = HEAD.format(_WHO + _POLICY + "    limits: [{{limit: 10, window: 1h}}]\n    {}")
PLAN = HEAD.format(_WHO + _LIMITED + "plans:\n  - {}")
CUSTOMER = HEAD.format(_WHO + _LIMITED + "plans:\n  - {{name: pro}}\ncustomers:\n  - {}")
BLOCK = HEAD.format("blocks:\n  - {}")


class Refused(NamedTuple):
    """A mistake in what ``subject`` names: ``bad`` stands in ``scaffold``; the fix holds the words ``fix``."""

    subject: str
    scaffold: str
    bad: str
    fix: str

    @property
    def text(self) -> str:
        """Returns the file."""
        return self._marked().replace(PLACE, "")

    @property
    def place(self) -> tuple[int, int]:
        """Returns line and column of the mistake, from 1."""
        before = self._marked().partition(PLACE)[0]
        return before.count("\n") + 1, len(before) - before.rfind("\n")

    def _marked(self) -> str:
        return self.scaffold.format(self.bad)


REFUSED = (
    Refused("pattern", MATCH, "{path: ‸a}", "write `/path`, or `*` for everything"),
    Refused("pattern", MATCH, "{path: ‸/a/*/b/**}", "write `:id` or `*` as a whole segment"),
    Refused("pattern", MATCH, "{path: ‸/a//b}", "write the path as it is routed"),
    Refused("pattern", MATCH, "{path: ‸'/a/:'}", "write `:id` or `*`"),
    Refused("pattern", MATCH, "{path: ‸'/a/{id'}", "write `:id` or `*`"),
    Refused("pattern", MATCH, "{path: ‸'/a?b=1'}", "match the path alone"),
    Refused("pattern", MATCH, "{methods: ‸[GET, '*'], path: /a}", "give `*` alone, or only names"),
    Refused("pattern", MATCH, "{methods: ‸[G€T], path: /a}", "use names such as GET"),
    Refused("pattern", BLOCK, "{path: ‸internal/*}", "write `/path`, or `*` for everything"),
    Refused("strategy", STRATEGY, "{name: s, sources: ‸[]}", "write at least one item"),
    Refused(
        "strategy",
        STRATEGY,
        "{name: s, sources: [{in: ‸headers, name: X}]}",
        "write header, query, path, body, cookie, jwt, client_ip or context",
    ),
    Refused("strategy", STRATEGY, "{name: s, sources: [‸{in: header}]}", "add it, such as `name: user_id`"),
    Refused(
        "strategy",
        STRATEGY,
        "{name: s, sources: [{in: body, name: ‸user..id}]}",
        "write one such as `user.id`",
    ),
    Refused("strategy", STRATEGY, "{name: s, sources: [{in: client_ip, name: ‸x}]}", "remove 'name'"),
    Refused(
        "strategy",
        STRATEGY,
        "{name: s, sources: [{in: header, name: X}], on_missing: ‸SKIP}",
        "add `allow_unlimited: true` if that is meant, or use ANONYMOUS_PER_IP",
    ),
    Refused(
        "strategy",
        STRATEGY,
        "{name: s, sources: [{in: header, name: X}], on_missing: ‸IGNORE}",
        "write ANONYMOUS_PER_IP, ANONYMOUS_SHARED, DENY or SKIP",
    ),
    Refused(
        "strategy",
        STRATEGY,
        "{name: s, sources: [{in: jwt, name: sub, issuer: i, audience: a, jwks_url: ‸'http://keys.example'}]}",
        "write one that begins with https://",
    ),
    Refused(
        "strategy",
        STRATEGY,
        "{name: s, sources: [‸{in: jwt, name: sub, jwks_url: 'https://keys.example', audience: a}]}",
        "add the token's `issuer`",
    ),
    Refused(
        "strategy",
        STRATEGY,
        "{name: s, sources: [‸{in: jwt, name: sub, issuer: i, audience: a}]}",
        "add `jwks_url: https://...` or `keys: [...]`",
    ),
    Refused(
        "strategy",
        STRATEGY,
        "{name: s, sources: [{join: ‸[{in: header, name: X}]}]}",
        "name two fields or more",
    ),
    Refused(
        "strategy",
        HEAD,
        "policies:\n  - {name: p, match: {path: /a}, strategy: ‸nobody}\n",
        "declare it under strategies",
    ),
    Refused("FIXED_WINDOW", LIMIT, "{limit: ‸0, window: 1h}", "write a whole number from 1 to 1000000000000"),
    Refused("FIXED_WINDOW", LIMIT, "{limit: 5, window: ‸1hour}", "such as 30s or 1h"),
    Refused("FIXED_WINDOW", LIMIT, "‸{limit: 5}", "add it, such as `window: 1h` or `align: day`"),
    Refused("FIXED_WINDOW", LIMIT, "{limit: 5, window: 1h, ‸limt: 5}", "did you mean 'limit'?"),
    Refused(
        "FIXED_WINDOW",
        LIMIT,
        "{limit: 5, window: 1h, burst: ‸10}",
        "add `algorithm: TOKEN_BUCKET` or drop burst",
    ),
    Refused(
        "TOKEN_BUCKET",
        LIMIT,
        "{algorithm: TOKEN_BUCKET, limit: 5, window: 1s, burst: ‸-1}",
        "write a whole number from 0 to 1000000000000",
    ),
    Refused(
        "TOKEN_BUCKET",
        LIMIT,
        "{algorithm: TOKEN_BUCKET, limit: 5, align: ‸day}",
        "write a window, or leave out `algorithm`",
    ),
    Refused(
        "SLIDING_WINDOW",
        LIMIT,
        "{algorithm: SLIDING_WINDOW, limit: 5, align: ‸day}",
        "write a window, or leave out `algorithm`",
    ),
    Refused(
        "SLIDING_WINDOW",
        LIMIT,
        "{algorithm: SLIDING_WINDOW, limit: 5, window: 1h, burst: ‸7}",
        "add `algorithm: TOKEN_BUCKET` or drop burst",
    ),
    Refused(
        "CONCURRENCY",
        LIMIT,
        "{algorithm: CONCURRENCY, limit: 5, charge_denied: ‸true}",
        "remove it from this limit",
    ),
    Refused("CONCURRENCY", LIMIT, "{algorithm: CONCURRENCY, limit: 5, window: ‸2d}", "such as 1m"),
    Refused(
        "algorithm",
        LIMIT,
        "{algorithm: ‸LEAKY_BUCKET, limit: 5, window: 1h}",
        "write FIXED_WINDOW, TOKEN_BUCKET, SLIDING_WINDOW or CONCURRENCY",
    ),
    Refused(
        "algorithm",
        HEAD,
        "policies:\n  - {name: p, match: {path: /a}, limits: [‸{limit: 5, window: 1h}]}\n",
        "write `scope: SHARED` if that is meant",
    ),
    Refused("calendar", LIMIT, "{limit: 5, align: ‸year}", "write minute, hour, day, week, month or billing"),
    Refused("calendar", LIMIT, "{limit: 5, window: 1h, align: ‸day}", "remove `window` or `align`"),
    Refused("calendar", LIMIT, "‸{limit: 5, align: billing}", "add `anchor`, such as 2026-01-31T00:00:00Z"),
    Refused(
        "calendar", LIMIT, "{limit: 5, align: billing, anchor: ‸2026-01-31}", "such as 2026-01-31T00:00:00Z"
    ),
    Refused("time zone", LIMIT, "{limit: 5, align: day, time_zone: ‸Berlin}", "such as Europe/Berlin or UTC"),
    Refused(
        "time zone",
        LIMIT,
        "{limit: 5, window: 1d, time_zone: ‸Europe/Berlin}",
        "write `align: day` instead of a window, or remove it",
    ),
    Refused(
        "guard",
        STRATEGY,
        "{name: s, sources: [{in: header, name: X}], guard: {limit: 5, window: ‸2d}}",
        "it must be from 1s to 1d",
    ),
    Refused(
        "guard",
        STRATEGY,
        "{name: s, sources: [{in: header, name: X}], guard: {limit: ‸0, window: 1m}}",
        "write a whole number from 1 to 1000000000",
    ),
    Refused(
        "guard",
        STRATEGY,
        "{name: s, sources: [{in: context, name: user}], guard: ‸{limit: 5, window: 1m}}",
        "remove it: somebody vouches for every identity",
    ),
    Refused(
        "plan",
        PLAN,
        "{name: pro, overrides: [{policy: ‸q, limit_name: hourly, limit: 5}]}",
        "use one of all, p",
    ),
    Refused(
        "plan",
        PLAN,
        "{name: pro, overrides: [{policy: p, limit_name: ‸daily, limit: 5}]}",
        "use one of hourly",
    ),
    Refused(
        "plan",
        PLAN,
        "{name: pro, overrides: [‸{policy: all, limit: 5}]}",
        "change the policy, or count per identity there",
    ),
    Refused(
        "override",
        CUSTOMER,
        "{name: acme, overrides: [{policy: p, limit_name: hourly, limit: ‸0}]}",
        "write a whole number from 1 to 1000000000000",
    ),
    Refused(
        "override",
        CUSTOMER,
        "{name: acme, overrides: [{policy: p, limit_name: hourly, limit: 5, burst: ‸9}]}",
        "remove `burst`",
    ),
    Refused(
        "override",
        CUSTOMER,
        "{name: acme, overrides: [{policy: p, limit_name: hourly, limit: 5, expires: ‸tomorrow}]}",
        "such as 2026-01-31T00:00:00Z",
    ),
    Refused(
        "override",
        CUSTOMER,
        "{name: acme, identities: [u1], overrides: [{policy: p, limit_name: hourly, limit: 5, identity: ‸u2}]}",
        "add it to `identities`, or remove it here",
    ),
    Refused("customer", CUSTOMER, "{name: acme, plan: ‸por}", "did you mean 'pro'?"),
    Refused("customer", CUSTOMER, "{name: acme, stripe_customer: ‸acme}", "such as cus_123"),
    Refused("customer", CUSTOMER, "{name: acme, identities: [u1, ‸42]}", 'put it in quotes: "42"'),
    Refused(
        "customer",
        CUSTOMER,
        "{name: acme, identities: [u1]}\n  - {name: other, identities: [‸u1]}",
        "let each identity belong to one customer",
    ),
    Refused("condition", POLICY, "condition: ‸request.method = 'GET'", "write CEL: == to compare"),
    Refused(
        "condition", POLICY, "condition: ‸request.methd == 'GET'", "an expression reads request.method, path"
    ),
    Refused(
        "condition", POLICY, "condition: ‸size(request.path)", "compare it, such as request.method == 'POST'"
    ),
    Refused("condition", POLICY, "condition: ‸nobody == 'x'", "an expression reads request.method, path"),
    Refused(
        "condition",
        POLICY,
        "condition: ‸request.method == 5",
        "use values of one type: convert with string()",
    ),
    Refused("cost", POLICY, "cost: ‸request.nothing * 2", "an expression reads request.method, path"),
    Refused("cost", POLICY, "cost: ‸'\"a\"'", "convert it with int() or double()"),
    Refused("cost", POLICY, "cost: ‸1 +", "write CEL: == to compare"),
    Refused("cost", POLICY, "cost: ‸-3", "write a whole number from 1 to 1000000000000"),
    Refused(
        "cost", LIMIT, "{limit: ‸10, window: 1h}\n    cost: 11", "raise the limit or lower the policy's cost"
    ),
)
