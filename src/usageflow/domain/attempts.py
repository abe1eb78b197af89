"""How often one address may fail to name a credential: a token bucket per address, in a table that never grows too large.

Guessing 256 random bits is hopeless at any speed; the bucket keeps guesses from costing look-ups, and mistakes from filling logs.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import unquote

BURST = 20
PER_S = 1.0
ADDRESSES = 10_000

_US = 1_000_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_us: int


class FailureBuckets:
    """The failures of addresses. Whoever was not seen for long is forgotten first, and full buckets hold nothing to forget."""

    def __init__(self, burst: int = BURST, per_s: float = PER_S, addresses: int = ADDRESSES) -> None:
        """``burst`` failures fit at once, then ``per_s`` a second; at most ``addresses`` are remembered."""
        self._burst = burst
        self._per_s = per_s
        self._addresses = addresses
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_us(self, address: str, now_us: int) -> int:
        """Returns how many microseconds an address has to wait until it may try again; 0 where it may."""
        bucket = self._buckets.get(address)
        if bucket is None:
            return 0
        self._refill(bucket, now_us)
        return 0 if bucket.tokens >= 1 else round((1 - bucket.tokens) / self._per_s * _US)

    def failed(self, address: str, now_us: int) -> None:
        """Takes a token of an address."""
        bucket = self._buckets.setdefault(address, _Bucket(self._burst, now_us))
        self._buckets.move_to_end(address)
        self._refill(bucket, now_us)
        bucket.tokens = max(bucket.tokens - 1, 0)
        if len(self._buckets) > self._addresses:
            self._buckets.popitem(last=False)

    def __len__(self) -> int:
        return len(self._buckets)

    def _refill(self, bucket: _Bucket, now_us: int) -> None:
        elapsed_s = max(now_us - bucket.at_us, 0) / _US  # a clock that goes back refills nothing
        bucket.tokens = min(bucket.tokens + elapsed_s * self._per_s, self._burst)
        bucket.at_us = now_us


def address_of(peer: str) -> str:
    """Returns what failures of a peer, as gRPC spells it (``ipv4:10.0.0.1:5000``, ``ipv6:%5B::1%5D:5000``, ``unix:``), are counted
    under: the IPv4 address, the IPv6 /64, or the family of whatever is neither.
    """
    family, _, rest = unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return family[:32]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
