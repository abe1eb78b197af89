"""The embedded form: all three services on one port over SQLite."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path

from admin.applying import Applying
from admin.auditing import Auditing
from admin.credentials import Credentials
from admin.exporting import Exporting
from admin.handler import AdminHandler
from admin.querying import Querying
from meter.handler import MeterHandler
from meter.pending import Pending
from usageflow import expressions
from usageflow.domain.hashing import keys_under
from usageflow.rpc.authentication import Attempts, Authenticator
from usageflow.rpc.interceptor import CallPolicy, ServiceInterceptor
from usageflow.rpc.last_used import LastUsed
from usageflow.rpc.server import (
    ADMIN,
    DECISION,
    METER,
    ServerOptions,
    build_server,
    credentials_needed,
)
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.composition import Composed, Stores, build_decision
from usageflow.runtime.counter_stores import open_counters
from usageflow.runtime.telemetry import Metrics
from usageflow.storage.notices import LocalNotices
from usageflow.storage.sql import (
    Database,
    SqlAuditLog,
    SqlCheckpointStore,
    SqlControlStore,
    SqlCredentialStore,
    SqlUsageStore,
    open_sqlite,
)
from usageflow.v1 import admin_pb2_grpc, meter_pb2_grpc

DATABASE_NAME = "usageflow.db"


@dataclass(frozen=True, slots=True)
class Embedded(Composed):
    """Everything that runs in the embedded form."""

    database: Database
    control: SqlControlStore
    applying: Applying
    last_used: LastUsed

    def background(self) -> list[asyncio.Task[None]]:
        """Starts what runs for ever."""
        return [*Composed.background(self), asyncio.create_task(self.last_used.run(), name="last used")]

    async def drain(self, grace_s: float) -> None:
        """Ends streams, lets calls end within ``grace_s`` seconds and writes when credentials were last used."""
        await Composed.drain(self, grace_s)
        await self.last_used.flush()


def compose(
    folder: Path,
    hash_key: bytes,
    metrics: Metrics,
    *,
    redis_url: str = "",
    jwks_allow_private: bool = False,
    options: ServerOptions = ServerOptions(),  # noqa: B008 - a frozen value
) -> Embedded:
    """Wires the embedded form over an open data folder. Needs a running event loop. Raises FailedPrecondition."""
    clock = SystemClock()
    notices = LocalNotices()
    counters = open_counters(redis_url, clock)
    database = open_sqlite(folder / DATABASE_NAME)
    control, usage = SqlControlStore(database, clock), SqlUsageStore(database, clock)
    key_of = keys_under(hash_key)
    stores = Stores(
        control, key_of, counters, SqlCheckpointStore(database, clock), not redis_url, control, usage
    )
    decision = build_decision(stores, clock, notices, metrics, jwks_allow_private=jwks_allow_private)
    applying = Applying(control, notices, hash_key, expressions.check)
    policy = CallPolicy(credentials_needed())
    credential_store = SqlCredentialStore(database, clock)
    last_used = LastUsed(credential_store, clock)
    attempts = Attempts(last_used, failures=metrics.credential_failures)
    interceptor = ServiceInterceptor(Authenticator(control, clock, attempts), policy, metrics.call_times)
    rpc = build_server(interceptor, (DECISION, ADMIN, METER), options)
    decision.serve_on(rpc)
    admin = AdminHandler(
        applying,
        Querying(control, usage, clock),
        Exporting(control, key_of),
        Credentials(credential_store, control, clock, secrets.token_bytes),
        Auditing(SqlAuditLog(database), control, credential_store),
    )
    admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, rpc.handlers)
    meter_pb2_grpc.add_MeterServiceServicer_to_server(MeterHandler(Pending(control, usage)), rpc.handlers)
    return Embedded(decision, rpc, database, control, applying, last_used)
