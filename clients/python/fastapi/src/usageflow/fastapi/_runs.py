"""The response side of one request: headers added, the end noticed, the event reported."""

from __future__ import annotations

from usageflow.client import UsageFlowClient
from usageflow.client.adapters import Exchange
from usageflow.fastapi._asgi import Message, Receive, Scope, Send, content_length, left_by_app

_CLIENT_CLOSED = 499  # nginx's status for callers that left before the answer
_POLICY_VIOLATION = 1008


class _Run:
    def __init__(self, client: UsageFlowClient, exchange: Exchange, scope: Scope, send: Send) -> None:
        self._client = client
        self._exchange = exchange
        self._scope = scope
        self._send = send
        self._status = 0
        self._response_bytes = 0
        self._headers: list[tuple[bytes, bytes]] = []

    def prepare(self) -> None:
        """Renders the headers that an allowed request's response gets."""
        self._headers = _raw(self._client.headers(self._exchange))

    def failed(self, *, disconnected: bool) -> None:
        """Notes that the application raised: a status that was sent stays, else it is 500 (499: the caller left)."""
        self._status = self._status or (_CLIENT_CLOSED if disconnected else 500)

    def finish(self) -> None:
        """Reports the request, once."""
        if self._exchange.finished:
            return
        self._client.finish(
            self._exchange,
            self._status or 500,
            request_bytes=content_length(self._exchange.request),
            response_bytes=self._response_bytes,
            metadata=left_by_app(self._scope, "metadata"),
        )

    def end(self) -> None:
        """Reports the request and gives back its slot, each once: nothing of it is sent any more."""
        self.finish()
        self._client.release(self._exchange)

    def _with_headers(self, message: Message) -> Message:
        if not self._headers:
            return message
        # Appended to the raw list: a mapping would lose all but one Set-Cookie.
        return {**message, "headers": [*message.get("headers", ()), *self._headers]}


class HttpRun(_Run):
    """An HTTP request."""

    async def send(self, message: Message) -> None:
        """Passes the response on as it comes; the last byte ends the request, before background tasks."""
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            message = self._with_headers(message)
        elif kind == "http.response.body":
            self._response_bytes += len(message.get("body", b""))
        await self._send(message)
        if kind == "http.response.pathsend" or (kind in _BODIES and not message.get("more_body", False)):
            self.end()

    async def deny(self, receive: Receive) -> None:
        """Answers instead of the application."""
        answer = self._client.denial(self._exchange)
        self._status = answer.status
        body = b"" if self._exchange.request.method == "HEAD" else answer.body
        await self._send(
            {"type": "http.response.start", "status": answer.status, "headers": _raw(answer.headers)}
        )
        await self._send({"type": "http.response.body", "body": body})
        self._response_bytes = len(body)


class WebSocketRun(_Run):
    """A websocket: its handshake is the request, its frames are the application's own. It holds its slot until it is closed."""

    async def send(self, message: Message) -> None:
        """Passes everything on; accepting or refusing ends the handshake."""
        kind = message["type"]
        first = self._status == 0
        if kind == "websocket.accept" and first:
            self._status = 101
            message = self._with_headers(message)
        elif kind == "websocket.close" and first:
            self._status = 403
        elif kind == "websocket.http.response.start" and first:
            self._status = message["status"]
        await self._send(message)
        if first and self._status:
            self.finish()
        if kind == "websocket.close":
            self.end()

    async def deny(self, receive: Receive) -> None:
        """Closes before the handshake is accepted."""
        self._status = self._client.denial(self._exchange).status
        await receive()  # websocket.connect
        await self._send(
            {"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "denied by UsageFlow"}
        )


_BODIES = frozenset({"http.response.body", "http.response.zerocopysend"})


def _raw(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
