"""The part of ASGI that the middleware touches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from usageflow.client.adapters import RequestView, client_address

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_PATH_SAFE = "/:@!$&'()*+,;=~"


def method_of(scope: Scope) -> str:
    """Returns the method; a websocket handshake is a GET."""
    return str(scope["method"]) if scope["type"] == "http" else "GET"


def route_path(scope: Scope) -> str:
    """Returns the decoded path as routers see it: without the root path."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path


def is_preflight(scope: Scope) -> bool:
    """Tells whether a request is a CORS preflight, which browsers send on their own."""
    if scope.get("method") != "OPTIONS":
        return False
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names


def state_of(scope: Scope) -> dict[str, Any]:
    """Returns what `request.state` reads and writes. It is put into the scope, so that copies of the scope share it."""
    state = scope.setdefault("state", {})
    return state if isinstance(state, dict) else {}


def left_by_app(scope: Scope, key: str) -> Any:
    """Returns `request.state.usageflow[key]`, or None where the application left nothing there."""
    left = state_of(scope).get("usageflow")
    return left.get(key) if isinstance(left, dict) else None


def view_of(scope: Scope, template: str, parameters: dict[str, Any], trusted_proxies: int) -> RequestView:
    """Returns the request as the client's core sees it. The body is never read."""
    headers = list(scope["headers"])
    peer = scope.get("client")
    forwarded = (
        [v.decode("latin-1") for k, v in headers if k == b"x-forwarded-for"] if trusted_proxies else []
    )
    context = left_by_app(scope, "context")
    return RequestView(
        method=method_of(scope),
        route=template,
        path=_raw_path(scope),
        headers=headers,
        query_string=scope.get("query_string", b""),
        path_parameters=parameters,
        client_ip=client_address(peer[0] if peer else "", forwarded, trusted_proxies),
        app_context=context if isinstance(context, dict) else {},
    )


def content_length(view: RequestView) -> int:
    """Returns the request's Content-Length, 0 where it is missing or no number."""
    text = view.header(b"content-length")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _raw_path(scope: Scope) -> str:
    raw = scope.get("raw_path")
    if raw and not scope.get("root_path"):
        return str(raw.decode("latin-1")).partition("?")[0]
    return quote(route_path(scope), safe=_PATH_SAFE, errors="replace")
