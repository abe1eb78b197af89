from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usageflow.domain.errors import InvalidArgument
from usageflow.domain.matching import Entry, MatchTarget, PatternTrie, target_of_path, target_of_route
from usageflow.domain.paths import candidate_paths
from usageflow.domain.patterns import Methods, Pattern, naive_matches
from usageflow.domain.templates import UNMATCHED, canonical_template, segments_of

steady = settings(derandomize=True, deadline=None, max_examples=200)

METHODS = ["GET", "HEAD", "POST", "OPTIONS"]
texts = st.sampled_from(["a", "b", "c", "a.b", "va"])
pattern_paths = st.one_of(
    st.sampled_from(["*", "/*", "/"]),
    st.lists(st.one_of(texts, st.sampled_from([":x", "*"])), min_size=1, max_size=4).map(
        lambda parts: "/" + "/".join(parts)
    ),
)
policies = st.tuples(
    st.one_of(st.just(["*"]), st.lists(st.sampled_from(METHODS), min_size=1, max_size=3)),
    pattern_paths,
    st.integers(-1, 1),
)
tries = st.lists(policies, max_size=12).map(
    lambda given: [
        Entry(Methods.parse(methods), Pattern.parse(path), priority, f"p{at:02}", at)
        for at, (methods, path, priority) in enumerate(given)
    ]
)
methods = st.sampled_from([*METHODS, "DELETE"])
segments = st.one_of(st.none(), st.just(""), texts)
targets = st.builds(MatchTarget, st.lists(segments, max_size=5).map(tuple), st.booleans())


def _template(parts: list[str], tail: str) -> str:
    named = [part.replace("{}", f"{{p{at}}}") for at, part in enumerate(parts)]
    return "/" + "/".join([*named, tail] if tail else named)


templates = st.one_of(
    st.just(UNMATCHED),
    st.builds(
        _template,
        st.lists(st.one_of(texts, st.sampled_from(["{}", "{}", "{}.{y}", "v{}"])), max_size=3).filter(
            lambda parts: parts.count("{}.{y}") <= 1
        ),
        st.sampled_from(["", "{tail*}"]),
    ),
)
values = st.dictionaries(
    st.sampled_from(["p0", "p1", "p2", "y", "tail"]),
    st.sampled_from(["", "a", "b", "a/b", "/a/c", "c", "//"]),
)


def naive(entries: list[Entry[int]], method: str, target: MatchTarget) -> tuple[int, ...]:
    found = [
        entry
        for entry in entries
        if entry.methods.matches(method)
        and naive_matches(entry.pattern, target.segments, open_end=target.open_end)
    ]
    return tuple(entry.value for entry in sorted(found, key=lambda entry: entry.order))


@given(tries, methods, targets)
@steady
def test_the_trie_answers_as_the_obvious_matcher_in_the_same_order(
    entries: list[Entry[int]], method: str, target: MatchTarget
) -> None:
    assert PatternTrie(entries).lookup(method, target) == naive(entries, method, target)


@given(tries, methods, st.lists(st.sampled_from(["a", "b", "", ".", "..", "%61", "a.b"]), max_size=5))
@steady
def test_raw_paths_meet_the_union_in_order_without_duplicates(
    entries: list[Entry[int]], method: str, parts: list[str]
) -> None:
    raw = "/" + "/".join(parts)
    met = {value for path in candidate_paths(raw) for value in naive(entries, method, target_of_path(path))}
    ordered = sorted((entry for entry in entries if entry.value in met), key=lambda entry: entry.order)
    assert PatternTrie(entries).lookup_paths(method, raw) == tuple(entry.value for entry in ordered)


@given(tries, methods, templates, values)
@steady
def test_lookup_finds_only_what_could_match(
    entries: list[Entry[int]], method: str, template: str, params: dict[str, str]
) -> None:
    assert canonical_template(template) == template
    trie = PatternTrie(entries)
    found = trie.lookup(method, target_of_route(template, params))
    possible = trie.could_match(method, template)
    assert [value for value in possible if value in found] == list(found)


@given(tries, methods, st.lists(texts, max_size=4))
@steady
def test_unmatched_requests_find_only_what_could_match(
    entries: list[Entry[int]], method: str, parts: list[str]
) -> None:
    trie = PatternTrie(entries)
    found = trie.lookup_request(method, UNMATCHED, {}, "/" + "/".join(parts))
    assert set(found) <= set(trie.could_match(method, UNMATCHED))


@given(tries, methods, templates, values)
@steady
def test_lookup_needs_no_other_than_the_distinguishing_parameters(
    entries: list[Entry[int]], method: str, template: str, params: dict[str, str]
) -> None:
    trie = PatternTrie(entries)
    needed = trie.distinguishing_parameters(method, template)
    few = {name: value for name, value in params.items() if name in needed}
    assert trie.lookup(method, target_of_route(template, few)) == trie.lookup(
        method, target_of_route(template, params)
    )
    assert needed <= {name for segment in segments_of(template) for name in segment.names}


def build(*paths: str) -> PatternTrie[str]:
    return PatternTrie(Entry(Methods(), Pattern.parse(path), 0, path, path) for path in paths)


def test_only_parameters_that_a_literal_tells_apart_distinguish() -> None:
    trie = build("/users/42/posts", "/users/:id/posts/:post", "/t/:x", "/f/*")
    assert trie.distinguishing_parameters("GET", "/users/{id}/posts") == {"id"}
    assert trie.distinguishing_parameters("GET", "/users/{id}/posts/{post}") == frozenset()
    assert trie.distinguishing_parameters("GET", "/t/{x}") == frozenset()
    assert trie.distinguishing_parameters("GET", "/f/{path*}") == frozenset()
    assert trie.distinguishing_parameters("GET", UNMATCHED) == frozenset()


def test_a_pattern_that_looks_into_the_rest_distinguishes() -> None:
    assert build("/f/a").distinguishing_parameters("GET", "/f/{path*}") == {"path"}
    assert build("/f/:x").distinguishing_parameters("GET", "/f/{path*}") == {"path"}


def test_another_method_distinguishes_nothing() -> None:
    trie = PatternTrie([Entry(Methods.parse("POST"), Pattern.parse("/users/42"), 0, "a", "a")])
    assert trie.distinguishing_parameters("GET", "/users/{id}") == frozenset()
    assert trie.could_match("GET", "/users/{id}") == ()


def test_text_around_a_parameter_narrows_what_could_match() -> None:
    trie = build("/v2", "/health", "/:x")
    assert trie.could_match("GET", "/v{version}") == ("/v2", "/:x")
    assert trie.could_match("GET", "/{any}") == ("/health", "/v2", "/:x")


def test_targets() -> None:
    assert target_of_path("/") == MatchTarget(())
    assert target_of_path("/a%2Fb/c") == MatchTarget(("a/b", "c"))
    assert target_of_route("/a/{b}/{c}", {"c": "1"}) == MatchTarget(("a", None, "1"))
    assert target_of_route("/a/{b*}", {"b": "/1//2/"}) == MatchTarget(("a", "1", "2"))
    assert target_of_route("/a/{b*}", {"b": "/"}) == MatchTarget(("a",), open_end=True)
    assert target_of_route(UNMATCHED, {}) == MatchTarget((), open_end=True)


def test_an_empty_segment_before_an_open_end_is_part_of_the_rest() -> None:
    assert build("/:x/*").lookup("GET", MatchTarget((None, ""), open_end=True)) == ("/:x/*",)


def test_equal_entries_keep_their_order() -> None:
    entries = [Entry(Methods(), Pattern.parse("/a"), 0, "same", number) for number in range(5)]
    assert PatternTrie(entries).lookup("GET", target_of_path("/a")) == (0, 1, 2, 3, 4)


def test_a_path_that_cannot_be_normalised_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        build("*").lookup_request("GET", "", {}, "/%")


def test_no_route_and_no_path_meet_only_what_takes_everything() -> None:
    assert build("*", "/", "/a", "/:x").lookup_request("GET", "", {}, "") == ("*",)


def test_deep_patterns_and_targets_need_no_deep_stack() -> None:
    deep = "/a" * 500
    trie = build(deep, "/:x" * 300, "/a/*")
    assert trie.lookup("GET", target_of_path(deep)) == (deep, "/a/*")
    assert trie.lookup("GET", target_of_path("/a" * 4000)) == ("/a/*",)
    assert set(trie.could_match("GET", "/{rest*}")) == {deep, "/:x" * 300, "/a/*"}


def test_many_policies_cost_a_lookup_no_more_steps() -> None:
    """Counts the nodes instead of seconds: the same few, whatever else the trie holds."""
    few = build("/api/r1/:id", "/api/*", "*")
    many = build("/api/r1/:id", "/api/*", "*", *(f"/api/r{number}/:id" for number in range(2, 20_000)))
    target = target_of_path("/api/r1/42")
    assert few.lookup("GET", target) == many.lookup("GET", target) == ("/api/r1/:id", "/api/*", "*")
    assert _steps(few, target) == _steps(many, target)


def _steps(trie: PatternTrie[str], target: MatchTarget) -> int:
    level, steps = [trie._root], 0
    for segment in target.segments:
        level = [child for node in level for child in node.children_of(segment)]
        steps += len(level)
    return steps
