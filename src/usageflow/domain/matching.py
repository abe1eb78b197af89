"""Which policies a request meets: a compiled trie over patterns (design: Endpoint and pattern; spec/vectors/matching).

A lookup walks the request's segments once. At each depth it holds the nodes that agree so far, so its cost grows with
depth and with what matches, not with the number of policies. Each entry has a rank in the total order; results are
sorted by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from usageflow.domain.paths import candidate_paths
from usageflow.domain.patterns import Kind, Methods, Pattern, decoded
from usageflow.domain.templates import UNMATCHED, Parameter, TemplateSegment, segments_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A value under what it matches. Ties in the order keep the order in which entries were given."""

    methods: Methods
    pattern: Pattern
    priority: int
    name: str
    value: T

    @property
    def order(self) -> tuple[tuple[int, ...], bool, int, str]:
        """Returns the key of the total order, most specific first."""
        return self.pattern.specificity, self.methods.is_all, -self.priority, self.name


@dataclass(frozen=True, slots=True)
class MatchTarget:
    """Decoded segments of a request, as patterns see them.

    ``None`` is a parameter without a known value, which no literal takes; "" an empty segment of a raw path, which
    nothing takes; ``open_end`` means that unknown segments follow, one or more.
    """

    segments: tuple[str | None, ...]
    open_end: bool = False


def target_of_route(template: str, params: Mapping[str, str]) -> MatchTarget:
    """Returns the target of a canonical template and the decoded values that the router found; a missing one is unknown.

    An empty value counts as unknown; ``{unmatched}`` is taken by ``*`` alone.
    """
    if template == UNMATCHED:
        return MatchTarget((), open_end=True)
    segments: list[str | None] = []
    for segment in segments_of(template):
        if segment.is_rest:
            rest = [text for text in params.get(segment.parameters[0].name, "").split("/") if text]
            return MatchTarget((*segments, *rest), open_end=not rest)
        segments.append(_text(segment, params))
    return MatchTarget(tuple(segments))


def target_of_path(path: str) -> MatchTarget:
    """Returns the target of a path without query, raw or normalised."""
    return MatchTarget(() if path == "/" else tuple(decoded(text) for text in path.split("/")[1:]))


class PatternTrie(Generic[T]):
    """Values by method and path, in the total order. Never changes once it is built."""

    def __init__(self, entries: Iterable[Entry[T]]) -> None:
        self._root: _Node[T] = _Node()
        self._everything: _Bucket[T] = _Bucket()  # `*` alone: takes every target, even one without segments
        added: dict[_Bucket[T], list[tuple[Methods, tuple[int, T]]]] = {}
        for rank, entry in enumerate(sorted(entries, key=lambda entry: entry.order)):
            added.setdefault(self._bucket(entry.pattern), []).append((entry.methods, (rank, entry.value)))
        for bucket, ranked in added.items():
            bucket.fill(ranked)
        self.is_empty = not added

    def lookup(self, method: str, target: MatchTarget) -> tuple[T, ...]:
        """Returns the values of all entries that match, most specific first."""
        found = self._found(method.upper(), target)
        found.sort(key=_rank)
        return tuple([value for _, value in found])

    def lookup_paths(self, method: str, raw_path: str) -> tuple[T, ...]:
        """Returns what matches the raw or the normalised path of a request without a route, in order, each once.

        Raises InvalidArgument, field ``path``, for a path that cannot be normalised.
        """
        ranked: dict[int, T] = {}
        for path in candidate_paths(raw_path):
            ranked.update(self._found(method.upper(), target_of_path(path)))
        return tuple(ranked[rank] for rank in sorted(ranked))

    def lookup_request(self, method: str, route: str, params: Mapping[str, str], path: str) -> tuple[T, ...]:
        """Returns what matches a request: by its canonical route, else by its raw path, else only what takes everything.

        ``route`` is empty or ``{unmatched}`` and ``path`` is empty where there is none. Raises as lookup_paths does.
        """
        if path and route in {"", UNMATCHED}:
            return self.lookup_paths(method, path)
        return self.lookup(method, target_of_route(route or UNMATCHED, params))

    def could_match(self, method: str, template: str) -> tuple[T, ...]:
        """Returns every value that lookup may return for some parameter values of a canonical template, in order.

        For ``{unmatched}`` that is every entry of the method, since the path decides.
        """
        found = [ranked for bucket, _ in self._reach(template) for ranked in bucket.of(method.upper())]
        return tuple(value for _, value in sorted(found, key=_rank))

    def distinguishing_parameters(self, method: str, template: str) -> frozenset[str]:
        """Returns the parameters whose values change what matches; lookup needs no others.

        A rest parameter is among them where a pattern looks into it, by a literal or by counting its segments.
        """
        reached = (names for bucket, names in self._reach(template) if bucket.of(method.upper()))
        return frozenset().union(*reached)

    def _bucket(self, pattern: Pattern) -> _Bucket[T]:
        if pattern.takes_everything:
            return self._everything
        node = self._root
        for segment in pattern.segments:
            if segment.kind is Kind.REST:
                node.rest = _Bucket() if node.rest is _EMPTY else node.rest
                return node.rest
            node = node.child(segment.literal)
        node.end = _Bucket() if node.end is _EMPTY else node.end
        return node.end

    def _found(self, method: str, target: MatchTarget) -> list[tuple[int, T]]:
        found = list(self._everything.of(method))
        segments, level = target.segments, [self._root]
        filled = len(segments)
        while filled and segments[filled - 1] == "" and not target.open_end:  # trailing slashes are no rest
            filled -= 1
        for at, segment in enumerate(segments):
            if at < filled:
                for node in level:
                    found += node.rest.of(method)
            level = [child for node in level for child in node.children_of(segment)]
            if not level:
                return found
        for node in level:
            found += (node.rest if target.open_end else node.end).of(method)
        return found

    def _reach(self, template: str) -> Iterator[tuple[_Bucket[T], frozenset[str]]]:
        """Yields each bucket that some values lead to, with the parameters whose values decide whether they do."""
        yield self._everything, frozenset()
        if template == UNMATCHED:
            below = (self._root.end, self._root.rest, *self._root.buckets_of_children())
            yield from ((bucket, frozenset()) for bucket in below)
            return
        segments = segments_of(template)
        waiting: list[tuple[_Node[T], int, frozenset[str]]] = [(self._root, 0, frozenset())]
        while waiting:
            node, at, names = waiting.pop()
            if at == len(segments):
                yield node.end, names
                continue
            yield node.rest, names
            deciding = names | segments[at].names
            if segments[at].is_rest:
                yield from ((bucket, deciding) for bucket in node.buckets_of_children())
                continue
            if node.one is not None:
                waiting.append((node.one, at + 1, names))
            waiting += [(child, at + 1, deciding) for child in node.literals_for(segments[at])]


class _Bucket(Generic[T]):
    """Entries of one pattern by method: ``named`` has an answer for each method that some entry names."""

    __slots__ = ("all", "named")

    def __init__(self) -> None:
        self.named: dict[str, tuple[tuple[int, T], ...]] = {}
        self.all: tuple[tuple[int, T], ...] = ()

    def fill(self, added: Sequence[tuple[Methods, tuple[int, T]]]) -> None:
        names = {name for methods, _ in added for name in methods.names}
        if "GET" in names:
            names.add("HEAD")
        for name in names:
            self.named[name] = tuple([ranked for methods, ranked in added if methods.matches(name)])
        self.all = tuple([ranked for methods, ranked in added if methods.is_all])

    def of(self, method: str) -> tuple[tuple[int, T], ...]:
        return self.named.get(method, self.all)


_EMPTY: _Bucket[Any] = _Bucket()  # of the many places where nothing ends; never filled


class _Node(Generic[T]):
    """A place in the trie: what ends here, what takes the rest from here, and where it goes on."""

    __slots__ = ("end", "literals", "one", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.one: _Node[T] | None = None
        self.end: _Bucket[T] = _EMPTY
        self.rest: _Bucket[T] = _EMPTY

    def child(self, literal: str) -> _Node[T]:
        """Returns the node below, made if need be; "" is the one for any single segment."""
        if not literal:
            self.one = self.one or _Node()
            return self.one
        node = self.literals.get(literal)
        if node is None:
            node = self.literals[literal] = _Node()
        return node

    def children_of(self, segment: str | None) -> Iterator[_Node[T]]:
        if segment:
            literal = self.literals.get(segment)
            if literal is not None:
                yield literal
        if segment != "" and self.one is not None:
            yield self.one

    def literals_for(self, segment: TemplateSegment) -> Iterator[_Node[T]]:
        """Yields the nodes of the literals that a segment of a template may become."""
        first, last = segment.parts[0], segment.parts[-1]
        if not segment.names:
            yield from filter(None, [self.literals.get(_text(segment, {}) or "")])
            return
        prefix = decoded(first) if isinstance(first, str) else ""
        suffix = decoded(last) if isinstance(last, str) else ""
        for literal, child in self.literals.items():
            if literal.startswith(prefix) and literal.endswith(suffix):
                yield child

    def buckets_of_children(self) -> Iterator[_Bucket[T]]:
        waiting = [*self.literals.values(), *([self.one] if self.one else [])]
        while waiting:
            node = waiting.pop()
            yield node.end
            yield node.rest
            waiting += node.literals.values()
            if node.one is not None:
                waiting.append(node.one)


def _rank(ranked: tuple[int, T]) -> int:
    return ranked[0]


def _text(segment: TemplateSegment, params: Mapping[str, str]) -> str | None:
    """Returns the decoded text of a segment, None where a value is unknown or nothing is left."""
    texts: list[str] = []
    for part in segment.parts:
        text = params.get(part.name) if isinstance(part, Parameter) else decoded(part)
        if text is None:
            return None
        texts.append(text)
    return "".join(texts) or None
