"""Every kind of mistake, with the line, column, message and fix that people read."""

from __future__ import annotations

import pytest

from usageflow.policyfile import PolicyFileError, load

HEAD = "version: 1\napplication: demo\n"
LIMIT = HEAD + "policies:\n  - name: p\n    match: {path: /a}\n    limits:\n      - "
MOST = 10**12


def problems(text: str) -> list[tuple[int, int, str, str]]:
    with pytest.raises(PolicyFileError) as caught:
        load(text, filename="f.yaml")
    return [(each.line, each.column, each.message, each.fix) for each in caught.value.problems]


SYNTAX = {
    "empty": ("", 1, 1, "the file is empty", "write at least `version: 1` and `application: demo`"),
    "comments only": (
        "# hi\n",
        1,
        1,
        "the file is empty",
        "write at least `version: 1` and `application: demo`",
    ),
    "a list": (
        "- a\n",
        1,
        1,
        "the file must be a mapping",
        "write keys and values, beginning with `version: 1`",
    ),
    "a tab": (
        HEAD + "policies:\n\t- name: x\n",
        4,
        1,
        "a tab stands where YAML wants spaces",
        "indent with spaces",
    ),
    "bad indentation": (
        HEAD + "policies:\n  - name: x\n   match: y\n",
        5,
        4,
        "the indentation does not fit the list above",
        "begin the item with '- ' in the column of the other items",
    ),
    "indented sibling": (
        HEAD + "  blocks: []\n",
        3,
        9,
        "a ':' stands where no key can be",
        "check the indentation, or put the value in quotes",
    ),
    "undefined alias": (
        HEAD + "blocks: *all\n",
        3,
        9,
        "'*all' names an anchor that is not defined above",
        "put the value in quotes if it is text, or define '&all'",
    ),
    "unquoted star": (
        HEAD + "blocks: [{methods: [*], path: /a}]\n",
        3,
        22,
        "an unquoted '*' or '&' begins an alias or an anchor",
        "put the value in quotes",
    ),
    "alias of itself": (
        HEAD + "blocks: &b [*b]\n",
        3,
        13,
        "the anchor '&b' contains itself",
        "write the value out",
    ),
    "two documents": (
        HEAD + "---\nversion: 1\n",
        3,
        1,
        "a second document begins here",
        "keep one document in a file",
    ),
    "open quote": (
        HEAD + "blocks: 'x\n",
        4,
        1,
        "a quote is opened and never closed, and begins in line 3",
        "close the quote",
    ),
    "open bracket": (
        HEAD + "blocks: [\nx: 1",
        5,
        1,
        "a list in brackets goes on without ',' or ']', and begins in line 3",
        "close it with ']', and put values with brackets in quotes",
    ),
    "brace in braces": (
        HEAD + "blocks: [{path: /a/{id}}]\n",
        3,
        20,
        "a mapping in braces goes on without ',' or '}'",
        "close it with '}', and put values with braces in quotes",
    ),
    "at sign": (HEAD + "blocks: @x\n", 3, 9, "a value cannot begin with '@'", "put the value in quotes"),
    "escape": (
        HEAD + 'blocks: "\\q"\n',
        3,
        10,
        "there is no such escape in double quotes",
        "use single quotes, or write the backslash twice",
    ),
    "nul": (
        HEAD + "bl\x00cks: []\n",
        3,
        3,
        "the character U+0000 cannot stand in a file",
        "remove it, and save the file as UTF-8",
    ),
    "surrogate": (
        HEAD + "\ud800",
        3,
        1,
        "the character U+D800 cannot stand in a file",
        "remove it, and save the file as UTF-8",
    ),
    "python tag": (
        HEAD + "blocks: !!python/object/apply:os.system [id]\n",
        3,
        9,
        "the tag '!!python/object/apply:os.system' is not allowed here",
        "remove it",
    ),
    "binary tag": (
        HEAD + "blocks: !!binary aGk=\n",
        3,
        9,
        "the tag '!!binary' is not allowed here",
        "remove it",
    ),
    "deep": (
        "[" * 1000,
        1,
        52,
        "nested more than 50 levels deep",
        "remove levels of nesting",
    ),
}


@pytest.mark.parametrize("case", SYNTAX.values(), ids=SYNTAX.keys())
def test_what_is_not_a_policy_file_is_refused_at_its_place(case: tuple[str, int, int, str, str]) -> None:
    text, *expected = case
    assert problems(text) == [tuple(expected)]


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
        "known keys are version, application, strategies, policies, blocks",
    ),
    "python's name of a field": (
        HEAD + "strategies: [{name: s, sources: [{in: query, name: a, location: header}]}]\n",
        3,
        55,
        "unknown key 'location'",
        "known keys are in, name, sensitive",
    ),
    "customers": (
        HEAD + "customers: []\n",
        3,
        1,
        "customers come with a later version",
        "remove the key 'customers'",
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
    "no window": (LIMIT + "{limit: 5}\n", 7, 9, "'window' is missing", "add it, such as `window: 1h`"),
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
        "write FIXED_WINDOW or TOKEN_BUCKET",
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
}


@pytest.mark.parametrize("case", CONTENT.values(), ids=CONTENT.keys())
def test_a_bad_value_is_refused_at_its_place(case: tuple[str, int, int, str, str]) -> None:
    text, *expected = case
    assert problems(text) == [tuple(expected)]


def test_a_key_that_is_not_text_is_refused() -> None:
    assert (3, 3, "a key must be text", "write a name before the ':'") in problems(HEAD + "? [a]\n: b\n")


def test_all_problems_come_together_by_line() -> None:
    text = LIMIT + "{limit: 0, window: 1}\nstrategies: [{nam: s, sources: []}]\napplication: x\n"
    found = problems(text)
    assert [(line, column) for line, column, _, _ in found] == [
        (7, 17),
        (7, 28),
        (8, 14),
        (8, 15),
        (8, 32),
        (9, 1),
    ]


def test_the_error_reads_as_one_line_for_each_problem() -> None:
    with pytest.raises(PolicyFileError) as caught:
        load(HEAD + 'customers: 1\n"a\\nb": 1\n', filename="f.yaml")
    assert str(caught.value).split("\n") == [
        "f.yaml:3:1: customers come with a later version; remove the key 'customers'",
        "f.yaml:4:1: unknown key 'a\\nb'; known keys are version, application, strategies, policies, blocks",
    ]
    assert caught.value.problems[0].path == "customers"


def test_a_file_above_16_mib_is_refused() -> None:
    assert problems("#" * (16 * 1024 * 1024 + 1))[0][2:] == (
        "the file is larger than 16 MiB",
        "split it by application",
    )
    assert problems("#" + "é" * (8 * 1024 * 1024))[0][2] == "the file is larger than 16 MiB"
