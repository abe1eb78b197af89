"""The embedded form: all three services on one port over SQLite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from admin.applying import Applying
from usageflow.domain.hashing import keys_under
from usageflow.rpc.last_used import LastUsed
from usageflow.rpc.server import ServerOptions
from usageflow.runtime.billing_settings import BillingSettings
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.composition import Composed, Decision, Stores, build_decision
from usageflow.runtime.control_plane import ControlPlane
from usageflow.runtime.counter_stores import open_counters
from usageflow.runtime.services import ALL, NO_BILLING, build_office, build_rpc
from usageflow.runtime.sql_stores import SqlStores
from usageflow.runtime.telemetry import Metrics
from usageflow.storage.notices import LocalNotices
from usageflow.storage.sql import Database, SqlControlStore, open_sqlite

DATABASE_NAME = "usageflow.db"

FOLDED_AT_ONCE = 4_000
"""Deltas per transaction: 40 ms where callers repeat, 100 where none does. Reports wait for it, because SQLite has one writer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded(Composed):
    """Everything that runs in the embedded form."""

    decision: Decision
    database: Database
    control: SqlControlStore
    applying: Applying
    plane: ControlPlane
    last_used: LastUsed

    async def close(self) -> None:
        """See Composed."""
        await Composed.close(self)
        await self.database.close()


def compose(
    folder: Path,
    hash_key: bytes,
    metrics: Metrics,
    *,
    redis_url: str = "",
    jwks_allow_private: bool = False,
    webhook_private: bool = False,
    billing: BillingSettings = NO_BILLING,
    options: ServerOptions = ServerOptions(),  # noqa: B008 - a frozen value
) -> Embedded:
    """Wires the embedded form over an open data folder. Needs a running event loop. Raises FailedPrecondition."""
    clock, notices = SystemClock(), LocalNotices()
    counters = open_counters(redis_url, clock)
    sql = SqlStores.over(open_sqlite(folder / DATABASE_NAME), clock)
    stores = Stores(
        sql.control,
        keys_under(hash_key),
        counters,
        sql.checkpoints,
        in_process=not redis_url,
        control=sql.control,
        usage=sql.usage,
        replicas=sql.replicas,
        decision_log=sql.decision_log,
        identities=sql.identities,
    )
    decision = build_decision(stores, clock, notices, metrics, jwks_allow_private=jwks_allow_private)
    office = build_office(
        sql,
        notices,
        hash_key,
        clock,
        metrics,
        webhook_private=webhook_private,
        folded_at_once=FOLDED_AT_ONCE,
        billing=billing,
    )
    last_used = LastUsed(sql.credentials, clock)
    rpc = build_rpc(ALL, sql.control, clock, metrics, options, last_used)
    decision.serve_on(rpc)
    office.serve_on(rpc, ALL)
    return Embedded(
        decision=decision,
        rpc=rpc,
        last_used=last_used,
        database=sql.database,
        control=sql.control,
        plane=office.plane,
        upkeep=office.background,
        applying=office.plane.applying,
    )
