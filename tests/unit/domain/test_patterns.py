from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usageflow.domain.errors import InvalidArgument
from usageflow.domain.patterns import Kind, Methods, Pattern, naive_matches

steady = settings(derandomize=True, deadline=None, max_examples=200)


def kinds(path: str) -> list[Kind]:
    return [segment.kind for segment in Pattern.parse(path).segments]


def test_segments_of_a_pattern() -> None:
    assert kinds("/a/:id/{x}/*/*") == [Kind.LITERAL, Kind.ONE, Kind.ONE, Kind.ONE, Kind.REST]
    assert kinds("/") == []
    assert kinds("/a/") == [Kind.LITERAL]
    assert kinds("/f/{path*}") == [Kind.LITERAL, Kind.REST]


@pytest.mark.parametrize(
    ("path", "literal"), [("/caf%c3%a9", "café"), ("/a%2fb", "a/b"), ("/%2A", "*"), ("/a:b", "a:b")]
)
def test_literals_are_decoded(path: str, literal: str) -> None:
    assert [segment.literal for segment in Pattern.parse(path).segments] == [literal]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "a",
            "{unmatched}",
            "**",
            "//",
            "/a//b",
            "/.",
            "/a/..",
            "/%2e%2E",
            "/a?b",
            "/a#b",
            "/a%",
            "/a%00",
            "/\n",
        ),
        *(
            "/a*",
            "/*a",
            "/{a",
            "/a}",
            "/v{x}",
            "/<int:id>",
            "/:",
            "/:a?",
            "/{}",
            "/{a*}/b",
            "/\ud800",
            "/" + "a" * 1024,
        ),
    ],
)
def test_what_is_no_pattern_is_refused_with_a_fix(path: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Pattern.parse(path)
    (fault,) = caught.value.faults
    assert fault.field == "path"
    assert fault.fix


@given(st.text())
@steady
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    for path in (text, f"/{text}"):
        try:
            pattern = Pattern.parse(path)
        except InvalidArgument:
            continue
        assert all(segment.kind is not Kind.REST for segment in pattern.segments[:-1])


def test_specificity_goes_segment_by_segment() -> None:
    paths = ["/a/b/c", "/a/b/:x", "/a/b", "/a/b/*", "/a/:x", "/a", "/a/*", "/:x/b", "/", "*"]
    assert sorted(set(paths), key=lambda path: Pattern.parse(path).specificity) == paths


@pytest.mark.parametrize("value", ["*", ["*"]])
def test_the_star_is_every_method_and_names_none(value: str | list[str]) -> None:
    methods = Methods.parse(value)
    assert methods.is_all
    assert methods.matches("OPTIONS")
    assert not methods.names_options


def test_methods_are_put_in_upper_case() -> None:
    assert Methods.parse(["get", "Post", "GET"]).names == {"GET", "POST"}
    assert Methods.parse("options").names_options


def test_head_is_meant_by_head_and_get() -> None:
    assert Methods.parse("GET").matches("HEAD")
    assert Methods.parse("HEAD").matches("HEAD")
    assert not Methods.parse("HEAD").matches("GET")
    assert not Methods.parse("POST").matches("HEAD")


@pytest.mark.parametrize("value", [[], "", [""], ["*", "GET"], ["GET /"], ["GÉT"], ["G" * 33]])
def test_what_is_no_method_is_refused(value: str | list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Methods.parse(value)
    assert [fault.field for fault in caught.value.faults] == ["methods"]


@pytest.mark.parametrize(
    ("path", "segments", "open_end", "want"),
    [
        ("*", [], False, True),
        ("*", [], True, True),
        ("/", [], False, True),
        ("/", [], True, False),
        ("/a/*", ["a"], False, False),
        ("/a/*", ["a"], True, True),
        ("/a/*", ["a", ""], False, False),
        ("/a/*", ["a", "", "b"], False, True),
        ("/a/*", ["a", None], False, True),
        ("/a/:x", ["a", None], False, True),
        ("/a/:x", ["a", ""], False, False),
        ("/a/b", ["a", None], False, False),
        ("/a/:x", ["a"], True, False),
        ("/a", ["a", "b"], False, False),
    ],
)
def test_the_obvious_matcher(path: str, segments: list[str | None], *, open_end: bool, want: bool) -> None:
    assert naive_matches(Pattern.parse(path), segments, open_end=open_end) is want
