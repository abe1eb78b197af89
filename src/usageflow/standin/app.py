"""The stand-in over HTTP: keys, idempotency, faults, and what is carried out."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from usageflow.standin.access import Access
from usageflow.standin.book import Book, Object
from usageflow.standin.control import Control
from usageflow.standin.errors import StripeError, rate_limited, server_error
from usageflow.standin.faults import Faults, Rule
from usageflow.standin.forms import parse_form, parse_json
from usageflow.standin.idempotency import Answer
from usageflow.standin.invoices import roll
from usageflow.standin.routes import route

_METHODS = ["GET", "POST", "DELETE"]


class Dropped(Response):
    """An answer that never comes: the connection ends in the middle of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Promises a body and leaves."""
        headers = [(b"content-length", b"1000"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


@dataclass
class _Call:
    """One request."""

    method: str
    path: str
    params: Object
    key: str
    fingerprint: str


@dataclass
class Api:
    """Carries requests out, with the faults that are in force."""

    book: Book
    faults: Faults = field(default_factory=Faults)
    _served: int = 0

    def __post_init__(self) -> None:
        """Makes what checks the keys."""
        self._access = Access(self.book)

    async def answer(self, request: Request) -> Response:
        """Answers a request."""
        self._served += 1
        rule: Rule | None = None
        try:
            self._access.check(request.headers, request.url.path)
            call = await _read(request)
            rule = self.faults.of(call.method, call.path)
            answer = await self._answer(call, rule)
        except StripeError as error:
            if error is _NOT_BEGUN:
                return Dropped()
            answer = _refusal(error)
        if rule is not None and rule.do == "drop_after":
            return Dropped()
        headers = {"Request-Id": f"req_{self._served:08d}", **dict(answer.headers)}
        return Response(answer.body, answer.status, headers, "application/json")

    async def _answer(self, call: _Call, rule: Rule | None) -> Answer:
        """Carries a call out once: the same Idempotency-Key gets the same answer, and is in use until there is one. Under v2 only what
        worked is kept: what failed is tried again.
        """
        if not call.key:
            return await self._carried_out(call, rule)
        kept = self.book.keys.begin(call.key, call.fingerprint, self.book.clock.now_s())
        if kept is not None:
            return Answer(kept.status, kept.body, (*kept.headers, ("Idempotent-Replayed", "true")))
        answer: Answer | None = None
        try:
            answer = await self._carried_out(call, rule)
        except StripeError as error:
            answer = _refusal(error) if error.kept and call.path.startswith("/v1/") else None
            raise
        finally:
            self.book.keys.end(call.key, answer)
        return answer

    async def _carried_out(self, call: _Call, rule: Rule | None) -> Answer:
        found = route(call.method, call.path)
        if found is None:
            raise StripeError(404, f"Unrecognized request URL ({call.method}: {call.path}).")
        match rule:
            case Rule(do="rate_limit" | "lock_timeout"):
                raise rate_limited(rule.do, should_retry=rule.should_retry)
            case Rule(do="error", when="before"):
                raise server_error()
            case Rule(do="drop_before"):
                raise _NOT_BEGUN
            case Rule(do="slow"):
                await asyncio.sleep(rule.milliseconds / 1_000)
        roll(self.book)
        method, named = found
        answered = method(self.book, {**call.params, **named})
        if rule is not None and rule.do == "error":
            raise server_error()
        return Answer(200, json.dumps(shown(answered), separators=(",", ":")).encode())


_NOT_BEGUN = StripeError(503, "the connection ended before anything was carried out")


def shown(value: Any) -> Any:
    """Returns an object without what only the stand-in knows: names that begin with an underscore."""
    if isinstance(value, dict):
        return {name: shown(each) for name, each in value.items() if not name.startswith("_")}
    return [shown(each) for each in value] if isinstance(value, list) else value


def _refusal(error: StripeError) -> Answer:
    return Answer(error.status, json.dumps(error.body).encode(), tuple(error.headers.items()))


async def _read(request: Request) -> _Call:
    """Returns what a request says. Names that begin with an underscore are the seed's alone."""
    body = await request.body()
    if "json" in request.headers.get("content-type", ""):
        params = parse_json(body)
    else:
        params = parse_form(request.url.query) | parse_form(body.decode("utf-8", "replace"))
    params = {name: value for name, value in params.items() if not name.startswith("_")}
    params["_version"] = request.headers.get("stripe-version", "9999")
    key = request.headers.get("idempotency-key", "") if request.method == "POST" else ""
    return _Call(request.method, request.url.path, params, key, f"{request.url.path} {body!r}")


def build_app(book: Book) -> Starlette:
    """Returns the application over a book."""
    api = Api(book)
    control = Control(book, api.faults)
    return Starlette(
        routes=[
            Route("/", control.page, methods=["GET"]),
            Route("/_standin/{what}", control.answer, methods=["GET", "POST"]),
            Route("/{path:path}", api.answer, methods=_METHODS),
        ]
    )
