"""``usageflow serve``: from settings to a served, drained and ended process."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path

import structlog

from usageflow.domain.errors import FailedPrecondition, InvalidArgument, UsageFlowError
from usageflow.runtime.bootstrap import complain, ensure_application, ensure_policies
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
from usageflow.runtime.forms import check_form, roles_of
from usageflow.runtime.running import (
    ensure_addresses_free,
    serve_until,
    stop_on_signals,
    stop_with_parent,
)
from usageflow.runtime.settings import Address, Settings, load_settings
from usageflow.runtime.shared import compose_shared
from usageflow.runtime.telemetry import set_up_logs, set_up_metrics
from usageflow.runtime.workers import supervise
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


def run(role: str, snapshot: Path | None = None, workers: int = 1) -> int:
    """Serves until a signal; returns the exit code. Every foreseeable failure is a sentence on stderr and exit 1.

    ``snapshot`` makes the role ``decision`` an edge replica, which decides from that file. Several ``workers`` are processes of
    their own on one port.
    """
    try:
        settings = load_settings()
        os.umask(0o077)  # databases, their backups and sockets are the owner's alone
        set_up_logs(settings.log_level)
        # A thread that stores reports or reads snapshots hands over within half a millisecond: checks do not wait for it.
        sys.setswitchinterval(0.0005)
        check_form(role, settings, workers=workers, edge=snapshot is not None)
        return asyncio.run(_serve_form(role, settings, snapshot, workers))
    except InvalidArgument as error:
        for fault in error.faults:
            complain(str(fault))
    except UsageFlowError as error:
        complain(str(error))
    except KeyboardInterrupt:
        return 0
    return 1


async def _serve_form(role: str, settings: Settings, snapshot: Path | None, workers: int) -> int:
    stop = stop_on_signals()
    if settings.worker:
        stop_with_parent(stop)
    if workers > 1:
        return await supervise(settings, snapshot, workers, stop, _announce)
    if snapshot is not None:
        return await _serve_edge(settings, snapshot, stop)
    if settings.database_url.get_secret_value():
        return await _serve_shared(settings, role, stop)
    return await _serve_embedded(settings, stop)


async def _serve_shared(settings: Settings, role: str, stop: asyncio.Event) -> int:
    ensure_addresses_free(settings)
    _open_folder(settings.data)
    metrics = set_up_metrics()
    try:
        shared = await compose_shared(roles_of(role), settings, metrics)
        return await serve_until(stop, shared, settings, _announce)
    finally:
        metrics.provider.shutdown()


async def _serve_embedded(settings: Settings, stop: asyncio.Event) -> int:
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
            webhook_private=settings.webhook_private,
            billing=settings.billing_settings,
            options=settings.server_options,
        )
        try:
            return await _run(settings, folder, embedded, credentials, stop)
        finally:
            await embedded.database.close()  # where it never came to serve
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


async def _serve_edge(settings: Settings, snapshot: Path, stop: asyncio.Event) -> int:
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
