"""Where counters live: each belongs to a partition, and a partition to one slot of a cluster.

A single Redis is one partition. A cluster has PARTITIONS of them; a counter's is that of its identity, so all limits of one identity
are taken in one step. What identities share is spread by its whole key instead.
"""

from __future__ import annotations

from zlib import crc32

from redis.crc import key_slot

PARTITIONS = 256
"""Of a cluster: enough for dozens of nodes, and few enough that a batch of 100 takes shares calls. It is part of every key: another
number would start all counters anew.
"""

_SHARED = "SHARED"
"""What the key of a limit that all share ends with (usageflow.domain.snapshot): an identity's key always has a colon."""


def identity_of(key: str) -> str:
    """Returns what a counter's partition depends on: the part behind the last separator, which is the identity's last one."""
    return key.rpartition("|")[2].rpartition("\x1f")[2]


def is_shared(key: str) -> bool:
    """Tells whether a counter is shared by all identities."""
    return key.endswith(_SHARED) and key.rpartition("|")[2] == _SHARED


def partition_of(key: str) -> int:
    """Returns the partition of a counter's key, or of any other name."""
    return crc32((key if is_shared(key) else identity_of(key)).encode()) % PARTITIONS


def slot_of(partition: int) -> int:
    """Returns the slot of a cluster in which a partition lies."""
    return int(key_slot(b"p%d" % partition))
