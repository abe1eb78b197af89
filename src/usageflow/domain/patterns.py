"""What a policy matches: methods and a pattern of the path (design: Endpoint and pattern; spec/vectors/matching).

A pattern's segments are literals, ``:id`` or ``{id}`` (exactly one segment) and ``*`` (exactly one; as the last segment,
one or more). ``*`` alone, also spelled ``/*``, is everything. Literals are compared decoded and with regard to case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import unquote

from usageflow.domain.errors import InvalidArgument

MAX_PATTERN_BYTES = 1024
MAX_METHOD_CHARACTERS = 32

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PARAMETER = re.compile(r":[\w$.-]+|\{[\w$.-]+\}")
_NOT_LITERAL = re.compile(r"[*{}<>]")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2


class Kind(IntEnum):
    """What a segment of a pattern takes, most specific first. END sorts a pattern that ends against one that goes on."""

    LITERAL = 0
    ONE = 1
    END = 2
    REST = 3


@dataclass(frozen=True, slots=True)
class PatternSegment:
    """One segment; ``literal`` is the decoded text, empty unless the kind is LITERAL."""

    kind: Kind
    literal: str = ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern: its text as given and its segments; REST only as the last one."""

    text: str
    segments: tuple[PatternSegment, ...]

    @classmethod
    def parse(cls, path: str) -> Pattern:
        """Returns the pattern of a policy. Raises InvalidArgument, field ``path``."""
        if path in {"*", "/*"}:
            return cls(path, (PatternSegment(Kind.REST),))
        _check(path)
        texts = path.removesuffix("/").split("/")[1:]
        last = len(texts) - 1
        return cls(path, tuple(_segment(text, last=at == last) for at, text in enumerate(texts)))

    @property
    def takes_everything(self) -> bool:
        """Returns whether this is ``*`` alone, which takes ``/`` and unmatched requests too."""
        return self.segments[:1] == (PatternSegment(Kind.REST),)

    @property
    def specificity(self) -> tuple[int, ...]:
        """Returns the sort key, most specific first: segment by segment literal > one segment > end > rest."""
        kinds = tuple(segment.kind.value for segment in self.segments)
        return kinds if kinds[-1:] == (Kind.REST.value,) else (*kinds, Kind.END.value)


@dataclass(frozen=True, slots=True)
class Methods:
    """Methods of a policy in upper case; empty means all."""

    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, value: str | Sequence[str]) -> Methods:
        """Returns the methods of ``"*"``, ``["*"]``, one name or a list of names. Raises InvalidArgument, ``methods``."""
        given = [value] if isinstance(value, str) else list(value)
        if given == ["*"]:
            return cls()
        if not given:
            raise _bad_methods("names none", 'write ["*"] for every method')
        for name in given:
            _check_method(name)
        return cls(frozenset(name.upper() for name in given))

    @property
    def is_all(self) -> bool:
        """Returns whether this is ``*``."""
        return not self.names

    @property
    def names_options(self) -> bool:
        """Returns whether OPTIONS is named, so that CORS preflights are judged too; ``*`` does not name it."""
        return "OPTIONS" in self.names

    def matches(self, method: str) -> bool:
        """Returns whether a method in upper case is meant; HEAD also where GET is named.

        ``*`` means OPTIONS too: whether a request is a CORS preflight is the caller's question.
        """
        return not self.names or method in self.names or (method == "HEAD" and "GET" in self.names)


def decoded(segment: str) -> str:
    """Returns the text that a segment of a path or pattern stands for; ``%2F`` becomes a slash inside it.

    Escapes that are not UTF-8 become lone surrogates, so that two different ones stay different.
    """
    return unquote(segment, errors="surrogateescape") if "%" in segment else segment


def naive_matches(pattern: Pattern, segments: Sequence[str | None], *, open_end: bool = False) -> bool:
    """Returns whether a pattern takes the segments: the obvious matcher, which the trie is tested against.

    ``None`` is a parameter without a known value, which no literal takes; "" an empty segment, which nothing takes;
    ``open_end`` means that one or more unknown segments follow.
    """
    if pattern.takes_everything:
        return True
    for at, part in enumerate(pattern.segments):
        if part.kind is Kind.REST:
            return any(segment != "" for segment in segments[at:]) or (open_end and at <= len(segments))
        if at >= len(segments) or segments[at] == "":
            return False
        if part.kind is Kind.LITERAL and segments[at] != part.literal:
            return False
    return len(segments) == len(pattern.segments) and not open_end


def _bad_path(message: str, fix: str) -> InvalidArgument:
    return InvalidArgument.of("path", message, fix)


def _bad_methods(message: str, fix: str) -> InvalidArgument:
    return InvalidArgument.of("methods", message, fix)


def _check_method(name: str) -> None:
    if name == "*":
        raise _bad_methods("mix `*` with names", "give `*` alone, or only names")
    if len(name) > MAX_METHOD_CHARACTERS or _TOKEN.fullmatch(name) is None:
        raise _bad_methods(
            f"`{name[:MAX_METHOD_CHARACTERS]}` is no HTTP method", "use names such as GET, 1 to 32 letters"
        )


def _check(path: str) -> None:
    if not path.startswith("/"):
        raise _bad_path("does not begin with a slash", "write `/path`, or `*` for everything")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise _bad_path("is not Unicode text", "remove the lone surrogates") from None
    if size > MAX_PATTERN_BYTES:
        raise _bad_path(
            f"is longer than {MAX_PATTERN_BYTES:,} bytes", "shorten it, for example by `*` at the end"
        )
    if _CONTROL.search(path) or "%00" in path:
        raise _bad_path("holds control characters or NUL", "remove them")
    if "?" in path or "#" in path:
        raise _bad_path(
            "holds a query or fragment", "match the path alone; `%3F` and `%23` are the characters"
        )
    if _BAD_ESCAPE.search(path):
        raise _bad_path(
            "holds a `%` that two hexadecimal digits do not follow", "write a percent sign as `%25`"
        )


def _segment(text: str, *, last: bool) -> PatternSegment:
    if text == "*":
        return PatternSegment(Kind.REST if last else Kind.ONE)
    if last and text.startswith("{") and text.endswith("*}"):  # a template's spelling of the rest
        return PatternSegment(Kind.REST)
    if _PARAMETER.fullmatch(text):
        return PatternSegment(Kind.ONE)
    return _literal(text)


def _literal(text: str) -> PatternSegment:
    literal = decoded(text)
    if literal in {"", ".", ".."}:
        raise _bad_path(
            "holds an empty or dot segment, which no request has", "write the path as it is routed"
        )
    if text.startswith(":") or _NOT_LITERAL.search(text):
        raise _bad_path(
            f"`{text}` is neither text nor a parameter",
            "write `:id` or `*` as a whole segment; a literal `*` is `%2A`, `:` in front `%3A`",
        )
    return PatternSegment(Kind.LITERAL, literal)
