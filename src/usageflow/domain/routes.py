"""Values of a route's parameters, read back from a raw path, and the path that they make."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, unquote

from usageflow.domain.templates import UNMATCHED, Parameter, segments_of

_PATH_CHARACTERS = "-._~!$&'()*+,;=:@"


def parameters_of(template: str, path: str) -> dict[str, str]:
    """Returns the parameter values that a raw path (without query) has under a canonical template.

    Only whole-segment parameters are read; a path of another shape has none.
    """
    segments = segments_of(template)
    texts = [text for text in path.partition("?")[0].split("/") if text]
    values: dict[str, str] = {}
    for index, segment in enumerate(segments):
        part = segment.parts[0]
        if isinstance(part, Parameter) and part.rest:
            values[part.name] = "/".join(unquote(text) for text in texts[index:])
            return values if index < len(texts) else {}
        if index >= len(texts):
            return {}
        if len(segment.parts) > 1:
            continue
        if isinstance(part, Parameter):
            values[part.name] = unquote(texts[index])
        elif unquote(part) != unquote(texts[index]):
            return {}
    return values if len(texts) == len(segments) else {}


def path_of_route(template: str, value_of: Callable[[str], str]) -> str:
    """Returns the path of a canonical template with its parameters' values, percent-encoded as normalised paths are; a
    parameter without a value leaves nothing. ``{unmatched}`` has none: "".
    """
    if template == UNMATCHED:
        return ""
    segments = (
        "".join(_filled(part, value_of) for part in segment.parts) for segment in segments_of(template)
    )
    return "/" + "/".join(segments)


def _filled(part: str | Parameter, value_of: Callable[[str], str]) -> str:
    if isinstance(part, str):
        return part
    safe = _PATH_CHARACTERS + "/" if part.rest else _PATH_CHARACTERS
    return quote(value_of(part.name), safe=safe, errors="replace")
