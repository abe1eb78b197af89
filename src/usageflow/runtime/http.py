"""The small HTTP listener beside gRPC: /healthz, /readyz, /metrics."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from usageflow.runtime.settings import Address


def build_app(ready: Callable[[], bool]) -> Starlette:
    """Returns the application; ``ready`` tells whether decisions can be made."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        return PlainTextResponse("ready\n") if ready() else PlainTextResponse("not ready\n", 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
    )


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
