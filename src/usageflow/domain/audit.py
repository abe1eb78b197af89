"""The audit log as a chain: each entry's hash covers the entry and the hash before it.

Whoever knows the newest hash can tell whether anything before it was changed, removed or put in between. The chain is
plain SHA-256, so that anybody who may read the log can check it without trusting the service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from operator import attrgetter

GENESIS = bytes(32)
"""What stands before the first entry."""

_FORMAT = b"usageflow audit 1"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of one resource: ids only. Empty fields do not apply; ``revision`` 0 where none was made.

    ``sequence`` counts from 1 without gaps over the whole installation; ``at_us`` is Unix time in microseconds.
    """

    sequence: int
    at_us: int
    actor_id: str
    peer: str
    method: str
    application_id: str
    action: str
    kind: str
    resource_id: str
    revision: int
    request_id: str


@dataclass(frozen=True, slots=True)
class ChainedEntry:
    """An entry and its hash, 32 bytes."""

    entry: AuditEntry
    digest: bytes


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """Where a chain stops being one: at this sequence, and why."""

    sequence: int
    problem: str


def digest_of(previous: bytes, entry: AuditEntry) -> bytes:
    """Returns the hash of an entry that follows ``previous``: SHA-256 over every field's name and text, each with its length,
    so that no two entries spell the same bytes.
    """
    hashed = hashlib.sha256(_FORMAT + previous)
    for name, value in zip(_NAMES, values_of(entry), strict=True):
        text = str(value).encode()
        hashed.update(b"%s=%d:%s;" % (name, len(text), text))
    return hashed.digest()


def chained(previous: bytes, entries: Iterable[AuditEntry]) -> Iterator[ChainedEntry]:
    """Yields the entries with their hashes, after an entry whose hash is ``previous``."""
    for entry in entries:
        previous = digest_of(previous, entry)
        yield ChainedEntry(entry, previous)


class ChainCheck:
    """Follows a chain entry by entry, from its beginning."""

    def __init__(self) -> None:
        self.sequence = 0
        self.digest = GENESIS

    def follow(self, link: ChainedEntry) -> ChainBreak | None:
        """Takes the next entry; returns what is wrong with it, after which the chain cannot be followed any further."""
        entry = link.entry
        if entry.sequence != self.sequence + 1:
            return ChainBreak(self.sequence + 1, f"is missing: the next entry is {entry.sequence}")
        if digest_of(self.digest, entry) != link.digest:
            return ChainBreak(entry.sequence, "was changed after it was written, or the one before it was")
        self.sequence, self.digest = entry.sequence, link.digest
        return None


_NAMES = tuple(field.name.encode() for field in fields(AuditEntry))
values_of: Callable[[AuditEntry], tuple[str | int, ...]] = attrgetter(
    *(field.name for field in fields(AuditEntry))
)
"""Returns an entry's fields in order; dataclasses' own way copies each of them."""
