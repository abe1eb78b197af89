"""Route options: which requests are watched. The whitelist wins, then the routes to watch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

RouteOption = Mapping[str, str]
"""`{"method": "GET", "url": "/api/users/:id"}`; either may be `*`."""

_ANY = None


@dataclass(frozen=True, slots=True)
class RoutePattern:
    """A method and a path pattern: literals, `:id` or `{id}` and `*` (one segment; at the end one or more)."""

    method: str
    segments: tuple[str | None, ...] | None
    """None stands for every path; a None segment for any one segment."""
    open_end: bool = False

    @classmethod
    def parse(cls, option: RouteOption) -> RoutePattern:
        """Reads an option. Raises ValueError that says what to write instead."""
        method, url = _fields(option)
        if url == "*":
            return cls(method, None)
        if not url.startswith("/"):
            raise ValueError(f"url {url!r} must begin with '/' (or be '*' for every path)")
        parts = url.strip("/").split("/") if url.strip("/") else []
        open_end = bool(parts) and parts[-1] == "*"
        return cls(method, tuple(_segment(part) for part in parts), open_end)

    def matches(self, method: str, segments: list[str]) -> bool:
        """Tells whether a request is meant; a HEAD request is also meant by GET."""
        if self.method not in ("*", method) and not (method == "HEAD" and self.method == "GET"):
            return False
        if self.segments is None:
            return True
        extra = len(segments) - len(self.segments)
        if extra < 0 or (extra and not self.open_end):
            return False
        return all(want is _ANY or want == got for want, got in zip(self.segments, segments, strict=False))


def _fields(option: RouteOption) -> tuple[str, str]:
    given: object = option  # what a program passes is not what its annotation says
    if isinstance(given, Mapping) and {"method", "url"} >= set(given):
        method, url = given.get("method", "*"), given.get("url")
        if isinstance(method, str) and method and isinstance(url, str):
            return method.upper(), url
    raise ValueError(f"a route is {{'method': 'GET', 'url': '/api/users/*'}}, both texts, not {option!r}")


def _segment(part: str) -> str | None:
    is_parameter = part.startswith(":") or (part.startswith("{") and part.endswith("}"))
    return _ANY if part == "*" or is_parameter else part


class RouteFilter:
    """Decides by method and path whether UsageFlow looks at a request at all."""

    def __init__(self, routes: Iterable[RouteOption] | None, whitelist: Iterable[RouteOption] | None) -> None:
        """`routes` empty or None watches everything. Raises ValueError for an option that cannot be read."""
        self._routes = tuple(RoutePattern.parse(option) for option in routes or ())
        self._whitelist = tuple(RoutePattern.parse(option) for option in whitelist or ())
        self._all = not self._routes or any(p.method == "*" and p.segments is None for p in self._routes)

    def watches(self, method: str, path: str) -> bool:
        """Tells whether a request is watched; `path` is the path that the router matched, without the query."""
        if self._all and not self._whitelist:
            return True
        segments = _split(path)
        if any(pattern.matches(method, segments) for pattern in self._whitelist):
            return False
        return self._all or any(pattern.matches(method, segments) for pattern in self._routes)


def _split(path: str) -> list[str]:
    # Only the first and one trailing slash go: `//internal/x` is not `/internal/x`, so that it cannot pass for it.
    trimmed = path.removeprefix("/").removesuffix("/")
    return trimmed.split("/") if trimmed else []
