"""Keeps what the application reads of a body; never reads it in the application's stead."""

from __future__ import annotations

from usageflow.client.adapters import MAX_BODY_BYTES, RequestView
from usageflow.fastapi._asgi import Message, Receive


def tapped(receive: Receive, request: RequestView) -> Receive:
    """Returns a `receive` that notes a body's beginning in the request while the application reads it: at most one byte more than
    is ever kept.
    """
    request.body, request.body_complete = b"", False

    async def read() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            left = MAX_BODY_BYTES + 1 - len(request.body or b"")
            request.body = (request.body or b"") + message.get("body", b"")[:left]
            full = len(request.body) > MAX_BODY_BYTES
            request.body_complete = full or not message.get("more_body", False)
        return message

    return read
