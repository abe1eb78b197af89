"""Which route a request will take, found before the handler runs.

The table is built from the application's routes and asks each route itself whether it matches, on a copy of the scope,
so that templates are right for nested routers, mounts and sub-applications on every version of the frameworks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.routing import Host, Match, Mount, WebSocketRoute

from usageflow.client.adapters import EndpointName
from usageflow.fastapi._asgi import Scope

try:
    from fastapi.routing import iter_route_contexts
except ImportError:  # FastAPI before 0.137.2, or Starlette alone: routes are flat lists

    def iter_route_contexts(routes: Sequence[Any]) -> Iterator[Any]:  # type: ignore[misc]
        """Returns the routes as they are."""
        return iter(routes)


_REST: Final = "/{path:path}"
_ANY_METHOD: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_MAX_CACHED: Final = 4_096


@dataclass(frozen=True, slots=True)
class Found:
    """A route's template in the framework's spelling ("" where no route matches) and its parameters."""

    template: str
    parameters: dict[str, Any]


NOT_FOUND: Final = Found("", {})


@dataclass(frozen=True, slots=True)
class _Node:
    route: Any
    """Something with Starlette's `matches(scope)`."""
    template: str
    methods: tuple[str, ...]
    children: tuple[_Node, ...] | None
    """None for a leaf."""


class RouteTable:
    """The routes of one application. Built once; `stale` tells when routes came or went."""

    def __init__(self, routes: Sequence[Any]) -> None:
        self._lists: list[Sequence[Any]] = []
        self._cacheable = True
        self._nodes = self._build(routes, "")
        self._count = self._total()
        self._cache: dict[tuple[str, str, str, str], Found] = {}

    @property
    def stale(self) -> bool:
        """True where the number of routes has changed since the table was built."""
        return self._total() != self._count

    def endpoints(self) -> list[EndpointName]:
        """Returns every (method, template) once, in the order of the routes."""
        return list(
            dict.fromkeys((method, leaf.template) for leaf in _leaves(self._nodes) for method in leaf.methods)
        )

    def find(self, scope: Scope) -> Found:
        """Returns the first route that matches fully; wrong methods and unknown paths are NOT_FOUND."""
        key = (scope["type"], scope.get("method", ""), scope["path"], scope.get("root_path", ""))
        found = self._cache.get(key)
        if found is None:
            found = _find(self._nodes, scope)
            if self._cacheable:
                if len(self._cache) >= _MAX_CACHED:
                    self._cache.clear()
                self._cache[key] = found
        return found

    def _build(self, routes: Sequence[Any], prefix: str) -> tuple[_Node, ...]:
        self._watch(routes)
        return tuple(self._node(context, prefix) for context in iter_route_contexts(routes))

    def _node(self, route: Any, prefix: str) -> _Node:
        original = getattr(route, "original_route", route)
        template = prefix + (getattr(route, "path", None) or "")
        if isinstance(original, Mount | Host):
            self._cacheable = self._cacheable and not isinstance(original, Host)
            template = template if isinstance(original, Mount) else prefix
            inner = getattr(route, "routes", None) or ()
            if inner:
                return _Node(route, template, (), self._build(inner, template))
            return _Node(route, template + _REST, _ANY_METHOD, None)
        if isinstance(original, WebSocketRoute):
            return _Node(route, template, ("GET",), None)
        return _Node(route, template, tuple(sorted(getattr(route, "methods", None) or _ANY_METHOD)), None)

    def _watch(self, routes: Iterable[Any]) -> None:
        self._lists.append(routes if isinstance(routes, Sequence) else tuple(routes))
        for route in routes:
            included = getattr(route, "original_router", None)
            if included is not None:
                self._watch(included.routes)

    def _total(self) -> int:
        return sum(map(len, self._lists))


def _leaves(nodes: Iterable[_Node]) -> Iterator[_Node]:
    for node in nodes:
        if node.children is None:
            if node.template:
                yield node
        else:
            yield from _leaves(node.children)


def _find(nodes: Iterable[_Node], scope: Scope) -> Found:
    for node in nodes:
        copy = dict(scope)  # matches() may write
        try:
            match, child_scope = node.route.matches(copy)
        except Exception:  # noqa: BLE001 - an application's own convertor: the router will meet and report it
            return NOT_FOUND
        if match is Match.FULL:
            if node.children is None:
                return Found(node.template, child_scope.get("path_params", {}))
            copy.update(child_scope)
            return _find(node.children, copy)
    return NOT_FOUND
