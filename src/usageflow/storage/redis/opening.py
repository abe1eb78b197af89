"""From a URL to counters."""

from __future__ import annotations

from usageflow.domain.clock import Clock
from usageflow.storage.counters import CounterStore
from usageflow.storage.redis.cluster import ClusterServers
from usageflow.storage.redis.cluster_counters import ClusterCounterStore
from usageflow.storage.redis.counters import RedisCounterStore
from usageflow.storage.redis.server import SingleServer


def open_redis(url: str, clock: Clock | None, *, prefix: str = "uf") -> CounterStore:
    """Returns counters in the Redis at ``url``; keys begin with ``prefix``. URLs: redis://, rediss:// and unix:// for a single Redis,
    redis+cluster://[user:password@]host:port,host:port and rediss+cluster:// for a cluster.

    ``clock`` None, as in production: time is Redis's own. Nothing is asked before the first call; nothing is decided before
    restore_windows. Raises ValueError for another URL.
    """
    if "+cluster://" in url:
        return ClusterCounterStore(ClusterServers(url), clock, prefix)
    return RedisCounterStore(SingleServer(url), clock, prefix)
