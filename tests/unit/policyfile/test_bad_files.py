"""Every kind of mistake, with the line, column, message and fix that people read."""

from __future__ import annotations

import pytest

from tests.unit.policyfile.bad_content import CONTENT, HEAD, LIMIT
from usageflow.expressions import check
from usageflow.policyfile import PolicyFileError, load


def problems(text: str) -> list[tuple[int, int, str, str]]:
    with pytest.raises(PolicyFileError) as caught:
        load(text, filename="f.yaml", check=check)
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
        "f.yaml:3:12: 'customers' must be a list, not 1; write [1]",
        (
            "f.yaml:4:1: unknown key 'a\\nb'; known keys are version, application, strategies, policies, plans, "
            "customers, blocks"
        ),
    ]
    assert caught.value.problems[0].path == "customers"


def test_a_file_above_16_mib_is_refused() -> None:
    assert problems("#" * (16 * 1024 * 1024 + 1))[0][2:] == (
        "the file is larger than 16 MiB",
        "split it by application",
    )
    assert problems("#" + "é" * (8 * 1024 * 1024))[0][2] == "the file is larger than 16 MiB"
