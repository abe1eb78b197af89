"""Files whose content is wrong: text, line, column, message and fix."""

from __future__ import annotations

HEAD = "version: 1\napplication: demo\n"
LIMIT = HEAD + "policies:\n  - name: p\n    match: {path: /a}\n    limits:\n      - "
MOST = 10**12

CONTENT = {
    "unknown key": (
        LIMIT + "{limt: 5, limit: 5, window: 1h}\n",
        7,
        10,
        "unknown key 'limt'",
        "did you mean 'limit'?",
    ),
    "unknown top-level key": (
        HEAD + "polices: []\n",
        3,
        1,
        "unknown key 'polices'",
        "did you mean 'policies'?",
    ),
    "far from any key": (
        HEAD + "zzz: 1\n",
        3,
        1,
        "unknown key 'zzz'",
        "known keys are version, application, strategies, policies, plans, customers, blocks",
    ),
    "python's name of a field": (
        HEAD + "strategies: [{name: s, sources: [{in: query, name: a, location: header}]}]\n",
        3,
        55,
        "unknown key 'location'",
        (
            "known keys are in, name, sensitive, join, issuer, audience, jwks_url, keys, algorithms, from, "
            "allow_unverified"
        ),
    ),
    "no version": ("application: demo\n", 1, 1, "'version' is missing", "add it, such as `version: 1`"),
    "no application": (
        "version: 1\n",
        1,
        1,
        "'application' is missing",
        "add it, such as `application: demo`",
    ),
    "version 2": ("version: 2\napplication: demo\n", 1, 10, "'version' must be 1, not 2", "write 1"),
    "version as text": (
        "version: '1'\napplication: demo\n",
        1,
        10,
        "'version' must be 1, not \"1\"",
        "write 1",
    ),
    "version true": ("version: true\napplication: demo\n", 1, 10, "'version' must be 1, not true", "write 1"),
    "application NO": (
        "version: 1\napplication: NO\n",
        2,
        14,
        "'application' is NO, which YAML reads as true or false, not as text",
        'put it in quotes: "NO"',
    ),
    "name as date": (
        HEAD + "policies: [{name: 2024-01-01, match: {path: /a}}]\n",
        3,
        19,
        "'name' is 2024-01-01, which YAML reads as a date, not as text",
        'put it in quotes: "2024-01-01"',
    ),
    "method on": (
        HEAD + "policies: [{name: p, match: {methods: [on], path: /a}}]\n",
        3,
        40,
        "an item of 'methods' is on, which YAML reads as true or false, not as text",
        'put it in quotes: "on"',
    ),
    "identity in base 60": (
        HEAD + "blocks: [{path: /a, identity: 1:30}]\n",
        3,
        31,
        "'identity' is 1:30, which YAML reads as a number in base 60, not as text",
        'put it in quotes: "1:30"',
    ),
    "identity as number": (
        HEAD + "blocks: [{path: /a, identity: 42}]\n",
        3,
        31,
        "'identity' is 42, which YAML reads as a number, not as text",
        'put it in quotes: "42"',
    ),
    "window as number": (
        LIMIT + "{limit: 5, window: 3600000000}\n",
        7,
        28,
        "'3600000000' is not a window",
        "write a whole number and s, m, h, d or w, such as 30s or 1h",
    ),
    "window in base 60": (
        LIMIT + "{limit: 5, window: 1:30}\n",
        7,
        28,
        "'1:30' is not a window",
        "write a whole number and s, m, h, d or w, such as 30s or 1h",
    ),
    "window too long": (
        LIMIT + "{limit: 5, window: 400d}\n",
        7,
        28,
        "'window' is out of bounds: \"400d\"",
        "it must be from 1s to 366d",
    ),
    "window as list": (
        LIMIT + "{limit: 5, window: [1h]}\n",
        7,
        28,
        "'window' must be a window, not a list",
        "write one such as 30s, 1h or 7d",
    ),
    "no window": (
        LIMIT + "{limit: 5}\n",
        7,
        9,
        "'window' is missing",
        "add it, such as `window: 1h` or `align: day`",
    ),
    "window without value": (
        LIMIT + "{limit: 5, window: }\n",
        7,
        28,
        "'window' has no value",
        "write one, or remove the key",
    ),
    **{
        f"limit {written}": (
            LIMIT + f"{{limit: {written}, window: 1h}}\n",
            7,
            17,
            f"'limit' must be a whole number, not {shown}",
            f"write digits only, without quotes or leading zeros, from 1 to {MOST}",
        )
        for written, shown in {
            '"100"': '"100"',
            "1e3": '"1e3"',
            "true": "true",
            "1.5": "1.5",
            "010": "010",
            "0x10": "0x10",
            "2024-01-01": "2024-01-01",
            "[1]": "a list",
        }.items()
    },
    "limit 0": (
        LIMIT + "{limit: 0, window: 1h}\n",
        7,
        17,
        "'limit' is out of bounds: 0",
        f"write a whole number from 1 to {MOST}",
    ),
    "limit of 5,000 digits": (
        LIMIT + "{limit: " + "9" * 5000 + ", window: 1h}\n",
        7,
        17,
        f"'limit' is out of bounds: {'9' * 37}...",
        f"write a whole number from 1 to {MOST}",
    ),
    "algorithm": (
        LIMIT + "{limit: 1, window: 1h, algorithm: fixed}\n",
        7,
        43,
        "'algorithm' cannot be \"fixed\"",
        "write FIXED_WINDOW, TOKEN_BUCKET, SLIDING_WINDOW or CONCURRENCY",
    ),
    "mode": (
        HEAD + "policies: [{name: p, match: {path: /a}, mode: off}]\n",
        3,
        47,
        "'mode' cannot be off",
        "write ENFORCE, SHADOW or DISABLED",
    ),
    "stop": (
        HEAD + "policies: [{name: p, match: {path: /a}, stop: maybe}]\n",
        3,
        47,
        "'stop' cannot be \"maybe\"",
        "write true or false",
    ),
    "name": (
        HEAD + "policies: [{name: My Policy, match: {path: /a}}]\n",
        3,
        19,
        "'name' cannot be \"My Policy\"",
        "write lower-case letters, digits and hyphens, at most 63, without a hyphen at either end",
    ),
    "price": (
        HEAD + "policies: [{name: p, match: {path: /a}, metering: {price: prod_1}}]\n",
        3,
        59,
        "'price' cannot be \"prod_1\"",
        "write the id of a Stripe Price, such as price_123",
    ),
    "a metering expression": (
        HEAD
        + "policies:\n  - name: p\n    match: {path: /a}\n    metering:\n      price: price_1\n      expression: metadata.x +\n",
        8,
        19,
        "there is a syntax error: mismatched input 'the end' (line 1, column 13)",
        "write CEL: == to compare, && and || to join, quotes around text",
    ),
    "a credential metered": (
        HEAD
        + "policies:\n  - name: p\n    match: {path: /a}\n    metering: {price: price_1, expression: \"request.headers['cookie']\"}\n",
        6,
        44,
        "request.headers 'cookie' is a credential, which arrives as a hash only (line 1, column 1)",
        "recognise callers by a strategy and compare identity.value, or let the application set an app_context",
    ),
    "methods as text": (
        HEAD + "blocks: [{methods: POST, path: /a}]\n",
        3,
        20,
        "'methods' must be a list, not \"POST\"",
        "write [POST]",
    ),
    "no methods": (
        HEAD + "blocks: [{methods: [], path: /a}]\n",
        3,
        20,
        "'methods' is empty",
        "write at least one item",
    ),
    "match as text": (
        HEAD + "policies: [{name: p, match: GET}]\n",
        3,
        29,
        "'match' must be a mapping, not \"GET\"",
        "write keys and values: methods, path",
    ),
    "long reason": (
        HEAD + f"blocks: [{{path: /a, reason: {'x' * 501}}}]\n",
        3,
        29,
        "'reason' is too long",
        "write at most 500 characters",
    ),
    "key twice": (
        LIMIT + "limit: 1\n        window: 1h\n        limit: 2\n",
        9,
        9,
        "the key 'limit' stands twice in one mapping, first in line 7",
        "remove one of them",
    ),
    "unknown strategy": (
        HEAD + "policies: [{name: p, match: {path: /a}, strategy: nobody}]\n",
        3,
        51,
        "there is no strategy 'nobody'",
        "declare it under strategies",
    ),
    "condition names nothing": (
        HEAD + "policies: [{name: p, match: {path: /a}, condition: request.metod == 'GET'}]\n",
        3,
        52,
        "there is no 'request.metod' (line 1, column 1)",
        (
            "an expression reads request.method, path, route, client_ip, time, headers, query, path_parameters, "
            "app_context and body, and identity.value, anonymous and verified"
        ),
    ),
    "condition over lines": (
        HEAD
        + "policies:\n- name: p\n  match: {path: /a}\n  condition: |\n    true\n    && request.path == 1\n",
        6,
        14,
        "'==' does not take (string, int) (line 2, column 17)",
        "use values of one type: convert with string(), int() or double()",
    ),
    "condition as number": (
        HEAD + "policies: [{name: p, match: {path: /a}, condition: 5}]\n",
        3,
        52,
        "'condition' is 5, which YAML reads as a number, not as text",
        'put it in quotes: "5"',
    ),
    "condition that yields text": (
        HEAD + "policies: [{name: p, match: {path: /a}, condition: request.method}]\n",
        3,
        52,
        "it yields string, not true or false (line 1, column 1)",
        "compare it, such as request.method == 'POST'",
    ),
    "cost that yields text": (
        HEAD + "policies: [{name: p, match: {path: /a}, cost: request.path}]\n",
        3,
        47,
        "it yields string, not a number (line 1, column 1)",
        "convert it with int() or double()",
    ),
    "cost of credentials": (
        HEAD + "policies: [{name: p, match: {path: /a}, cost: int(request.headers.authorization)}]\n",
        3,
        47,
        "request.headers 'authorization' is a credential, which arrives as a hash only (line 1, column 5)",
        (
            "recognise callers by a strategy and compare identity.value, or let the application set an "
            "app_context"
        ),
    ),
    "cost of 0": (
        HEAD + "policies: [{name: p, match: {path: /a}, cost: 0}]\n",
        3,
        47,
        "'cost' is out of bounds: 0",
        f"write a whole number from 1 to {MOST}",
    ),
    "cost of nothing": (
        HEAD + "policies: [{name: p, match: {path: /a}, cost: ''}]\n",
        3,
        47,
        "'cost' must be a whole number, not \"\"",
        f"write digits only, without quotes or leading zeros, from 1 to {MOST}",
    ),
    "condition too long": (
        HEAD + f"policies: [{{name: p, match: {{path: /a}}, condition: {'x' * 2049}}}]\n",
        3,
        52,
        "the expression has 2,049 characters",
        "write at most 2,048 characters",
    ),
}
