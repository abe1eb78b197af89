"""The forms over PostgreSQL: one service per process, or all in one; any number of processes over one database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from usageflow import expressions
from usageflow.domain.clock import Clock
from usageflow.domain.errors import FailedPrecondition, Unavailable
from usageflow.domain.hashing import keys_under
from usageflow.rpc.last_used import LastUsed
from usageflow.rpc.server import ServerOptions
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.composition import Composed, Decision, KeptSource, Stores, build_decision
from usageflow.runtime.counter_stores import open_counters
from usageflow.runtime.services import Role, build_office, build_rpc
from usageflow.runtime.settings import Settings
from usageflow.runtime.sql_stores import SqlStores
from usageflow.runtime.telemetry import Metrics
from usageflow.storage.file import SnapshotCache
from usageflow.storage.notices import Relay, RelayedNotices
from usageflow.storage.sql import Database, MigrationKind, PostgresRelay, open_postgres, prepare_postgres
from usageflow.storage.steady import Kept, SteadySource

CACHE_FOLDER = "snapshots"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared(Composed):
    """Everything that runs in a process over PostgreSQL."""

    database: Database
    cache: SnapshotCache

    async def close(self) -> None:
        """See Composed."""
        await Composed.close(self)
        await self.database.close()
        self.cache.close()


async def compose_shared(roles: Collection[Role], settings: Settings, metrics: Metrics) -> Shared:
    """Prepares the database and wires these services over it. Where it does not answer and the process makes decisions, they are
    made by what an earlier process cached.

    Raises InvalidArgument, FailedPrecondition, and Unavailable where neither database nor cache is there.
    """
    cache = SnapshotCache(settings.data / CACHE_FOLDER)
    clock = SystemClock()
    kept = await _prepared(Role.DECISION in roles, settings, clock, cache)
    database = open_postgres(settings.database_url.get_secret_value())
    return _wired(roles, settings, metrics, SqlStores.over(database, clock), clock, cache, kept)


async def _prepared(decides: bool, settings: Settings, clock: Clock, cache: SnapshotCache) -> Kept | None:
    """Makes the database ready, or returns what is there instead."""

    async def prepare() -> None:
        outcome = await asyncio.to_thread(prepare_postgres, settings.database_url.get_secret_value(), clock)
        if outcome.kind is not MigrationKind.CURRENT:
            log.info(str(outcome))

    try:
        await prepare()
    except Unavailable as silent:
        if not decides:
            raise
        return await asyncio.to_thread(_kept, settings, cache, prepare, silent)
    return None


def _kept(
    settings: Settings, cache: SnapshotCache, prepare: Callable[[], object], silent: Unavailable
) -> Kept:
    try:
        cached = cache.read(keys_under(settings.hash_key_bytes), expressions.check)
    except FailedPrecondition as error:
        raise FailedPrecondition(f"{silent}; and {error}", reason=error.reason) from None
    if cached is None:
        raise Unavailable(
            f"{silent}; and no snapshot is cached in {cache.path.parent} to decide by meanwhile"
        )
    log.warning(
        "the database does not answer; deciding by the cached snapshot",
        file=str(cache.path),
        error=str(silent),
    )
    return Kept(cached.source, cached.written_us, prepare)  # type: ignore[arg-type]


def _wired(
    roles: Collection[Role],
    settings: Settings,
    metrics: Metrics,
    sql: SqlStores,
    clock: Clock,
    cache: SnapshotCache,
    kept: Kept | None,
) -> Shared:
    notices = RelayedNotices()
    relays = _relays(settings, notices)
    source = SteadySource(sql.control, clock, kept)
    own = bool(settings.admin_listen) and Role.DECISION in roles and len(roles) > 1
    here = {Role.DECISION} if own else set(roles)
    last_used = LastUsed(sql.credentials, clock)
    rpc = build_rpc(here, source, clock, metrics, _options(settings, here), last_used)
    decision = None
    if Role.DECISION in roles:
        decision = _decision(settings, metrics, sql, clock, cache, source, notices)
        decision.serve_on(rpc)
    office_roles = set(roles) - {Role.DECISION}
    own_rpc = (
        build_rpc(office_roles, sql.control, clock, metrics, _options(settings, office_roles), last_used)
        if own
        else None
    )
    office = None
    if office_roles:
        office = build_office(
            sql,
            notices,
            settings.hash_key_bytes,
            clock,
            metrics,
            webhook_private=settings.webhook_private,
            billing=settings.billing_settings,
        )
    if office is not None:
        office.serve_on(own_rpc or rpc, office_roles)
    return Shared(
        decision=decision,
        rpc=rpc,
        own_rpc=own_rpc,
        relays=relays,
        last_used=last_used,
        plane=office.plane if office is not None and Role.ADMIN in roles else None,
        upkeep=office.background if office is not None and Role.METER in roles else {},
        webhook=office.webhook if office is not None and Role.METER in roles else None,
        database=sql.database,
        cache=cache,
    )


def _options(settings: Settings, roles: Collection[Role]) -> ServerOptions:
    """Tells strangers nothing of administration unless that is asked for."""
    options = settings.server_options
    return options if Role.ADMIN not in roles else options.with_reflection(settings.reflection is True)


def _decision(
    settings: Settings,
    metrics: Metrics,
    sql: SqlStores,
    clock: Clock,
    cache: SnapshotCache,
    source: SteadySource,
    notices: RelayedNotices,
) -> Decision:
    redis_url = settings.redis_url.get_secret_value()
    if not redis_url:
        log.warning(
            "counters are in memory: decision processes do not share them; run one, or set USAGEFLOW_REDIS_URL"
        )
    metrics.show(
        "usageflow.snapshot.age",
        "s",
        "Since the database last confirmed what is in force.",
        lambda: source.age_s,
    )
    metrics.show(
        "usageflow.snapshot.from_cache",
        "",
        "1: what is in force comes from the cache.",
        lambda: source.from_cache,
    )
    stores = Stores(
        source,
        keys_under(settings.hash_key_bytes),
        open_counters(redis_url, clock),
        sql.checkpoints,
        in_process=not redis_url,
        control=sql.control,
        usage=sql.usage,
        replicas=sql.replicas,
        decision_log=sql.decision_log,
        identities=sql.identities,
        kept=KeptSource(source, cache),
    )
    return build_decision(stores, clock, notices, metrics, jwks_allow_private=settings.jwks_allow_private)


def _relays(settings: Settings, notices: RelayedNotices) -> tuple[Relay, ...]:
    """Returns what carries notices: the database itself, and Redis where there is one."""
    relays: list[Relay] = [PostgresRelay(settings.database_url.get_secret_value(), notices.wake)]
    redis_url = settings.redis_url.get_secret_value()
    if redis_url:
        from usageflow.storage.redis import RedisRelay  # heavy, and most processes need none

        relay = RedisRelay(redis_url, notices.wake)
        notices.announce_by(relay)
        relays.append(relay)
    return tuple(relays)
