"""Case files: what they may say, and what is told at its place where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.policyfile.test_fuzz import VALUES, YAML_WORDS, are_well_told
from usageflow.policyfile import PolicyFileError
from usageflow.policyfile.cases import Decision, LoadedCases, load_cases

EXAMPLE = (Path(__file__).parents[3] / "examples" / "usageflow.cases.yaml").read_text(encoding="utf-8")
HEAD = "version: 1\ncases:\n"
EXPECT = "expect: {decision: ALLOW}"
CASE = HEAD + "  - name: a\n    request: {path: /a}\n    " + EXPECT + "\n"


def read(text: str) -> LoadedCases:
    return load_cases(text, filename="c.yaml")


def test_the_example_is_read() -> None:
    loaded = read(EXAMPLE)
    assert loaded.policies == "usageflow.yaml"
    first, second, *_ = loaded.cases
    assert (first.times, first.expect.decision) == (100, Decision.ALLOW)
    assert (second.after_us, second.expect.retry_after_us) == (600_000_000, 3_000_000_000)


def test_below_a_callers_own_names_numbers_stay_numbers() -> None:
    (case,) = read(CASE.replace("{path: /a}", "{path: /a, body: {at: 5, after: [1.5, true]}}")).cases
    assert case.request.body == {"at": 5, "after": [1.5, True]}


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "fix"),
    [
        ("", 1, 1, "the file must be a mapping", "write keys and values, beginning with `version: 1`"),
        (HEAD + "  []\n", 3, 3, "'cases' is empty", "write at least one item"),
        (CASE.replace("path: /a", "pth: /a"), 4, 15, "unknown key 'pth'", "did you mean 'path'?"),
        (CASE.replace("ALLOW", "PASS"), 5, 24, "'decision' cannot be \"PASS\"", "write ALLOW or DENY"),
        (
            CASE.replace("path: /a", "path: /a, headers: {X-User: 42}"),
            4,
            43,
            "'X-User' is 42, which YAML reads as a number, not as text",
            'put it in quotes: "42"',
        ),
        (
            CASE.replace("path: /a", "path: /a, headers: X-User"),
            4,
            34,
            "'headers' must be a mapping, not \"X-User\"",
            "write names and values: {a: b}",
        ),
        (
            CASE.replace("path: /a", "path: /a, body: {day: 2026-01-01}"),
            4,
            37,
            "'day' cannot be 2026-01-01",
            'put it in quotes: "2026-01-01"',
        ),
        (
            CASE + "    times: 0\n",
            6,
            12,
            "'times' is out of bounds: 0",
            "write a whole number from 1 to 1000000",
        ),
        (
            CASE + "    at: noon\n",
            6,
            9,
            "'noon' is not an instant",
            "write date, time and zone, such as 2026-01-31T00:00:00Z",
        ),
        (CASE + "    after: 1h\n", 6, 12, "no case stands before the first", "write `at`, or nothing"),
        (
            CASE + "  - name: a\n    request: {path: /a}\n    " + EXPECT,
            6,
            11,
            "the name stands at cases[0] already",
            "give each case its own",
        ),
        (
            CASE
            + "  - name: b\n    after: 1h\n    at: 2026-01-01T00:00:00Z\n    request: {route: /a}\n    "
            + EXPECT,
            7,
            12,
            "a case has `at` or `after`, not both",
            "remove one of them",
        ),
        (
            CASE.replace("path: /a", "method: GET"),
            4,
            14,
            "neither path nor route is written",
            "add `path: /api/users`",
        ),
    ],
)
def test_a_mistake_is_told_at_its_place(text: str, line: int, column: int, message: str, fix: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        read(text)
    found = [(each.line, each.column, each.message, each.fix) for each in caught.value.problems]
    assert found == [(line, column, message, fix)]


@given(st.data())
def test_a_good_file_with_a_piece_replaced_ends_well(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(EXAMPLE)))
    end = data.draw(st.integers(start, min(start + 30, len(EXAMPLE))))
    piece = data.draw(st.sampled_from(YAML_WORDS + VALUES) | st.text(max_size=10))
    ends_well(EXAMPLE[:start] + piece + EXAMPLE[end:])


@given(st.data())
def test_a_good_file_with_a_value_replaced_ends_well(data: st.DataObject) -> None:
    lines = [line for line in EXAMPLE.split("\n") if not line.lstrip().startswith("#")]
    index = data.draw(st.sampled_from([i for i, line in enumerate(lines) if ":" in line]))
    lines[index] = f"{lines[index].partition(':')[0]}: {data.draw(st.sampled_from(VALUES))}"
    ends_well("\n".join(lines))


@given(st.text())
def test_any_text_ends_well(text: str) -> None:
    ends_well(text)


def ends_well(text: str) -> None:
    try:
        read(text)
    except PolicyFileError as error:
        are_well_told(error)
