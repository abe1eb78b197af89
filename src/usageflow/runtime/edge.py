"""The edge form: the decision service alone over a snapshot file, without a database or a data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog

from usageflow import expressions
from usageflow.domain.errors import FailedPrecondition
from usageflow.rpc.authentication import Attempts, Authenticator
from usageflow.rpc.interceptor import CallPolicy, ServiceInterceptor
from usageflow.rpc.server import DECISION, ServerOptions, build_server, credentials_needed
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.composition import Composed, Decision, Stores, build_decision
from usageflow.runtime.counter_stores import open_counters
from usageflow.runtime.telemetry import Metrics
from usageflow.storage.file import FileControlStore
from usageflow.storage.memory import NoCheckpoints
from usageflow.storage.notices import LocalNotices

_REFUSED = {
    f"/{DECISION}/Explain": "an edge replica knows no admins and explains nothing: ask a service with a database",
    f"/{DECISION}/ListHeadroom": "an edge replica knows no admins and no customers: ask a service with a database",
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge(Composed):
    """Everything that runs in an edge replica."""

    decision: Decision
    source: FileControlStore

    async def load(self) -> None:
        """Does what must come before readiness. Raises FailedPrecondition where the file does not compile."""
        await self.decision.load()
        for application_id in await self.source.plan_versions():
            if self.decision.snapshots.plan(application_id) is None:
                message = "the snapshot does not compile (the log says why): write it again with this version"
                raise FailedPrecondition(message, reason="SNAPSHOT_UNUSABLE")


def compose_edge(
    snapshot: Path,
    metrics: Metrics,
    *,
    redis_url: str = "",
    jwks_allow_private: bool = False,
    options: ServerOptions = ServerOptions(),  # noqa: B008 - a frozen value
) -> Edge:
    """Wires an edge replica over a snapshot file. Needs a running event loop. Raises FailedPrecondition."""
    clock = SystemClock()
    source = FileControlStore.open(snapshot, expressions.check)
    stores = Stores(source, source.key_of, open_counters(redis_url, clock), NoCheckpoints(), not redis_url)
    if not redis_url:
        log.warning("counters are in memory: replicas do not share them; run one, or set USAGEFLOW_REDIS_URL")
    decision = build_decision(stores, clock, LocalNotices(), metrics, jwks_allow_private=jwks_allow_private)
    # Looking a key up costs nothing here, so none is remembered: one that is gone from the file is dead at once.
    attempts = Attempts(failures=metrics.credential_failures)
    authenticator = Authenticator(source, clock, attempts, remember_us=0)
    policy = CallPolicy(credentials_needed(), _REFUSED)
    interceptor = ServiceInterceptor(authenticator, policy, metrics.call_times)
    rpc = build_server(interceptor, (DECISION,), options)
    decision.serve_on(rpc)
    return Edge(decision=decision, rpc=rpc, source=source)
