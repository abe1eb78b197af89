"""What every form of the service is made of: the decision service over the stores that it is given, and a server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from decision.batching import Batching
from decision.checking import Checking
from decision.checkpoints import Checkpointer
from decision.decision_log import DecisionLogger
from decision.engine import Engine
from decision.explaining import Explaining
from decision.handler import DecisionHandler, DecisionUseCases, add_to_server
from decision.headroom import Headroom
from decision.ingest import Ingest
from decision.keeping import Keeping
from decision.keyring import KeyRing
from decision.presence import Presence
from decision.registering import KnownRoutes, Registering
from decision.reporting import Reporting
from decision.resilience import ResilientStore
from decision.sighting import Sighting
from decision.snapshots import SnapshotRegistry
from decision.tokens import TokenReader
from decision.watching import Watching
from usageflow import expressions
from usageflow.domain.clock import Clock
from usageflow.domain.errors import Unavailable
from usageflow.domain.hashing import KeyOf
from usageflow.rpc.last_used import LastUsed
from usageflow.rpc.server import RpcServer
from usageflow.runtime.background import Background
from usageflow.runtime.clock import MonotonicClock
from usageflow.runtime.control_plane import ControlPlane
from usageflow.runtime.http import Webhook
from usageflow.runtime.identifiers import new_id
from usageflow.runtime.jwks_http import HttpKeyFetcher
from usageflow.runtime.resources import latency_boundaries
from usageflow.runtime.telemetry import Metrics
from usageflow.storage.counters import CounterStore
from usageflow.storage.decision_log import DecisionLog
from usageflow.storage.file import SnapshotCache
from usageflow.storage.identities import IdentityStore
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.notices import ChangeNotices, Relay
from usageflow.storage.ports import CheckpointStore, ControlStore, SnapshotSource, UsageStore
from usageflow.storage.replicas import Replica, ReplicaStore
from usageflow.storage.steady import SteadySource

log = structlog.get_logger()

KEYS_WAIT_S = 2.0
"""The most that readiness waits for issuers of tokens."""

LOG_WAIT_S = 1.0
"""The most that the end waits for the decision log."""


@dataclass(frozen=True, slots=True)
class KeptSource:
    """The source of a process that keeps what it enforces for its next start, and where."""

    source: SteadySource
    cache: SnapshotCache


@dataclass(frozen=True, slots=True)
class Stores:
    """What decisions rest on. ``control``, ``usage`` and the stores after it are None where there is no database."""

    source: SnapshotSource
    key_of: KeyOf
    counters: CounterStore
    checkpoints: CheckpointStore
    in_process: bool = True
    """Whether the counters are in this process, which need no deadline."""
    control: ControlStore | None = None
    usage: UsageStore | None = None
    replicas: ReplicaStore | None = None
    kept: KeptSource | None = None
    decision_log: DecisionLog | None = None
    identities: IdentityStore | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision service and what runs behind it."""

    snapshots: SnapshotRegistry
    ring: KeyRing
    checkpointer: Checkpointer
    watching: Watching
    counters: CounterStore
    ingest: Ingest | None
    use_cases: DecisionUseCases
    logger: DecisionLogger | None = None
    presence: Presence | None = None
    keeping: Keeping | None = None
    kept: SteadySource | None = None
    sighting: Sighting | None = None

    def serve_on(self, rpc: RpcServer) -> None:
        """Adds the service to a server."""
        add_to_server(DecisionHandler(self.use_cases), rpc.handlers)

    async def load(self) -> None:
        """Does what must come before readiness: long quotas first, then policies. Counters that do not answer keep nobody from
        serving: fail modes decide until the checkpointer restores them.
        """
        if (
            self.kept is None or not self.kept.from_cache
        ):  # else there is nobody to ask, and the checkpointer does it later
            await self._restore()
        await self.snapshots.refresh()
        with contextlib.suppress(TimeoutError):  # an issuer that is down must not keep the service down
            async with asyncio.timeout(KEYS_WAIT_S):
                await self.ring.refresh()

    async def _restore(self) -> None:
        try:
            await self.checkpointer.restore()
        except Unavailable as error:
            log.warning("the counters do not answer; fail modes decide until they do", error=str(error))

    def serve_at(self, address: str) -> None:
        """Says where the service is reached."""
        if self.presence is not None:
            self.presence.serve_at(address)

    async def close(self) -> None:
        """Says farewell, saves long quotas and gives back what only this process uses."""
        if self.presence is not None:
            await self.presence.leave()
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
        further = {
            "ingest": self.ingest,
            "decision log": self.logger,
            "presence": self.presence,
            "keeping": self.keeping,
            "sighting": self.sighting,
        }
        return jobs | {name: worker.run() for name, worker in further.items() if worker is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A form of the service, ready to be run."""

    decision: Decision | None
    rpc: RpcServer
    own_rpc: RpcServer | None = None
    """Where administration is served, if apart from decisions."""
    relays: tuple[Relay, ...] = ()
    last_used: LastUsed | None = None
    plane: ControlPlane | None = None
    upkeep: Mapping[str, Background] = field(default_factory=dict)
    webhook: Webhook | None = None
    """What takes notices of the billing destination, on the HTTP listener."""

    @property
    def servers(self) -> tuple[RpcServer, ...]:
        """Returns every gRPC server of this process."""
        return (self.rpc,) if self.own_rpc is None else (self.rpc, self.own_rpc)

    async def load(self) -> None:
        """Does what must come before readiness."""
        if self.decision is not None:
            await self.decision.load()

    def background(self) -> list[asyncio.Task[None]]:
        """Starts what runs for ever."""
        jobs = dict(self.decision.jobs()) if self.decision is not None else {}
        jobs |= {type(relay).__name__: relay.run() for relay in self.relays}
        jobs |= {"last used": self.last_used.run()} if self.last_used is not None else {}
        jobs |= {"purge": self.plane.purge_for_ever()} if self.plane is not None else {}
        jobs |= {title: work.run_for_ever() for title, work in self.upkeep.items()}
        return [asyncio.create_task(job, name=name) for name, job in jobs.items()]

    async def start(self) -> None:
        """Begins to serve."""
        for rpc in self.servers:
            await rpc.server.start()
            await rpc.serving(healthy=True)

    async def drain(self, grace_s: float) -> None:
        """Ends streams, lets calls end within ``grace_s`` seconds and writes when credentials were last used."""
        if self.decision is not None:
            self.decision.watching.drain()
        if self.plane is not None:
            self.plane.drain()
        for rpc in self.servers:
            await rpc.serving(healthy=False)
        await asyncio.gather(*(rpc.server.stop(grace_s) for rpc in self.servers))
        if self.last_used is not None:
            await self.last_used.flush()

    async def close(self) -> None:
        """Gives back what only this process uses, once everything else has ended."""
        if self.decision is not None:
            await self.decision.close()


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
    logger = _logger(stores, clock, metrics)
    engine = Engine(store, local, clock, lambda: new_id(clock), tokens, logger)
    snapshots = SnapshotRegistry(
        stores.source, notices, stores.key_of, tokens.prepare, expressions.compile_term, metrics.snapshots
    )
    ingest = _ingest(stores, metrics)
    watching = Watching(snapshots)
    control = stores.control
    registering = Registering(control, snapshots, clock) if control is not None else None
    checking = Checking(snapshots, engine, clock, metrics.decisions, metrics.term_failures)
    use_cases = DecisionUseCases(
        checking=checking,
        batching=Batching(checking, engine),
        reporting=Reporting(snapshots, engine, ingest, clock, latency_boundaries()),
        registering=registering or KnownRoutes(),
        watching=watching,
        explaining=Explaining(stores.source, snapshots, engine),
        headroom=Headroom(stores.source, snapshots, engine, clock, control, stores.identities),
    )
    checkpointer = Checkpointer(stores.counters, stores.checkpoints, clock, swept=[local])
    return Decision(
        snapshots,
        ring,
        checkpointer,
        watching,
        stores.counters,
        ingest,
        use_cases,
        logger,
        _presence(stores, snapshots, clock),
        _keeping(stores, snapshots),
        stores.kept.source if stores.kept is not None else None,
        Sighting(snapshots, registering) if registering is not None else None,
    )


def _ingest(stores: Stores, metrics: Metrics) -> Ingest | None:
    if stores.usage is None:
        return None
    made = Ingest(stores.usage, MonotonicClock())
    shown: dict[str, tuple[str, str, Callable[[], float]]] = {
        "waiting": ("", "Reported records that wait to be stored.", lambda: made.waiting),
        "commits": ("", "Groups of reports that were stored since the start.", lambda: made.commits),
        "unmetered": (
            "",
            "Requests that are stored and not billed, because a metering expression failed.",
            lambda: made.unmetered,
        ),
        "commit_time": ("s", "Time that storing them took altogether.", lambda: made.commit_s),
    }
    for name, (unit, description, read) in shown.items():
        metrics.show(f"usageflow.ingest.{name}", unit, description, read)
    return made


def _logger(stores: Stores, clock: Clock, metrics: Metrics) -> DecisionLogger | None:
    if stores.decision_log is None:
        return None
    return DecisionLogger(stores.decision_log, clock, metrics.decision_log)


def _presence(stores: Stores, snapshots: SnapshotRegistry, clock: Clock) -> Presence | None:
    if stores.replicas is None:
        return None
    now_us, kept = clock.now_us(), stores.kept
    replica = Replica(new_id(clock), socket.gethostname(), os.getpid(), "", now_us)
    return Presence(
        replica, snapshots, stores.replicas, clock, lambda: kept is not None and kept.source.from_cache
    )


def _keeping(stores: Stores, snapshots: SnapshotRegistry) -> Keeping | None:
    if stores.kept is None or stores.control is None:
        return None
    return Keeping(snapshots, stores.control, stores.kept.source, stores.key_of, stores.kept.cache)
