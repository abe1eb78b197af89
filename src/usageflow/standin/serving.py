"""Serves the stand-in on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from usageflow.standin.app import build_app
from usageflow.standin.book import Book
from usageflow.standin.control import Control
from usageflow.standin.faults import Faults
from usageflow.standin.notices import collect, encoded, signed

READY = "usageflow dev stripe ready on "
_POST_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """How it is served. ``webhook`` is where thin events are posted, "" for nowhere."""

    host: str = "127.0.0.1"
    port: int = 12111
    seed: Path | None = None
    webhook: str = ""
    webhook_secret: str = ""


def serve(options: Options, ready: Callable[[str], None]) -> None:
    """Serves until it is stopped; ``ready`` is told the address. Raises StripeError for a seed with a fault, OSError where the port is taken."""
    book = Book()
    if options.seed is not None:
        Control(book, Faults()).seed(json.loads(options.seed.read_text()))
    with _listen(options) as listener:
        ready(f"{READY}http://{options.host}:{listener.getsockname()[1]}")
        asyncio.run(_serve(book, options, listener))


def _listen(options: Options) -> socket.socket:
    """Returns a listening socket. asyncio turns Nagle's algorithm off only where the socket says that it is TCP: with it, each answer would wait 40 ms."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


async def _serve(book: Book, options: Options, listener: socket.socket) -> None:
    config = uvicorn.Config(build_app(book), log_level="critical", access_log=False, lifespan="off")
    posting = asyncio.create_task(_post_for_ever(book, options)) if options.webhook else None
    await uvicorn.Server(config).serve([listener])
    if posting is not None:
        posting.cancel()


async def _post_for_ever(book: Book, options: Options) -> None:
    """Posts what failed, until each is taken."""
    waiting: list[Any] = []
    while True:
        waiting += collect(book)
        for thin in list(waiting):
            if await asyncio.to_thread(_post, options, encoded(thin), book.clock.now_s()):
                waiting.remove(thin)
        await asyncio.sleep(_POST_EVERY_S)


def _post(options: Options, body: bytes, now_s: int) -> bool:
    headers = {
        "Content-Type": "application/json",
        "Stripe-Signature": signed(body, options.webhook_secret, now_s),
    }
    request = urllib.request.Request(options.webhook, body, headers)  # noqa: S310 - the user's own address
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False
