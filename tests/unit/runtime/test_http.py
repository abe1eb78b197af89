from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from usageflow.domain.errors import InvalidArgument, Unavailable
from usageflow.runtime.http import MOST_NOTICE, build_app

PATH = "/webhooks/stripe"
SIGNED = b"t=1,v1=ab"


async def post(app: Starlette, body: bytes, signature: bytes = SIGNED, method: str = "POST") -> int:
    """Posts a body, in two chunks; returns the status."""
    half = len(body) // 2
    messages = [
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:], "more_body": False},
    ]
    answers: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"stripe-signature", signature)]
    scope = {"type": "http", "method": method, "path": PATH, "headers": headers, "query_string": b""}
    await app(scope, receive, send)
    return int(answers[0]["status"])


class Taker:
    """Takes notices as a test says."""

    def __init__(self, error: Exception | None = None) -> None:
        self.taken: list[tuple[bytes, str]] = []
        self._error = error

    async def take(self, body: bytes, signature: str) -> int:
        self.taken.append((body, signature))
        if self._error is not None:
            raise self._error
        return 1


async def test_a_notice_is_handed_over_as_it_came() -> None:
    taker = Taker()
    assert await post(build_app(lambda: True, taker.take), b'{"a": "\xc3\xbc"}') == 200
    assert taker.taken == [(b'{"a": "\xc3\xbc"}', "t=1,v1=ab")]


async def test_without_a_secret_nothing_is_there() -> None:
    assert await post(build_app(lambda: True), b"{}") == 404


@pytest.mark.parametrize(
    ("error", "status"),
    [(InvalidArgument.of("signature", "is wrong", "x"), 400), (Unavailable("the database is down"), 503)],
)
async def test_what_is_not_taken_is_said(error: Exception, status: int) -> None:
    assert await post(build_app(lambda: True, Taker(error).take), b"{}") == status


async def test_a_large_body_is_not_read() -> None:
    taker = Taker()
    app = build_app(lambda: True, taker.take)
    assert await post(app, bytes(MOST_NOTICE)) == 200
    assert await post(app, bytes(MOST_NOTICE + 1)) == 413
    assert await post(app, b"", method="GET") == 405
    assert len(taker.taken) == 1


@settings(max_examples=50)
@given(st.binary(max_size=300), st.binary(max_size=60))
async def test_whatever_is_posted_is_answered(body: bytes, signature: bytes) -> None:
    taker = Taker(InvalidArgument.of("signature", "is wrong", "x"))
    assert await post(build_app(lambda: True, taker.take), body, signature) == 400
    assert taker.taken == [(body, signature.decode("latin-1"))]
