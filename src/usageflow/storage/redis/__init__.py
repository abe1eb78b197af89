"""Counters in Redis and in Redis Cluster."""

from __future__ import annotations

from usageflow.storage.redis.opening import open_redis

__all__ = ["open_redis"]
