"""From a composed service to a served, drained and ended process, whatever its form is."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import structlog

from decision.collecting import settle_down
from usageflow.domain.errors import FailedPrecondition
from usageflow.rpc.server import RpcServer
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.composition import Composed
from usageflow.runtime.http import HttpListener, Webhook, bind, build_app, ensure_free
from usageflow.runtime.settings import Address, Settings
from usageflow.runtime.tls import ServerCertificate, TlsFiles

DRAIN_S = 1.0

log = structlog.get_logger()


def stop_on_signals() -> asyncio.Event:
    """Returns what SIGTERM and Ctrl-C set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    return stop


def stop_with_parent(stop: asyncio.Event) -> None:
    """Sets ``stop`` when the process that started this one is gone: its end of our standard input closes then."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, look)


def ensure_addresses_free(settings: Settings) -> None:
    """Finds a taken address before anything is loaded or stored, and before gRPC logs about it in its own words.

    Raises FailedPrecondition.
    """
    for setting, address in (
        ("USAGEFLOW_LISTEN", None if settings.worker else settings.grpc_address),
        ("USAGEFLOW_ADMIN_LISTEN", settings.admin_address),
        ("USAGEFLOW_HTTP_LISTEN", settings.http_address),
    ):
        if address is None:
            continue
        try:
            ensure_free(address)
        except OSError as error:
            raise _taken(setting, address, error.strerror) from None


async def serve_until(
    stop: asyncio.Event, composed: Composed, settings: Settings, on_ready: Callable[[Address], None]
) -> int:
    """Loads, listens, tells ``on_ready`` the real address, serves until ``stop``, drains; returns the exit code.

    Raises FailedPrecondition where an address is taken.
    """
    ready = False
    http = _http(settings.http_address, lambda: ready, composed.webhook)
    await composed.load()
    settle_down()
    address = listen(composed.rpc, settings)
    if composed.own_rpc is not None and settings.admin_address is not None:
        own = listen(composed.own_rpc, settings, settings.admin_address)
        log.info("administration is served apart", address=str(own))
    if composed.decision is not None:
        composed.decision.serve_at(str(address))
    tasks = composed.background()
    try:
        await composed.start()
        if http is not None:
            http.start()
        ready = True
        on_ready(address)
        code = await _until_stopped(stop, tasks)
        ready = False
        await composed.drain(DRAIN_S)
        return code
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await composed.close()
        if http is not None:
            await http.stop()


async def _until_stopped(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> int:
    """Returns 0 on a signal, 1 where a background task ended, which none of them should."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    if stopped in done:
        return 0
    stopped.cancel()
    for task in done:
        log.error("a background task ended", task=task.get_name(), exc_info=task.exception())
    return 1


def _taken(setting: str, address: Address, why: str | None) -> FailedPrecondition:
    message = f"cannot listen on {address} ({why}): stop what uses it, or set {setting} to a free address"
    return FailedPrecondition(message, reason="ADDRESS_TAKEN")


def listen(rpc: RpcServer, settings: Settings, address: Address | None = None) -> Address:
    """Listens, at USAGEFLOW_LISTEN unless another address is named, with TLS where it is set; returns the address with its real
    port. Raises FailedPrecondition.
    """
    address = address or settings.grpc_address
    try:
        if settings.tls is not None:
            credentials = _certificate(settings.tls).credentials()
            port = rpc.server.add_secure_port(str(address), credentials)
        else:
            port = rpc.server.add_insecure_port(str(address))
            _warn_of_plaintext(address)
    except RuntimeError:
        raise _taken("USAGEFLOW_LISTEN", address, "gRPC was refused") from None
    return address if address.unix else Address(address.host, port)


def _certificate(files: TlsFiles) -> ServerCertificate:
    try:
        return ServerCertificate(files, SystemClock())
    except ValueError as error:  # it was good when the settings were read, a moment ago
        raise FailedPrecondition(f"the certificate cannot be used: {error}", reason="TLS_FILES") from None


def _warn_of_plaintext(address: Address) -> None:
    if not address.is_local:
        log.warning("keys travel in plaintext: USAGEFLOW_INSECURE=1 is set", address=str(address))


def _http(address: Address | None, ready: Callable[[], bool], webhook: Webhook | None) -> HttpListener | None:
    if address is None:
        return None
    try:
        listener = bind(address)
    except OSError as error:
        raise _taken("USAGEFLOW_HTTP_LISTEN", address, error.strerror) from None
    return HttpListener(build_app(ready, webhook), listener)
