"""The stores that the cases run on, and the decision processes that share one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tools.processes import EdgeReplica, edge_replicas
from tools.prove.showing import NotShown
from tools.redis_servers import RedisCluster, RedisServer
from tools.snapshots import SnapshotWriter
from usageflow.domain.clock import ManualClock
from usageflow.runtime.counter_stores import open_counters


@dataclass(frozen=True, slots=True)
class Store:
    """Where counters are kept. ``start`` gives what yields a running server; ``replicas`` processes share it."""

    name: str
    replicas: int
    start: Callable[[], AbstractContextManager[RedisServer | RedisCluster | None]]

    @contextmanager
    def settings(self) -> Iterator[dict[str, str]]:
        """Runs the store and yields what tells a service to use it. Raises NotShown where this version has no such store."""
        with self.start() as server:
            yield settings_for("" if server is None else server.url)


def settings_for(url: str) -> dict[str, str]:
    """Returns the settings of a service that counts at ``url``; "" means in its own memory. Raises NotShown."""
    try:
        open_counters(url, ManualClock())
    except ValueError as error:
        scheme = url.partition("://")[0]
        raise NotShown(f"{scheme} is not built in: {error}") from None
    return {"USAGEFLOW_REDIS_URL": url} if url else {}


MEMORY = Store("memory", 1, nullcontext)
REDIS = Store("redis", 3, RedisServer)
CLUSTER = Store("redis+cluster", 3, RedisCluster)
STORES = (MEMORY, REDIS, CLUSTER)


def on_each(stores: Sequence[Store], show: Callable[[Store], str]) -> str:
    """Returns the figures of all stores; raises NotShown with all of them where it does not hold on one."""
    lines, failed = [], False
    for store in stores:
        try:
            lines.append(f"{store.name}: {show(store)}")
        except NotShown as error:
            failed = True
            lines.append(f"{store.name}: NOT SHOWN: {error}")
    if failed:
        raise NotShown("\n  ".join(lines))
    return "\n  ".join(lines)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Decision processes over one snapshot file, and where they listen."""

    snapshot: Path
    writer: SnapshotWriter
    addresses: Sequence[str]
    replicas: Sequence[EdgeReplica] = ()

    @property
    def api_key(self) -> str:
        """Returns the key that they know."""
        return self.writer.api_key


@contextmanager
def fleet(folder: Path, policies: str, settings: dict[str, str], number: int) -> Iterator[Fleet]:
    """Runs ``number`` decision processes without a database, with these policies."""
    folder.mkdir(parents=True, exist_ok=True)
    snapshot, writer = folder / "policies.snapshot.json", SnapshotWriter(folder / "admin")
    writer.write(policies, snapshot)
    with edge_replicas(snapshot, number, **settings) as replicas:
        yield Fleet(snapshot, writer, [replica.wait_ready() for replica in replicas], replicas)
