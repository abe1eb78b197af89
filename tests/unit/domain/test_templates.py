from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from usageflow.domain.errors import InvalidArgument
from usageflow.domain.templates import MAX_BYTES, UNMATCHED, Parameter, canonical_template, segments_of

steady = settings(derandomize=True, deadline=None, max_examples=200)
pieces = st.sampled_from(
    [
        *("/", "/", "a", "x1", ":", "::", "*", "{", "}", "<", ">", "(", ")", "\\", "?", "$", ".", "-", "%3A"),
        *(
            ":id",
            ":b",
            "{c}",
            "{d*}",
            "{e:path}",
            "{f...}",
            "{$}",
            "{*g}",
            "<h>",
            "<int:i>",
            "<path:j>",
            "*k",
            "/*",
        ),
        *("(\\d+)", "(.*)", ":l(a{2})", "((?<m>n))", "{4}", "é"),
    ]
)
templates = st.one_of(st.text(), st.lists(pieces).map(lambda parts: "/" + "".join(parts)))


def attempt(text: str) -> str | InvalidArgument:
    try:
        return canonical_template(text)
    except InvalidArgument as error:
        return error


@given(templates)
@example("/:a((?<n>y))/b:c")
@example("/b:c/{$}")
@example("/" + ":a/" * 300)
@steady
def test_any_text_is_converted_once_and_for_all_or_refused(text: str) -> None:
    canonical = attempt(text)
    if isinstance(canonical, InvalidArgument):
        assert [fault.field for fault in canonical.faults] == ["template"]
        assert all(fault.message and fault.fix for fault in canonical.faults)
        return
    assert canonical_template(canonical) == canonical
    assert canonical == UNMATCHED or canonical.startswith("/")
    assert len(canonical.encode()) <= MAX_BYTES


@given(templates)
@steady
def test_a_rest_is_last_and_names_are_unique(text: str) -> None:
    try:
        segments = segments_of(canonical_template(text))
    except InvalidArgument:
        return
    names = [parameter.name for segment in segments for parameter in segment.parameters]
    assert len(names) == len(set(names))
    assert not any(segment.is_rest for segment in segments[:-1])


def test_segments_hold_text_and_parameters_in_order() -> None:
    mixed, literal, rest = segments_of("/{name}.{ext}/b/{tail*}")
    assert mixed.parts == (Parameter("name"), ".", Parameter("ext"))
    assert mixed.names == {"name", "ext"}
    assert literal.parts == ("b",)
    assert rest.is_rest
    assert segments_of("/") == ()


def test_a_template_that_grows_too_long_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="longer than"):
        canonical_template("/" + "/".join(f":a{number}" for number in range(170)) + "/" + "x" * 20)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="not Unicode"):
        canonical_template("/\ud800")
