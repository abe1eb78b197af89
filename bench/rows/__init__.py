"""The rows: one per budget of the design's decision part, in the table's order, and what is measured beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.figures import Better, Budget
from bench.rows import batches, big, dashboards, ingest, latency, libraries, matching, revisions, unary
from bench.run import Run


@dataclass(frozen=True, slots=True)
class Row:
    """A budget and how it is measured. ``measure`` raises NotMeasured where it cannot be."""

    budget: Budget
    measure: Callable[[Run], float]


_HIGHER, _LOWER = Better.HIGHER, Better.LOWER

_ALL = (
    Row(
        Budget("batch_check_memory", "BatchCheck, counters in memory", 60_000, "decisions/s", _HIGHER),
        batches.on_memory,
    ),
    Row(
        Budget("batch_check_redis", "BatchCheck, one Redis", 40_000, "decisions/s", _HIGHER), batches.on_redis
    ),
    Row(
        Budget("unary_check_ratio", "Check ÷ an empty grpc.aio method", 0.75, "ratio", _HIGHER),
        unary.ratio_to_empty,
    ),
    Row(
        Budget("check_p99_beside_reports", "p99 of Check, reports ÷ none", 1.5, "ratio", _LOWER),
        latency.p99_ratio,
    ),
    Row(
        Budget("match_ratio", "matching, 100,000 policies ÷ 10", 1.5, "ratio", _LOWER),
        matching.ratio_of_sizes,
    ),
    Row(
        Budget(
            "memory_100k_policies_1m_identities",
            "memory, 100,000 policies and 1,000,000 identities",
            1024,
            "MiB",
            _LOWER,
        ),
        big.memory_mib,
    ),
    Row(
        Budget("revision_change_p99_s_1k", "change to decision, 1,000 policies, p99", 1, "s", _LOWER),
        revisions.p99_s,
    ),
    Row(Budget("revision_change_s_100k", "full load of 100,000 policies", 10, "s", _LOWER), big.full_load_s),
    Row(
        Budget("ingest_sqlite", "events through Report, SQLite", 20_000, "events/s", _HIGHER),
        ingest.events_on_sqlite,
    ),
    Row(
        Budget("ingest_postgres", "events through Report, PostgreSQL", 20_000, "events/s", _HIGHER),
        ingest.events_on_postgres,
    ),
    Row(
        Budget("ingest_counts", "requests through counts of 100", 1_000_000, "requests/s", _HIGHER),
        ingest.counts,
    ),
    Row(
        Budget("dashboard_postgres_ms", "24 h by endpoint, 10 million events, PostgreSQL", 200, "ms", _LOWER),
        dashboards.on_postgres,
    ),
    Row(
        Budget("dashboard_sqlite_ms", "24 h by endpoint, 10 million events, SQLite", 500, "ms", _LOWER),
        dashboards.on_sqlite,
    ),
)

ROWS: dict[str, Row] = {row.budget.name: row for row in _ALL}

BESIDES: dict[str, Callable[[Run], None]] = {"libraries": libraries.beside}
