"""Values of a route's parameters, read back from a raw path."""

from __future__ import annotations

from urllib.parse import unquote

from usageflow.domain.templates import Parameter, segments_of


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
