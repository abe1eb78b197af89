r"""Route templates in one spelling (design: Endpoint and pattern; cases and rules: spec/vectors/templates).

``{name}`` is one segment, ``{name*}`` the rest, ``{unmatched}`` stands for requests that no route matched. Express, Gin,
Fastify, Flask, FastAPI and net/http spellings convert to it:

    :id  :x(\d+)  <id>  <int:id>  {id}  {id:int}  {id:[0-9]+}          -> {id}
    *path  {*path}  <path:rest>  {path:path}  {path...}  {tail:.*}      -> {path*}
    /static/*                                                           -> /static/{rest*}
    /v:version  /:name.:ext                                             -> /v{version}  /{name}.{ext}

A colon inside a segment is text where the template has a parameter in braces or angle brackets (``/users/{id}:activate``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from usageflow.domain.errors import InvalidArgument

UNMATCHED = "{unmatched}"
MAX_BYTES = 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# No name begins with a digit ({4} is a quantifier) or is a lone $ ({$} ends a path in net/http).
_NAME = re.compile(r"(?:[^\W\d]|\$(?=[\w$]))[\w$]*")
_BRACED_NAME = re.compile(r"(?:[^\W\d]|\$(?=[\w$]))(?:[\w$.-]*[\w$-])?")
_BRACED_STYLE = re.compile(r"\{(?:[^\W\d]|\$[^}])|<")
_ESCAPED_COLON = re.compile(r"\\:|::")
_CANONICAL = re.compile(r"\{([^{}*]+)(\*?)\}")
# Regular expressions that take slashes too, and the types of the same meaning.
_REST_TYPES = frozenset({"path", ".*", ".+", "*"})
_NAMELESS_REST = "rest"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a template; ``rest`` where it takes all that is left."""

    name: str
    rest: bool = False

    def __str__(self) -> str:
        return f"{{{self.name}{'*' if self.rest else ''}}}"


@dataclass(frozen=True, slots=True)
class TemplateSegment:
    """A segment: its parts in order, text or parameters. A rest parameter stands alone."""

    parts: tuple[str | Parameter, ...]
    parameters: tuple[Parameter, ...]
    names: frozenset[str]
    is_rest: bool

    @classmethod
    def of(cls, parts: Sequence[str | Parameter]) -> TemplateSegment:
        """Returns the segment of these parts."""
        parameters = tuple(part for part in parts if isinstance(part, Parameter))
        names = frozenset(parameter.name for parameter in parameters)
        return cls(tuple(parts), parameters, names, any(parameter.rest for parameter in parameters))


@lru_cache(maxsize=16_384)
def canonical_template(template: str) -> str:
    """Returns the canonical spelling of a template; a canonical one comes back as it is. Remembered: each report asks anew.

    Raises InvalidArgument, field ``template``, for what cannot be converted.
    """
    if template == UNMATCHED:
        return template
    _check_text(template)
    canonical = "".join(str(piece) for piece in _pieces(template))
    if canonical.endswith("*}/"):
        canonical = canonical[:-1]
    _check_text(canonical)
    _check_parameters(canonical)
    return canonical


@lru_cache(maxsize=16_384)
def segments_of(canonical: str) -> tuple[TemplateSegment, ...]:
    """Returns the segments of a canonical template; empty ones (a trailing slash) are left out.

    Pure; remembered, since each request asks for its route's.
    """
    return tuple(TemplateSegment.of(list(_parts(text))) for text in canonical.split("/") if text)


def _parts(text: str) -> Iterator[str | Parameter]:
    end = 0
    for match in _CANONICAL.finditer(text):
        if match.start() > end:
            yield text[end : match.start()]
        yield Parameter(match[1], rest=bool(match[2]))
        end = match.end()
    if end < len(text):
        yield text[end:]


def _refused(message: str, fix: str) -> InvalidArgument:
    return InvalidArgument.of("template", message, fix)


def _check_text(template: str) -> None:
    if not template.startswith("/"):
        raise _refused("does not begin with a slash", f"write it as `/path`, or {UNMATCHED} for no route")
    if _CONTROL.search(template):
        raise _refused("holds control characters", "remove them")
    try:
        size = len(template.encode())
    except UnicodeEncodeError:
        raise _refused("is not Unicode text", "remove the lone surrogates") from None
    if size > MAX_BYTES:
        raise _refused(f"is longer than {MAX_BYTES:,} bytes", "register a shorter route")


def _check_parameters(canonical: str) -> None:
    segments = segments_of(canonical)
    names: set[str] = set()
    for position, segment in enumerate(segments, start=1):
        for parameter in segment.parameters:
            if parameter.name in names:
                raise _refused(f"names `{parameter.name}` twice", "give each parameter its own name")
            names.add(parameter.name)
            if parameter.rest and (len(segment.parts) > 1 or position < len(segments)):
                raise _refused(
                    f"`{parameter}` is not the whole last segment",
                    "let the rest begin after a slash and end the template",
                )


def _pieces(template: str) -> Iterator[str | Parameter]:
    braced = _BRACED_STYLE.search(template) is not None
    at = 0
    while at < len(template):
        piece, at = _piece(template, at, braced=braced)
        yield piece


def _piece(template: str, at: int, *, braced: bool) -> tuple[str | Parameter, int]:
    """Returns the piece that begins at ``at``, and where the next one begins."""
    character = template[at]
    starts_segment = template[at - 1] == "/" if at else False
    if character == "{":
        return _braces(template, at)
    if character == "<":
        return _angles(template, at)
    if character == "*" and starts_segment:
        return _star(template, at)
    if (character == ":" or template.startswith("\\:", at)) and (starts_segment or not braced):
        return _colon(template, at)
    if character in "}>*?#\\" or (character == "(" and starts_segment):
        raise _refused(
            f"`{character}` stands where no parameter begins or ends",
            "name each parameter, `{name}` or `{name*}`, and register optional parts as routes of their own",
        )
    return character, at + 1


def _braces(template: str, at: int) -> tuple[str | Parameter, int]:
    end = _closing(template, at, "{", "}")
    content = template[at + 1 : end]
    if content == "$" and end + 1 == len(template):  # net/http: the path ends here
        return "", end + 1
    name, _, kind = content.partition(":")
    rest = kind in _REST_TYPES
    for mark in ("*", "..."):
        if not kind and name.endswith(mark) and name != mark:
            name, rest = name.removesuffix(mark), True
    if name.startswith("*"):
        name, rest = name[1:] or _NAMELESS_REST, True
    return _parameter(name, rest=rest), end + 1


def _angles(template: str, at: int) -> tuple[Parameter, int]:
    """Reads Flask's ``<converter(arguments):name>``; the arguments may hold anything, in quotes or not."""
    end = _closing(template, at, "<", ">")
    kind, _, name = template[at + 1 : end].rpartition(":")
    return _parameter(name, rest=kind.partition("(")[0] == "path"), end + 1


def _star(template: str, at: int) -> tuple[Parameter, int]:
    match = _NAME.match(template, at + 1)
    if match is None:
        return Parameter(_NAMELESS_REST, rest=True), at + 1
    return Parameter(match[0], rest=True), match.end()


def _colon(template: str, at: int) -> tuple[str | Parameter, int]:
    if escaped := _ESCAPED_COLON.match(template, at):
        return "%3A", escaped.end()
    match = _NAME.match(template, at + 1)
    if match is None and template[at - 1] == "/":
        raise _refused("`:` is not followed by a name", "write `:name` with a letter or `_` first")
    if match is None:
        return ":", at + 1
    end, kind = match.end(), ""
    if template.startswith("(", end):
        closing = _closing(template, end, "(", ")")
        kind, end = template[end + 1 : closing], closing + 1
    elif template[end : end + 1] in {"*", "+"}:
        kind, end = "*", end + 1
    return Parameter(match[0], rest=kind in _REST_TYPES), end


def _parameter(name: str, *, rest: bool) -> Parameter:
    if _BRACED_NAME.fullmatch(name) is None:
        raise _refused(
            f"`{name}` is no name of a parameter",
            "use letters, digits, `_`, `-` and `.`, and register optional parts as routes of their own",
        )
    return Parameter(name, rest=rest)


def _closing(template: str, at: int, opening: str, closing: str) -> int:
    """Returns where the bracket that opens at ``at`` closes; a backslash takes the next character with it."""
    depth, position = 0, at
    while position < len(template):
        character = template[position]
        if character == "\\":
            position += 1
        elif character == opening:
            depth += 1
        elif character == closing:
            depth -= 1
            if depth == 0:
                return position
        position += 1
    raise _refused(f"`{opening}` is never closed", f"add the `{closing}`")
