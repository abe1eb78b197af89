"""``usageflow serve``: from settings to a served, drained and ended process."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path

import structlog

from usageflow.domain.errors import FailedPrecondition, InvalidArgument, UsageFlowError
from usageflow.runtime.bootstrap import ensure_application, ensure_policies
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.credentials import (
    Credentials,
    at_address,
    new_credentials,
    read_credentials,
    write_credentials,
)
from usageflow.runtime.edge import compose_edge
from usageflow.runtime.embedded import DATABASE_NAME, Embedded, compose
from usageflow.runtime.running import ensure_addresses_free, serve_until, stop_on_signals
from usageflow.runtime.settings import Address, Settings, load_settings
from usageflow.runtime.telemetry import set_up_logs, set_up_metrics
from usageflow.storage.sql import MigrationKind, lock_folder, prepare

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


def run(role: str, snapshot: Path | None = None) -> int:
    """Serves until a signal; returns the exit code. Every foreseeable failure is a sentence on stderr and exit 1.

    ``snapshot`` makes the role ``decision`` an edge replica, which decides from that file.
    """
    try:
        settings = load_settings()
        os.umask(0o077)  # databases, their backups and sockets are the owner's alone
        set_up_logs(settings.log_level)
        # A thread that stores reports or reads snapshots hands over within half a millisecond: checks do not wait for it.
        sys.setswitchinterval(0.0005)
        if snapshot is not None:
            return asyncio.run(_serve_edge(settings, snapshot))
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
    if role == "all":
        return
    message = (
        f"`serve {role}` needs a database that several processes share, and this version keeps data in SQLite: "
        "run `usageflow serve`, which serves all three services in one process"
    )
    if role == "decision":
        message += (
            ", or `usageflow serve decision --snapshot FILE` with a file of `usageflow snapshot -o FILE`"
        )
    raise FailedPrecondition(message, reason="NEEDS_SHARED_DATABASE")


async def _serve(settings: Settings) -> int:
    stop = stop_on_signals()
    folder = _open_folder(settings.data)
    with lock_folder(folder):
        ensure_addresses_free(settings)
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
            redis_url=settings.redis_url.get_secret_value(),
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
    first = await ensure_application(embedded.control, credentials)
    await ensure_policies(embedded.control, embedded.applying)

    def on_ready(address: Address) -> None:
        if credentials.address != address.from_here:
            write_credentials(folder, at_address(credentials, address.from_here))
        _announce(address)
        if first:
            _show_next_steps(address, folder, tls=settings.tls is not None)

    return await serve_until(stop, embedded, settings, on_ready)


async def _serve_edge(settings: Settings, snapshot: Path) -> int:
    stop = stop_on_signals()
    ensure_addresses_free(settings)
    metrics = set_up_metrics()
    try:
        edge = compose_edge(
            snapshot,
            metrics,
            redis_url=settings.redis_url.get_secret_value(),
            jwks_allow_private=settings.jwks_allow_private,
            options=settings.server_options,
        )
        return await serve_until(stop, edge, settings, _announce)
    finally:
        metrics.provider.shutdown()


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


def _announce(address: Address) -> None:
    sys.stdout.write(f"usageflow ready on {address}\n")
    sys.stdout.flush()


def _show_next_steps(address: Address, folder: Path, *, tls: bool) -> None:
    if tls:
        sys.stdout.write(_NEXT_TLS)
    command = Path(sys.argv[0]).parent if Path(sys.argv[0]).name == "usageflow" else Path(".venv/bin")
    sys.stdout.write(
        _NEXT.format(
            address=address.from_here,
            # The command finds its keys in the data folder: where that is not the usual one it must be told.
            command=(f"USAGEFLOW_DATA={_short(folder)} " if folder != Path(".usageflow").absolute() else "")
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
