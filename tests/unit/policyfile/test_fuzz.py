"""Whatever stands in a file, loading ends in a LoadedFile or a PolicyFileError."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from usageflow.policyfile import PolicyFileError, load

EXAMPLE = (Path(__file__).parents[3] / "examples" / "usageflow.yaml").read_text(encoding="utf-8")
YAML_WORDS = [
    *("version: 1", "application: demo", "policies:", "strategies:", "blocks:", "- ", "  ", "\n", "\t"),
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "? ",
        "&a ",
        "*a",
        "<<: *a",
        "!!str ",
        "!!int ",
        "! ",
        "|",
        ">-",
        "'",
        '"',
    ),
    *(
        "~",
        "null",
        "NO",
        "on",
        "1:30",
        "2024-01-01",
        "1e3",
        ".inf",
        ".nan",
        "0x1F",
        "017",
        "1_0",
        "=",
        "---",
        "...",
    ),
    *(
        "name: a",
        "match: {path: /a}",
        "limit: 5",
        "window: 1h",
        "in: header",
        "%YAML 1.1\n",
        "#",
        "\ufeff",
        "\x85",
    ),
]
VALUES = [
    *(
        "",
        "~",
        "[]",
        "{}",
        "[[]]",
        "{a: b}",
        "on",
        "1:30",
        "2024-01-01",
        "-0",
        "1_",
        "1__0",
        "+1",
        ".5",
        "9" * 5000,
    ),
    *("!!binary x", "&a b", "*a", "<<", "=", "'\x1b'", '"\\ud800"', "?", "- x", "١h", "-1s"),
]


def ends_well(text: str) -> None:
    try:
        loaded = load(text, filename="f.yaml")
    except PolicyFileError as error:
        are_well_told(error)
    else:
        assert loaded.locate("policies[0].limits[0].window") >= (1, 1)


def are_well_told(error: PolicyFileError) -> None:
    assert error.problems
    assert len(str(error).split("\n")) == len(error.problems)
    for problem in error.problems:
        assert min(problem.line, problem.column) >= 1
        assert problem.message
        assert problem.fix


@given(st.text())
@example("a: 1\n\ud800")
@example("{a: &b {*b : c}}")
@example("? &a x\n: *a\n*a : y\n")
def test_any_text(text: str) -> None:
    ends_well(text)


@given(st.lists(st.sampled_from(YAML_WORDS), max_size=40).map("".join))
def test_any_mixture_of_yaml(text: str) -> None:
    ends_well(text)


@given(st.data())
def test_a_good_file_with_a_piece_replaced(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(EXAMPLE)))
    end = data.draw(st.integers(start, min(start + 30, len(EXAMPLE))))
    piece = data.draw(st.sampled_from(YAML_WORDS + VALUES) | st.text(max_size=10))
    ends_well(EXAMPLE[:start] + piece + EXAMPLE[end:])


@given(st.data())
def test_a_good_file_with_a_value_replaced(data: st.DataObject) -> None:
    lines = [line for line in EXAMPLE.split("\n") if not line.lstrip().startswith("#")]
    index = data.draw(st.sampled_from([i for i, line in enumerate(lines) if ":" in line]))
    lines[index] = f"{lines[index].partition(':')[0]}: {data.draw(st.sampled_from(VALUES))}"
    ends_well("\n".join(lines))
