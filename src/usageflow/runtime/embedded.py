"""The embedded form: all three services on one port over SQLite."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from admin.applying import Applying
from admin.handler import add_to_server
from meter.handler import MeterHandler
from meter.pending import Pending
from usageflow.domain.hashing import keys_under
from usageflow.rpc.authentication import Authenticator
from usageflow.rpc.interceptor import CallPolicy, ServiceInterceptor
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
from usageflow.runtime.control_plane import ControlPlane, build_control_plane
from usageflow.runtime.counter_stores import open_counters
from usageflow.runtime.telemetry import Metrics
from usageflow.storage.notices import LocalNotices
from usageflow.storage.sql import (
    Database,
    SqlCheckpointStore,
    SqlControlStore,
    SqlDecisionLog,
    SqlResourceStore,
    SqlUsageStore,
    open_sqlite,
)
from usageflow.v1 import meter_pb2_grpc

DATABASE_NAME = "usageflow.db"


@dataclass(frozen=True, slots=True)
class Embedded(Composed):
    """Everything that runs in the embedded form."""

    database: Database
    control: SqlControlStore
    applying: Applying
    plane: ControlPlane

    def background(self) -> list[asyncio.Task[None]]:
        """See Composed."""
        return [*Composed.background(self), asyncio.create_task(self.plane.purge_for_ever(), name="purge")]


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
    decision_log = SqlDecisionLog(database, clock)
    key_of = keys_under(hash_key)
    stores = Stores(
        control,
        key_of,
        counters,
        SqlCheckpointStore(database, clock),
        not redis_url,
        control,
        usage,
        decision_log,
    )
    decision = build_decision(stores, clock, notices, metrics, jwks_allow_private=jwks_allow_private)
    resources = SqlResourceStore(database, clock)
    plane = build_control_plane(control, usage, resources, decision_log, notices, clock, hash_key)
    policy = CallPolicy(credentials_needed())
    interceptor = ServiceInterceptor(Authenticator(control, clock), policy, metrics.call_times)
    rpc = build_server(interceptor, (DECISION, ADMIN, METER), options)
    decision.serve_on(rpc)
    add_to_server(plane.handler, rpc.handlers)
    meter_pb2_grpc.add_MeterServiceServicer_to_server(MeterHandler(Pending(control, usage)), rpc.handlers)
    return Embedded(decision, rpc, database, control, plane.applying, plane)
