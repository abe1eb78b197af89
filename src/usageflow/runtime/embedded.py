"""The embedded form: all three services on one port, SQLite and counters in memory. The one place that names back ends."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from admin.applying import Applying
from admin.handler import AdminHandler
from admin.querying import Querying
from decision.checking import Checking
from decision.checkpoints import Checkpointer
from decision.engine import Engine
from decision.explaining import Explaining
from decision.handler import DecisionHandler, DecisionUseCases
from decision.ingest import Ingest
from decision.keyring import KeyRing
from decision.registering import Registering
from decision.reporting import Reporting
from decision.snapshots import SnapshotRegistry
from decision.tokens import TokenReader
from decision.watching import Watching
from meter.handler import MeterHandler
from meter.pending import Pending
from usageflow import expressions
from usageflow.domain.ids import uuid7
from usageflow.rpc.authentication import Authenticator
from usageflow.rpc.interceptor import CallPolicy, ServiceInterceptor
from usageflow.rpc.server import ADMIN, DECISION, METER, RpcServer, build_server, credentials_needed
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.jwks_http import HttpKeyFetcher
from usageflow.runtime.resources import latency_boundaries
from usageflow.runtime.telemetry import Metrics
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.notices import LocalNotices
from usageflow.storage.sql import Database, SqlCheckpointStore, SqlControlStore, SqlUsageStore, open_sqlite
from usageflow.v1 import admin_pb2_grpc, decision_pb2_grpc, meter_pb2_grpc

DATABASE_NAME = "usageflow.db"
KEYS_WAIT_S = 2.0
"""The most that readiness waits for issuers of tokens."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """Everything that runs in the embedded form."""

    database: Database
    control: SqlControlStore
    applying: Applying
    snapshots: SnapshotRegistry
    ring: KeyRing
    checkpointer: Checkpointer
    ingest: Ingest
    watching: Watching
    rpc: RpcServer

    async def load(self) -> None:
        """Does what must come before readiness: long quotas first, then policies."""
        await self.checkpointer.restore()
        await self.snapshots.refresh()
        with contextlib.suppress(TimeoutError):  # an issuer that is down must not keep the service down
            async with asyncio.timeout(KEYS_WAIT_S):
                await self.ring.refresh()

    def background(self) -> list[asyncio.Task[None]]:
        """Starts what runs for ever."""
        jobs = {
            "snapshots": self.snapshots.run(),
            "keys": self.ring.run(),
            "checkpoints": self.checkpointer.run(),
            "ingest": self.ingest.run(),
        }
        return [asyncio.create_task(job, name=name) for name, job in jobs.items()]

    async def drain(self, grace_s: float) -> None:
        """Ends streams and lets calls end within ``grace_s`` seconds."""
        self.watching.drain()
        await self.rpc.serving(healthy=False)
        await self.rpc.server.stop(grace_s)


def compose(folder: Path, hash_key: bytes, metrics: Metrics, *, jwks_allow_private: bool = False) -> Embedded:
    """Wires the embedded form over an open data folder. Needs a running event loop."""
    clock = SystemClock()
    notices = LocalNotices()
    database = open_sqlite(folder / DATABASE_NAME)
    control, usage = SqlControlStore(database, clock), SqlUsageStore(database, clock)
    counters, local = MemoryCounterStore(clock), MemoryCounterStore(clock)
    ring = KeyRing(HttpKeyFetcher(allow_private=jwks_allow_private), clock)
    tokens = TokenReader(ring, clock)
    engine = Engine(counters, local, clock, lambda: uuid7(clock.now_us(), secrets.token_bytes(10)), tokens)
    snapshots = SnapshotRegistry(control, notices, hash_key, tokens.prepare, expressions.compile_term)
    ingest, watching = Ingest(usage), Watching(snapshots)
    applying = Applying(control, notices, hash_key, expressions.check)
    checkpointer = Checkpointer(counters, SqlCheckpointStore(database, clock), clock, swept=[local])
    use_cases = DecisionUseCases(
        checking=Checking(snapshots, engine, clock, metrics.decisions, metrics.term_failures),
        reporting=Reporting(snapshots, engine, ingest, clock, latency_boundaries()),
        registering=Registering(control, snapshots, clock),
        watching=watching,
        explaining=Explaining(control, snapshots, engine),
    )
    policy = CallPolicy(credentials_needed())
    interceptor = ServiceInterceptor(Authenticator(control, clock), policy, metrics.call_duration)
    rpc = build_server([interceptor], (DECISION, ADMIN, METER))
    decision_pb2_grpc.add_DecisionServiceServicer_to_server(DecisionHandler(use_cases), rpc.server)
    admin_pb2_grpc.add_AdminServiceServicer_to_server(
        AdminHandler(applying, Querying(control, usage, clock)), rpc.server
    )
    meter_pb2_grpc.add_MeterServiceServicer_to_server(MeterHandler(Pending(control, usage)), rpc.server)
    return Embedded(database, control, applying, snapshots, ring, checkpointer, ingest, watching, rpc)
