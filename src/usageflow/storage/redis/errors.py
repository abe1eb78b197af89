"""What may go wrong in Redis, and what to do about it: every error becomes Unavailable."""

from __future__ import annotations

import structlog
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from usageflow.domain.errors import Unavailable

log = structlog.get_logger()

LOST = "UFLOST"
"""How scripts begin an answer that says that the counters were lost."""

_ADVICE: tuple[tuple[type[RedisError], str], ...] = (
    (BusyLoadingError, "is loading its data: wait until it has read them"),
    (ReadOnlyError, "is a read-only replica: name the primary in USAGEFLOW_REDIS_URL"),
    (MovedError, "is a node of a cluster: write USAGEFLOW_REDIS_URL as redis+cluster://host:port,..."),
    (MasterDownError, "is a replica whose primary is down: bring the primary back, or fail over"),
    (ClusterDownError, "says that the cluster is down: see which slots `redis-cli cluster info` misses"),
    (TryAgainError, "moves these keys to another node at the moment: the next call finds them"),
    (OutOfMemoryError, "has no memory left: raise its maxmemory"),
    (AuthenticationError, "refuses the user or password: put the right ones in USAGEFLOW_REDIS_URL"),
    (
        NoPermissionError,
        "forbids its user a command: allow EVALSHA, EVAL and what the scripts call on its keys",
    ),
)
_WORDS = (
    ("OOM", "has no memory left: raise its maxmemory"),
    ("MISCONF", "cannot save its data and so refuses writes: free its disk, or see its log"),
    ("NOREPLICAS", "has too few replicas to write: bring them back, or lower min-replicas-to-write"),
    ("BUSY", "is busy with another script: wait, or end that with SCRIPT KILL"),
    ("CROSSSLOT", "is a node of a cluster: write USAGEFLOW_REDIS_URL as redis+cluster://host:port,..."),
    (LOST, "came back empty: long windows are restored from their checkpoints within a second"),
)


def unavailable(error: BaseException, address: str) -> Unavailable:
    """Returns what the caller is told of an error of the Redis at ``address``."""
    advice = _advice(error)
    if advice is None:
        log.error("a script of the counters failed in Redis", redis=address, error=str(error))
        advice = "could not run a script of the counters; its error is in the log: please report it"
    return Unavailable(f"Redis at {address} {advice}")


def is_lost(error: BaseException) -> bool:
    """Tells whether a script answered that the counters were lost."""
    return isinstance(error, ResponseError) and str(error).startswith(LOST)


def _advice(error: BaseException) -> str | None:
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return advice
    if isinstance(error, ResponseError):
        return next((advice for word, advice in _WORDS if word in str(error)), None)
    return f"does not answer ({error or type(error).__name__}): see that it runs and that USAGEFLOW_REDIS_URL names it"
