"""What every form of the service is made of: the decision service over the stores that it is given, and a server."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from decision.batching import Batching
from decision.checking import Checking
from decision.checkpoints import Checkpointer
from decision.decision_log import DecisionLogger
from decision.engine import Engine
from decision.explaining import Explaining
from decision.handler import DecisionHandler, DecisionUseCases, add_to_server
from decision.ingest import Ingest
from decision.keyring import KeyRing
from decision.registering import KnownRoutes, Registering
from decision.reporting import Reporting
from decision.resilience import ResilientStore
from decision.snapshots import SnapshotRegistry
from decision.tokens import TokenReader
from decision.watching import Watching
from usageflow import expressions
from usageflow.domain.clock import Clock
from usageflow.domain.errors import Unavailable
from usageflow.domain.hashing import KeyOf
from usageflow.domain.ids import uuid7
from usageflow.rpc.server import RpcServer
from usageflow.runtime.clock import MonotonicClock
from usageflow.runtime.jwks_http import HttpKeyFetcher
from usageflow.runtime.resources import latency_boundaries
from usageflow.runtime.telemetry import Metrics
from usageflow.storage.counters import CounterStore
from usageflow.storage.decision_log import DecisionLog
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.notices import ChangeNotices
from usageflow.storage.ports import CheckpointStore, ControlStore, SnapshotSource, UsageStore

log = structlog.get_logger()

KEYS_WAIT_S = 2.0
"""The most that readiness waits for issuers of tokens."""

LOG_WAIT_S = 1.0
"""The most that the end waits for the decision log."""


@dataclass(frozen=True, slots=True)
class Stores:
    """What decisions rest on. ``control``, ``usage`` and ``decision_log`` are None where there is no database."""

    source: SnapshotSource
    key_of: KeyOf
    counters: CounterStore
    checkpoints: CheckpointStore
    in_process: bool = True
    """Whether the counters are in this process, which need no deadline."""
    control: ControlStore | None = None
    usage: UsageStore | None = None
    decision_log: DecisionLog | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision service and what runs behind it."""

    snapshots: SnapshotRegistry
    ring: KeyRing
    checkpointer: Checkpointer
    watching: Watching
    counters: CounterStore
    ingest: Ingest | None
    logger: DecisionLogger | None
    use_cases: DecisionUseCases

    def serve_on(self, rpc: RpcServer) -> None:
        """Adds the service to a server."""
        add_to_server(DecisionHandler(self.use_cases), rpc.handlers)

    async def load(self) -> None:
        """Does what must come before readiness: long quotas first, then policies. Counters that do not answer keep nobody from
        serving: fail modes decide until the checkpointer restores them.
        """
        try:
            await self.checkpointer.restore()
        except Unavailable as error:
            log.warning("the counters do not answer; fail modes decide until they do", error=str(error))
        await self.snapshots.refresh()
        with contextlib.suppress(TimeoutError):  # an issuer that is down must not keep the service down
            async with asyncio.timeout(KEYS_WAIT_S):
                await self.ring.refresh()

    async def close(self) -> None:
        """Saves long quotas and gives back what only this process uses."""
        try:
            await self.checkpointer.save()
        except Unavailable as error:
            log.warning("the last second of long quotas was not saved", error=str(error))
        if self.logger is not None:
            with contextlib.suppress(TimeoutError):  # what a silent database does not take is lost, as ever
                async with asyncio.timeout(LOG_WAIT_S):
                    await self.logger.flush()
        await self.counters.close()

    def jobs(self) -> Mapping[str, Coroutine[Any, Any, None]]:
        """Returns what runs for ever, by name."""
        jobs = {
            "snapshots": self.snapshots.run(),
            "keys": self.ring.run(),
            "checkpoints": self.checkpointer.run(),
        }
        if self.ingest is not None:
            jobs["ingest"] = self.ingest.run()
        if self.logger is not None:
            jobs["decision log"] = self.logger.run()
        return jobs


@dataclass(frozen=True, slots=True)
class Composed:
    """A form of the service, ready to be run."""

    decision: Decision
    rpc: RpcServer

    async def load(self) -> None:
        """Does what must come before readiness."""
        await self.decision.load()

    def background(self) -> list[asyncio.Task[None]]:
        """Starts what runs for ever."""
        return [asyncio.create_task(job, name=name) for name, job in self.decision.jobs().items()]

    async def drain(self, grace_s: float) -> None:
        """Ends streams and lets calls end within ``grace_s`` seconds."""
        self.decision.watching.drain()
        await self.rpc.serving(healthy=False)
        await self.rpc.server.stop(grace_s)


def build_decision(
    stores: Stores, clock: Clock, notices: ChangeNotices, metrics: Metrics, *, jwks_allow_private: bool
) -> Decision:
    """Wires the decision service. Needs a running event loop."""
    local = MemoryCounterStore(clock)
    ring = KeyRing(HttpKeyFetcher(allow_private=jwks_allow_private), clock)
    tokens = TokenReader(ring, clock)
    store = ResilientStore(
        stores.counters, MonotonicClock(), metrics.store_operations, in_process=stores.in_process
    )
    logger = (
        None
        if stores.decision_log is None
        else DecisionLogger(stores.decision_log, clock, metrics.decision_log)
    )
    engine = Engine(
        store, local, clock, lambda: uuid7(clock.now_us(), secrets.token_bytes(10)), tokens, logger
    )
    snapshots = SnapshotRegistry(
        stores.source, notices, stores.key_of, tokens.prepare, expressions.compile_term
    )
    ingest = Ingest(stores.usage) if stores.usage is not None else None
    watching = Watching(snapshots)
    control = stores.control
    checking = Checking(snapshots, engine, clock, metrics.decisions, metrics.term_failures)
    use_cases = DecisionUseCases(
        checking=checking,
        batching=Batching(checking, engine),
        reporting=Reporting(snapshots, engine, ingest, clock, latency_boundaries()),
        registering=KnownRoutes() if control is None else Registering(control, snapshots, clock),
        watching=watching,
        explaining=Explaining(stores.source, snapshots, engine),
    )
    checkpointer = Checkpointer(stores.counters, stores.checkpoints, clock, swept=[local])
    return Decision(snapshots, ring, checkpointer, watching, stores.counters, ingest, logger, use_cases)
