"""Counters and notices of changes in Redis and in Redis Cluster."""

from __future__ import annotations

from usageflow.storage.redis.notices import RedisRelay
from usageflow.storage.redis.opening import open_redis

__all__ = ["RedisRelay", "open_redis"]
