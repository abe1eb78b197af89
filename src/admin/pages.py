"""Pages of lists that have one order: a token holds where the next page begins, and of which list it is."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from usageflow.domain.errors import InvalidArgument

DEFAULT_SIZE = 50
MAX_SIZE = 1_000
_TAG_BYTES = 8

Item = TypeVar("Item")
Query = Sequence[str]


@dataclass(frozen=True, slots=True)
class PageOf(Generic[Item]):
    """Items, and where the next page begins; "" on the last one."""

    items: Sequence[Item]
    next_token: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A page that is asked for."""

    size: int
    token: str

    @classmethod
    def of_request(cls, page_size: int, page_token: str) -> PageRequest:
        """Returns the page of a request's fields; sizes beyond the most are cut. Raises InvalidArgument."""
        if page_size < 0:
            raise InvalidArgument.of("page_size", "is negative", "send 1 to 1,000, or 0 for 50")
        return cls(min(page_size or DEFAULT_SIZE, MAX_SIZE), page_token)

    def after(self, query: Query) -> str:
        """Returns the key that the page before ended with, "" for the first page. Raises InvalidArgument for the token of another
        list.
        """
        if not self.token:
            return ""
        try:
            raw = base64.b64decode(self.token.encode(), altchars=b"-_", validate=True)
            tag, key = raw[:_TAG_BYTES], raw[_TAG_BYTES:].decode()
        except (binascii.Error, UnicodeError):
            raise _foreign() from None
        if tag != _tag(query) or not key:
            raise _foreign()
        return key

    def of(self, found: Sequence[Item], query: Query, key_of: Callable[[Item], str]) -> PageOf[Item]:
        """Returns the page of what was found, of which one item too many shows that there is a next page."""
        items = found[: self.size]
        if len(found) <= self.size:
            return PageOf(items, "")
        raw = _tag(query) + key_of(items[-1]).encode()
        return PageOf(items, base64.b64encode(raw, altchars=b"-_").decode())


def _tag(query: Query) -> bytes:
    return hashlib.sha256("\0".join(query).encode()).digest()[:_TAG_BYTES]


def _foreign() -> InvalidArgument:
    fix = "send the next_page_token of the page before with the same fields, or none for the first page"
    return InvalidArgument.of("page_token", "is not of this list", fix)
