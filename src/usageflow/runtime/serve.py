"""``usageflow serve``: from settings to a served, drained and ended process."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from usageflow.domain.errors import FailedPrecondition, InvalidArgument, UsageFlowError
from usageflow.rpc.server import RpcServer
from usageflow.runtime.bootstrap import ensure_application, ensure_policies
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.credentials import (
    Credentials,
    at_address,
    new_credentials,
    read_credentials,
    write_credentials,
)
from usageflow.runtime.embedded import DATABASE_NAME, Embedded, compose
from usageflow.runtime.http import HttpListener, bind, build_app, ensure_free
from usageflow.runtime.settings import Address, Settings, load_settings
from usageflow.runtime.telemetry import set_up_logs, set_up_metrics
from usageflow.runtime.tls import ServerCertificate, TlsFiles
from usageflow.storage.sql import MigrationKind, lock_folder, prepare

DRAIN_S = 1.0

log = structlog.get_logger()

_NEXT = r"""
Application `demo` is ready with the policies of examples/usageflow.yaml. In another terminal:

  {command} check --method POST --path /api/transactions --header 'X-User-Id: alice'
  {command} usage
  {command} apply -f examples/usageflow.yaml

and an application that asks this service:

  export USAGEFLOW_ADDR={address} USAGEFLOW_API_KEY=$(sed -n 's/^api_key = "\(.*\)"/\1/p' {credentials})
  {python} examples/quickstart_fastapi.py
"""


_NEXT_TLS = """
It speaks TLS: set USAGEFLOW_CA_FILE to the PEM file of the authority that signed its certificate, in the terminals below too.
"""


def run(role: str) -> int:
    """Serves until a signal; returns the exit code. Every foreseeable failure is a sentence on stderr and exit 1."""
    try:
        settings = load_settings()
        os.umask(0o077)  # databases, their backups and sockets are the owner's alone
        set_up_logs(settings.log_level)
        _check_role(role)
        return asyncio.run(_serve(settings))
    except InvalidArgument as error:
        for fault in error.faults:
            _complain(f"{fault.field}: {fault.message}; {fault.fix}")
    except UsageFlowError as error:
        _complain(str(error))
    except KeyboardInterrupt:
        return 0
    return 1


def _complain(sentence: str) -> None:
    sys.stderr.write(f"usageflow: {sentence}\n")


def _check_role(role: str) -> None:
    if role != "all":
        message = (
            f"`serve {role}` needs a database that several processes share, and this version keeps data in SQLite: "
            "run `usageflow serve`, which serves all three services in one process"
        )
        raise FailedPrecondition(message, reason="NEEDS_SHARED_DATABASE")


async def _serve(settings: Settings) -> int:
    # A thread that stores reports hands over within half a millisecond, so that checks do not wait for it.
    sys.setswitchinterval(0.0005)
    stop = _stop_on_signals()
    folder = _open_folder(settings.data)
    with lock_folder(folder):
        _ensure_free(settings.grpc_address)
        outcome = prepare(folder / DATABASE_NAME, SystemClock())
        if outcome.kind is MigrationKind.UPGRADED:
            log.info(str(outcome))
        credentials = read_credentials(folder)
        if credentials is None:
            if outcome.kind is not MigrationKind.CREATED:
                raise FailedPrecondition(_without_credentials(folder), reason="CREDENTIALS_MISSING")
            credentials = new_credentials(settings.listen)
            write_credentials(folder, credentials)
        hash_key = bytes.fromhex(settings.hash_key.get_secret_value() or credentials.hash_key)
        metrics = set_up_metrics()
        embedded = compose(
            folder,
            hash_key,
            metrics,
            jwks_allow_private=settings.jwks_allow_private,
            options=settings.server_options,
        )
        try:
            return await _run(settings, folder, embedded, credentials, stop)
        finally:
            await embedded.database.close()
            metrics.provider.shutdown()


async def _run(
    settings: Settings, folder: Path, embedded: Embedded, credentials: Credentials, stop: asyncio.Event
) -> int:
    ready = False
    http = _http(settings.http_address, lambda: ready)
    first = await ensure_application(embedded.control, credentials)
    await ensure_policies(embedded.control, embedded.applying)
    await embedded.load()
    address = listen(embedded.rpc, settings)
    tasks = embedded.background()
    try:
        await embedded.rpc.server.start()
        await embedded.rpc.serving(healthy=True)
        if credentials.address != address.from_here:
            write_credentials(folder, at_address(credentials, address.from_here))
        if http is not None:
            http.start()
        ready = True
        _announce(address, folder, first=first, tls=settings.tls is not None)
        code = await _until_stopped(stop, tasks)
        ready = False
        await embedded.drain(DRAIN_S)
        return code
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await embedded.checkpointer.save()
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


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    return stop


def _open_folder(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        message = (
            f"cannot write to the data folder {folder} ({error.strerror}): "
            "set USAGEFLOW_DATA to a folder that this user may write to"
        )
        raise FailedPrecondition(message, reason="DATA_FOLDER_NOT_WRITABLE") from None
    return folder.resolve()


def _without_credentials(folder: Path) -> str:
    return (
        f"{folder} has a database but no credentials.toml, which holds its keys: "
        "restore it from a copy, or move the folder away for a new start"
    )


def _ensure_free(address: Address) -> None:
    """Finds a taken address before anything is loaded, and before gRPC logs about it in its own words."""
    try:
        ensure_free(address)
    except OSError as error:
        raise _taken("USAGEFLOW_LISTEN", address, error.strerror) from None


def _taken(setting: str, address: Address, why: str | None) -> FailedPrecondition:
    message = f"cannot listen on {address} ({why}): stop what uses it, or set {setting} to a free address"
    return FailedPrecondition(message, reason="ADDRESS_TAKEN")


def listen(rpc: RpcServer, settings: Settings) -> Address:
    """Listens, with TLS where it is set; returns the address with its real port. Raises FailedPrecondition."""
    address = settings.grpc_address
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


def _http(address: Address | None, ready: Callable[[], bool]) -> HttpListener | None:
    if address is None:
        return None
    try:
        listener = bind(address)
    except OSError as error:
        raise _taken("USAGEFLOW_HTTP_LISTEN", address, error.strerror) from None
    return HttpListener(build_app(ready), listener)


def _announce(address: Address, folder: Path, *, first: bool, tls: bool) -> None:
    sys.stdout.write(f"usageflow ready on {address}\n")
    if first and tls:
        sys.stdout.write(_NEXT_TLS)
    if first:
        command = Path(sys.argv[0]).parent if Path(sys.argv[0]).name == "usageflow" else Path(".venv/bin")
        sys.stdout.write(
            _NEXT.format(
                address=address.from_here,
                # The command finds its keys in the data folder: where that is not the usual one it must be told.
                command=(
                    f"USAGEFLOW_DATA={_short(folder)} " if folder != Path(".usageflow").absolute() else ""
                )
                + _short(command / "usageflow"),
                python=_short(command / "python"),
                credentials=_short(folder / "credentials.toml"),
            )
        )
    sys.stdout.flush()


def _short(path: Path) -> str:
    """Returns a path as people would type it here."""
    absolute = path.absolute()
    shown = absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
    return shlex.quote(str(shown))
