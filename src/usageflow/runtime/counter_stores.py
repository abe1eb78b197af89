"""Where counters are kept: the one place that chooses."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from usageflow.domain.clock import Clock
from usageflow.storage.counters import CounterStore
from usageflow.storage.memory import MemoryCounterStore

CLUSTERS = ("redis+cluster", "rediss+cluster")
SCHEMES = ("redis", "rediss", *CLUSTERS)

# Several hosts in one address are no URL: newer urlsplits refuse an IPv6 address that is not the first of them.
_URL = re.compile(r"(?P<scheme>[a-z+]+)://(?P<hosts>[^/?#]*)(?P<path>[^?#]*)(?:\?[^#]*)?")

_NO_ADDRESS = (
    "is no address of Redis: write redis://HOST:PORT, rediss:// for TLS, or redis+cluster:// for a cluster"
)


def open_counters(url: str, clock: Clock) -> CounterStore:
    """Returns the counters of a checked USAGEFLOW_REDIS_URL; "" means in memory, for this process alone. Redis is not asked
    before the first call, and counts by its own time.
    """
    if not url:
        return MemoryCounterStore(clock)
    from usageflow.storage.redis import open_redis  # heavy, and most processes need none

    return open_redis(url, None)


def checked_redis_url(text: str) -> str:
    """Returns the address where it is one. Raises ValueError, "what is wrong: the fix", without the address: it may hold a
    password.
    """
    url = _URL.fullmatch(text)
    if url is None or url["scheme"] not in SCHEMES:
        raise ValueError(_NO_ADDRESS)
    try:
        usable = all(map(_is_host, _hosts(url["scheme"], url["hosts"])))
    except ValueError:  # a port that is no number, a broken IPv6 address
        raise ValueError(_NO_ADDRESS) from None
    if not usable:
        raise ValueError(_NO_ADDRESS)
    database = url["path"].strip("/")
    if url["scheme"] in CLUSTERS and database:
        raise ValueError("names a database, and a cluster has only one: leave out what stands after the port")
    if database and not (database.isascii() and database.isdecimal()):
        raise ValueError("names a database that is no number: write one such as redis://127.0.0.1:6379/0")
    return text


def _hosts(scheme: str, hosts: str) -> list[str]:
    """Returns the nodes that an address names: several of a cluster, one of everything else."""
    named = hosts.rpartition("@")[2]
    return named.split(",") if scheme in CLUSTERS else [named]


def _is_host(text: str) -> bool:
    """Tells whether a text is HOST or HOST:PORT. Raises ValueError for a port that is no number."""
    parsed = urlsplit(f"redis://{text}")
    return bool(parsed.hostname) and parsed.port != 0
