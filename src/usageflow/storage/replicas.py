"""The port of decision processes' own reports: what each enforces, for whoever wants to know who lags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

KEPT_US = 3_600_000_000
"""A process that was not heard of for so long is forgotten."""


@dataclass(frozen=True, slots=True)
class Enforced:
    """What a process enforces for an application, and since when (Unix time in microseconds)."""

    revision: int
    plan_version: int
    directory_version: int
    since_us: int


@dataclass(frozen=True, slots=True)
class Replica:
    """A decision process. ``address`` is where it serves gRPC; ``from_cache``: the database has not answered it yet."""

    replica_id: str
    host: str
    pid: int
    address: str
    started_us: int
    from_cache: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a process said of itself at ``seen_us``: what it enforces, by application id."""

    replica: Replica
    seen_us: int
    states: Mapping[str, Enforced]


@dataclass(frozen=True, slots=True)
class Newest:
    """What is stored of an application, and so what should be enforced. ``changed_us``: when it last changed, as far as known."""

    application_id: str
    name: str
    revision: int
    plan_version: int
    directory_version: int
    changed_us: int


class ReplicaStore(Protocol):
    """What decision processes enforce."""

    async def report(self, report: Report) -> None:
        """Puts a report in the place of the same process's last one, in one transaction, and forgets processes that were not
        heard of for an hour before it.
        """

    async def leave(self, replica_id: str) -> None:
        """Forgets a process that ends."""

    async def reports(self) -> Sequence[Report]:
        """Returns the last report of every process, in order of their start."""

    async def newest(self) -> Sequence[Newest]:
        """Returns what is stored of each application, in order of their names."""
