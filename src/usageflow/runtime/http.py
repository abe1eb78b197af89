"""The small HTTP listener beside gRPC: /healthz, /readyz, /metrics, and /webhooks/stripe where a secret for it is set."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from usageflow.domain.errors import InvalidArgument, UsageFlowError
from usageflow.runtime.settings import Address

Webhook = Callable[[bytes, str], Awaitable[int]]
"""Takes a body and its signature, returns how many parts it marked. Raises InvalidArgument where the destination did not sign it or it is no notice,
other UsageFlowErrors where it should be sent again.
"""

MOST_NOTICE = 256 * 1024
"""Bytes of a notice; Stripe's are a few hundred."""

_PATIENCE_S = 5.0
_NOTICES_AT_ONCE = 8

log = structlog.get_logger()


def build_app(ready: Callable[[], bool], webhook: Webhook | None = None) -> Starlette:
    """Returns the application; ``ready`` tells whether decisions can be made, ``webhook`` takes what Stripe tells."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        return PlainTextResponse("ready\n") if ready() else PlainTextResponse("not ready\n", 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
    if webhook is not None:
        routes.append(Route("/webhooks/stripe", _endpoint_of(webhook), methods=["POST"]))
    return Starlette(routes=routes)


def _endpoint_of(webhook: Webhook) -> Callable[[Request], Awaitable[Response]]:
    """Returns what answers notices. Anybody may post here, so it reads little, for a short time, and few at once; and says nothing of why."""
    free = asyncio.Semaphore(_NOTICES_AT_ONCE)

    async def take(request: Request) -> Response:
        if free.locked():
            return PlainTextResponse("too many at once: send it again later\n", 503)
        async with free:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    body = await _body_of(request)
            except (TimeoutError, ClientDisconnect):
                return PlainTextResponse("the body did not arrive\n", 408)
            if body is None:
                return PlainTextResponse(f"a notice has at most {MOST_NOTICE} bytes\n", 413)
            return await _answer(webhook, body, request.headers.get("stripe-signature", ""))

    return take


async def _answer(webhook: Webhook, body: bytes, signature: str) -> Response:
    try:
        await webhook(body, signature)
    except InvalidArgument as error:
        log.info("a notice was refused", error=str(error))
        return PlainTextResponse("this is no notice that Stripe signed for this endpoint\n", 400)
    except UsageFlowError as error:
        log.warning("a notice could not be taken; it will be sent again", error=str(error))
        return PlainTextResponse("send it again later\n", 503)
    return PlainTextResponse("ok\n")


async def _body_of(request: Request) -> bytes | None:
    """Returns the body, None where it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_NOTICE:
            return None
    return bytes(body)


def bind(address: Address) -> socket.socket:
    """Returns a listening socket. Raises OSError where the port is taken or not ours to use."""
    if address.unix:
        ensure_free(address)
        Path(address.host).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address.host)
    else:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
    listener.listen(128)
    return listener


def ensure_free(address: Address) -> None:
    """Raises OSError where an address cannot be listened on: it is taken, or not there to be had."""
    if not address.unix:
        bind(address).close()
        return
    # A socket's file outlives a killed server; only one that answers is taken.
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(address.host) == 0:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path = Path(address.host)
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if path.exists() and not path.is_socket():
        raise FileExistsError(errno.EEXIST, "a file that is no socket is there")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the process, which drains gRPC too."""
        yield


class HttpListener:
    """uvicorn inside the running loop."""

    def __init__(self, app: Starlette, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = _Server(config)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to serve."""
        self._task = asyncio.create_task(self._server.serve([self._listener]))

    async def stop(self) -> None:
        """Ends within a second."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._listener.close()
