"""The cases of `make prove` about the decision engine, small: the same code, less of everything, services in the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path

import pytest

from admin.applying import Wanted
from tests.causes import NOBODY
from tests.integration.conftest import serving
from tools.prove.cases import accuracy, change, cluster, leases, takers
from tools.prove.offered import offer, policies_for
from tools.prove.showing import NotShown
from tools.prove.stores import Fleet, Store, on_each, settings_for
from tools.prove.table_of_accuracy import Row, cells, page
from tools.redis_servers import RedisCluster, RedisServer
from tools.snapshots import SnapshotWriter
from usageflow.policyfile import load
from usageflow.rpc.server import ServerOptions
from usageflow.runtime.edge import compose_edge
from usageflow.runtime.running import listen
from usageflow.runtime.settings import Settings
from usageflow.runtime.telemetry import set_up_metrics


@pytest.fixture(params=["", "redis_server", "redis_cluster"], ids=["memory", "redis", "cluster"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """Where the services of a test count: in memory, or in the servers that tests share."""
    if not request.param:
        return ""
    server: RedisServer | RedisCluster = request.getfixturevalue(request.param)
    return server.url


@asynccontextmanager
async def edge_replicas(folder: Path, policies: str, redis_url: str) -> AsyncIterator[Fleet]:
    """Serves two replicas, or one that counts in memory."""
    writer, snapshot = SnapshotWriter(folder / "admin"), folder / "policies.json"
    await writer.write_soon(policies, snapshot)
    async with AsyncExitStack() as running:
        replicas = [
            running.enter_async_context(_edge(snapshot, redis_url)) for _ in range(2 if redis_url else 1)
        ]
        yield Fleet(snapshot, writer, [await replica for replica in replicas])


@asynccontextmanager
async def _edge(snapshot: Path, redis_url: str) -> AsyncIterator[str]:
    metrics = set_up_metrics()
    edge = compose_edge(snapshot, metrics, redis_url=redis_url, options=ServerOptions())
    await edge.load()
    address = str(listen(edge.rpc, Settings(listen="127.0.0.1:0")))
    tasks = edge.background()
    await edge.rpc.server.start()
    yield address
    await edge.drain(0.5)
    for task in tasks:
        task.cancel()
    await edge.decision.close()
    metrics.provider.shutdown()


def test_a_store_that_is_not_built_in_is_said() -> None:
    def show(store: Store) -> str:
        return ",".join(settings_for(f"{store.name}://127.0.0.1:1"))

    stores = [Store(name, 1, nullcontext) for name in ("redis", "carrier-pigeon")]
    with pytest.raises(NotShown, match="carrier-pigeon is not built in"):
        on_each(stores, show)


async def test_concurrent_takers(tmp_path: Path, redis_url: str) -> None:
    size = takers.Size(takers=12, units=20)
    async with edge_replicas(tmp_path, takers.policies_for(size), redis_url) as replicas:
        figure = await takers.show_exact(replicas.addresses, replicas.api_key, size)
    assert "20 of 48 requests admitted, 980 of 1000 left of each sibling" in figure


async def test_changed_limits(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url=redis_url) as service:

        async def apply(policies: str) -> None:
            loaded = load(policies, filename="policies.yaml")
            wanted = Wanted(loaded.application, loaded.policy_set, loaded.blocks, prune=True)
            await service.embedded.applying.apply(wanted, NOBODY)

        figure = await change.show_changes(service.address, service.credentials.api_key, apply)
    assert figure.startswith("900 freed by raising, 0 left after cutting")


async def test_two_stores_are_exact_under_a_simulated_clock(redis_server: RedisServer) -> None:
    rows = await accuracy.simulated_rows(redis_server.url, cells((60,), (10, 100), (2,)))
    assert accuracy.verdict(rows).startswith("24 rows (0 with real processes")
    assert {row.admitted for row in rows} == {row.allowed for row in rows}


async def test_what_is_offered_to_two_processes_is_judged(tmp_path: Path, redis_url: str) -> None:
    wanted = cells((1,), (10,), (2,))
    async with edge_replicas(tmp_path, policies_for(wanted), redis_url) as replicas:
        rows = await offer(replicas.addresses, replicas.api_key, wanted, 2.5)
    assert all(row.holds for row in rows), page(rows)
    assert sum(row.admitted for row in rows) > 100


def test_a_row_beyond_the_promise_or_short_of_it_does_not_hold() -> None:
    (cell, *_) = cells((1,), (10,), (1,))
    for beyond, admitted in ((1, 1_000), (0, 980)):
        with pytest.raises(NotShown, match="1 of 1 rows do not hold"):
            accuracy.verdict([Row(cell, True, 1_000, 0, 1_000, admitted, beyond)])


async def test_leases_stay_within_the_promise_while_revisions_change(tmp_path: Path, redis_url: str) -> None:
    size = leases.Size(clients=4, phase_s=1.5)
    async with edge_replicas(tmp_path, leases.policies_for(1), redis_url) as running:
        figure = await leases.show_changing(running, size)
    assert "admitted, 0 beyond the promise" in figure


async def test_who_denies_takes_from_nobody_else(tmp_path: Path, redis_url: str) -> None:
    size = cluster.Size(users=5, user_units=4, tenant_units=10)
    async with edge_replicas(tmp_path, cluster.policies_for(size), redis_url) as running:
        figure = await cluster.show_undone(running.addresses, running.api_key, size)
    assert figure.startswith("20 denials by 5 users' limits left their tenant's untouched, 30 by")
