"""Hooks that an application calls anywhere while a request runs, also in tasks that the request started."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

from usageflow.client._core.hooks import RequestData, checked_consumer, checked_quantity

# The variable holds a mutable holder: a child task has a copy of the context, but the same holder.
current: ContextVar[RequestData | None] = ContextVar("usageflow_request", default=None)


def set_quantity(quantity: float) -> None:
    """Says how many units this request used, finite, 0 to 1e15; without it a request counts as 1.

    Does nothing outside a watched request. Raises TypeError or ValueError for anything else than such a number.
    """
    checked = checked_quantity(quantity)
    if (data := current.get()) is not None:
        data.quantity = checked


def set_metadata(fields: Mapping[str, object] | None = None, /, **more: object) -> None:
    """Adds fields to this request's event: JSON values, at most 16 KiB together; a field set again is replaced.

    Does nothing outside a watched request. Raises TypeError or ValueError for values that are not JSON.
    """
    if fields is not None and not isinstance(fields, Mapping):
        raise TypeError(f"metadata is a dict with texts as keys, not {type(fields).__name__}")
    (current.get() or RequestData()).add_metadata({**(fields or {}), **more})


def set_consumer(consumer: str) -> None:
    """Says who this request is counted for, 1 to 256 bytes; beats the identity that was found in the request.

    Does nothing outside a watched request. Raises TypeError or ValueError for anything else than such a text.
    """
    checked = checked_consumer(consumer)
    if (data := current.get()) is not None:
        data.consumer = checked
