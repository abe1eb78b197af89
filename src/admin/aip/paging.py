"""Page tokens: where a list goes on, as the last item's place in the order, so that nothing is skipped or repeated while
others are added and deleted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from usageflow.domain.errors import InvalidArgument
from usageflow.domain.listing import Query, Value

Item = TypeVar("Item")

DEFAULT_SIZE, MAX_SIZE = 50, 1_000
_MAX_TOKEN = 8_192
_FIX = (
    "send next_page_token of the page before, with the same filter, order and application; or leave it empty"
)


def page_size(asked: int) -> int:
    """Returns how many items a page has. Raises InvalidArgument for a negative number."""
    if asked < 0:
        raise InvalidArgument.of("page_size", f"cannot be {asked}", f"send 1 to {MAX_SIZE}, or 0")
    return min(asked or DEFAULT_SIZE, MAX_SIZE)


def fingerprint(*parts: object) -> str:
    """Returns what ties a token to its query: 12 hex digits."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:12]


def make_token(query: str, after: Sequence[Value]) -> str:
    """Returns the token that goes on after this place in the query of that fingerprint."""
    text = json.dumps([query, *after], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: str, query: str, like: Sequence[type]) -> tuple[Value, ...]:
    """Returns the place to go on after, () for the beginning; ``like`` are the types of its values, which may be None as well.

    Raises InvalidArgument for what is no token, or one of another query.
    """
    if not token:
        return ()
    content = _decoded(token[: _MAX_TOKEN + 1])
    if not isinstance(content, list) or len(content) != len(like) + 1 or content[0] != query:
        raise InvalidArgument.of("page_token", "belongs to another query", _FIX, "PAGE_TOKEN")
    after = content[1:]
    fits = all(_fits(value, kind) for value, kind in zip(after, like, strict=True))
    if not fits:
        raise InvalidArgument.of("page_token", "is no page token", _FIX, "PAGE_TOKEN")
    return tuple(after)


def next_page(
    found: Sequence[Item], query: Query, mark: str, place: Callable[[Item], Sequence[Value]]
) -> tuple[Sequence[Item], str]:
    """Returns the page of what a query yielded, one item more than a page holds, and the token of the next one, "" on the last."""
    if len(found) < query.limit:
        return found, ""
    items = found[: query.limit - 1]
    return items, make_token(mark, place(items[-1]))


def _fits(value: object, kind: type) -> bool:
    if isinstance(value, int) and abs(value) >= 2**63:
        return False
    return value is None or type(value) is kind


def _decoded(token: str) -> object:
    try:
        return json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise InvalidArgument.of("page_token", "is no page token", _FIX, "PAGE_TOKEN") from None
