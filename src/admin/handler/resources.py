"""The standard methods of every kind: all of them from one table, each unpack, call, pack."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc.aio

from admin.handler.kinds import KINDS, OUTPUT_ONLY, Kind, packed, set_paths
from admin.resources import Listing, Patch, Resources, Write
from usageflow.domain.errors import InvalidArgument
from usageflow.rpc.causes import cause_of

MAX_REQUEST_ID = 64
MAX_MESSAGE = 500

_Context = grpc.aio.ServicerContext[Any, Any]
_Method = Callable[["ResourceMethods", Any, _Context], Awaitable[Any]]


class ResourceMethods:
    """Get, List, Create, Update, Delete and Undelete of every kind; ``resources`` holds the use-cases by the kind's title."""

    _resources: Mapping[str, Resources]


def write_of(request: Any, context: _Context, method: str) -> Write:
    """Returns how a request wants something to be written. Raises InvalidArgument."""
    request_id, message = request.request_id, getattr(request, "message", "")
    if len(request_id) > MAX_REQUEST_ID or not request_id.isprintable():
        fix = f"send 1 to {MAX_REQUEST_ID} printable characters, or leave it empty"
        raise InvalidArgument.of("request_id", "is no request id", fix)
    check_message(message)
    payload = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    return Write(
        cause_of(context, method, request_id=request_id, payload_hash=payload),
        etag=getattr(request, "etag", ""),
        validate_only=request.validate_only,
        allow_missing=getattr(request, "allow_missing", False),
        message=message,
    )


def check_message(message: str) -> None:
    """Raises InvalidArgument for a message that no revision keeps."""
    if len(message) > MAX_MESSAGE or "\0" in message:
        raise InvalidArgument.of(
            "message", "is no message", f"write at most {MAX_MESSAGE} characters of text"
        )


def _owner(request: Any, kind: Kind) -> str:
    return "" if kind.title == "Application" else str(request.application)


def _get(kind: Kind, _name: str) -> _Method:
    async def method(self: ResourceMethods, request: Any, _context: _Context) -> Any:
        resources = self._resources[kind.title]
        return packed(kind, await resources.get(_owner(request, kind), getattr(request, kind.key)))

    return method


def _list(kind: Kind, _name: str) -> _Method:
    async def method(self: ResourceMethods, request: Any, _context: _Context) -> Any:
        listing = Listing(
            request.page_size, request.page_token, request.filter, request.order_by, request.show_deleted
        )
        page = await self._resources[kind.title].list(_owner(request, kind), listing)
        items = [packed(kind, found) for found in page.items]
        return kind.page(**{kind.items: items, "next_page_token": page.next_page_token})

    return method


def _create(kind: Kind, name: str) -> _Method:
    async def method(self: ResourceMethods, request: Any, context: _Context) -> Any:
        write, fields = write_of(request, context, name), kind.read(getattr(request, kind.field))
        return packed(kind, await self._resources[kind.title].create(_owner(request, kind), fields, write))

    return method


def _update(kind: Kind, name: str) -> _Method:
    async def method(self: ResourceMethods, request: Any, context: _Context) -> Any:
        wanted = getattr(request, kind.field)
        asked = request.update_mask.paths if request.HasField("update_mask") else set_paths(wanted)
        patch = Patch(kind.read(wanted), tuple(path for path in asked if path not in OUTPUT_ONLY))
        write, key = write_of(request, context, name), getattr(wanted, kind.key)
        resources = self._resources[kind.title]
        return packed(kind, await resources.update(_owner(request, kind), key, patch, write))

    return method


def _delete(kind: Kind, name: str) -> _Method:
    async def method(self: ResourceMethods, request: Any, context: _Context) -> Any:
        resources, key = self._resources[kind.title], getattr(request, kind.key)
        write = write_of(request, context, name)
        return packed(kind, await resources.delete(_owner(request, kind), key, write))

    return method


def _undelete(kind: Kind, name: str) -> _Method:
    async def method(self: ResourceMethods, request: Any, context: _Context) -> Any:
        resources, key = self._resources[kind.title], getattr(request, kind.key)
        write = write_of(request, context, name)
        return packed(kind, await resources.undelete(_owner(request, kind), key, write))

    return method


_VERBS: Mapping[str, Callable[[Kind, str], _Method]] = {
    "Get": _get,
    "List": _list,
    "Create": _create,
    "Update": _update,
    "Delete": _delete,
    "Undelete": _undelete,
}


def _add_methods() -> None:
    for kind in KINDS:
        for verb, make in _VERBS.items():
            if verb != "Update" or kind.has_update:
                name = f"{verb}{kind.many if verb == 'List' else kind.title}"
                setattr(ResourceMethods, name, make(kind, name))


_add_methods()
