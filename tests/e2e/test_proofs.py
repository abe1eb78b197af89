"""Cases of `make prove` that kill processes, small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.postgres_servers import PostgresServer
from tools.prove.billing_scripts import Size, script
from tools.prove.cases import audit, billing, cluster, ingest, midmonth, money, percentiles, replay
from tools.prove.stores import settings_for
from tools.redis_servers import RedisServer
from tools.snapshots import SnapshotWriter


def test_a_monthly_quota_outlives_kills(tmp_path: Path, own_redis: RedisServer) -> None:
    plan = midmonth.Plan(both=1, redis=1, service=0, seconds=1.2)
    figure = midmonth.show_kills(tmp_path, own_redis, plan)
    assert "service and Redis killed 1 times: at most" in figure
    assert "Redis alone killed 1 times: at most" in figure


async def test_a_killed_process_over_admits_nothing(tmp_path: Path, redis_server: RedisServer) -> None:
    size, writer = cluster.Size(users=6, user_units=6, tenant_units=20, crashes=1), SnapshotWriter(tmp_path)
    snapshot = await writer.write_soon(cluster.policies_for(size), tmp_path / "policies.json")
    settings = settings_for(redis_server.url)
    figure = await cluster.show_crashes(snapshot, writer.api_key, settings, 2, size)
    assert figure.startswith("1 processes killed in mid-load: never more than 20 admitted")


def test_the_audit_log_outlives_kills_and_shows_what_was_done_to_it(tmp_path: Path) -> None:
    size = audit.Size(writers=4, changes=60, kills=1, tampered=("inserted", "truncated"))
    assert "chain whole; found: inserted, truncated" in audit.show_audit(tmp_path, size)


def test_a_replay_denies_what_a_service_denies(tmp_path: Path) -> None:
    figure = replay.show_replay(tmp_path, replay.Size(requests=250, users=5))
    assert "not decidable, all told" in figure


def test_reports_are_counted_once_whatever_is_killed(tmp_path: Path, own_postgres: PostgresServer) -> None:
    size = ingest.Size(events=1_000, batches=3, clients=4, service_kills=1, database_kills=1)
    for figure in (
        ingest.show_ingest_embedded(tmp_path / "sqlite", size),
        ingest.show_ingest_shared(tmp_path / "postgresql", own_postgres, size),
    ):
        assert "rollup tables and metering deltas equal to the unit" in figure


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [3, 6])
def test_units_at_stripe_are_those_of_accepted_reports(
    tmp_path: Path, own_postgres: PostgresServer, seed: int
) -> None:
    size = Size(customers=2, events=150, batches=2, clients=2, waves=1)
    told = billing.show_script(tmp_path / "script", script(seed), size, own_postgres)
    assert told.endswith("6 ledgers equal to the unit")


def test_a_request_is_billed_once_whatever_matches_it(tmp_path: Path) -> None:
    assert "40 of a day ago under the old price: 7 ledgers equal" in money.once(tmp_path / "once")


def test_what_cannot_be_billed_says_why(tmp_path: Path) -> None:
    assert money.unbillable(tmp_path / "unbillable").startswith("6 faults told with what to do")


def test_many_customers_are_billed_by_the_hour(tmp_path: Path) -> None:
    figure = money.show_million(tmp_path / "million", customers=20, events=2_000)
    assert figure.startswith("2000 events became 80 parts")


def test_percentiles_are_those_of_the_exact_latencies(tmp_path: Path) -> None:
    assert percentiles.show(tmp_path, 2_000).startswith("2,000 values a shape: at worst")
