"""The use-case behind GetStatus: what is stored, what each decision process enforces of it, and who lags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from usageflow.domain.clock import Clock
from usageflow.domain.errors import NotFound
from usageflow.storage.replicas import Enforced, Newest, Replica, ReplicaStore, Report

LIVE_US = 30_000_000
"""Who was not heard of for so long counts as gone: six heartbeats."""

_NOTHING = Enforced(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class EnforcedHere:
    """What a process enforces of an application, against the newest. ``lag_us`` is None where it is current."""

    newest: Newest
    state: Enforced
    lag_us: int | None

    @property
    def versions_behind(self) -> int:
        """Returns by how many versions of the plan it is behind."""
        return max(0, self.newest.plan_version - self.state.plan_version)


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A decision process, ``age_us`` after it was last heard of."""

    replica: Replica
    age_us: int
    enforced: tuple[EnforcedHere, ...]

    @property
    def live(self) -> bool:
        """Tells whether it was heard of lately."""
        return self.age_us < LIVE_US


@dataclass(frozen=True, slots=True)
class Status:
    """What is in force, and where."""

    applications: tuple[Newest, ...]
    replicas: tuple[ReplicaStatus, ...]


class Statuses:
    """Tells what is in force."""

    def __init__(self, replicas: ReplicaStore, clock: Clock) -> None:
        self._replicas = replicas
        self._clock = clock

    async def status(self, application: str) -> Status:
        """Returns the status of one application, or of all ("" for the name). Raises NotFound."""
        reports = await self._replicas.reports()
        # Read after the reports: what is told of a process is then never ahead of what is stored.
        newest = tuple(item for item in await self._replicas.newest() if application in ("", item.name))
        if application and not newest:
            raise NotFound(f"there is no application {application[:64]!r}", reason="APPLICATION_NOT_FOUND")
        now_us = self._clock.now_us()
        return Status(newest, tuple(_replica(report, newest, now_us) for report in reports))


def _replica(report: Report, newest: Sequence[Newest], now_us: int) -> ReplicaStatus:
    here = (_enforced(report.states.get(item.application_id, _NOTHING), item, now_us) for item in newest)
    return ReplicaStatus(report.replica, max(0, now_us - report.seen_us), tuple(here))


def _enforced(state: Enforced, newest: Newest, now_us: int) -> EnforcedHere:
    current = (state.plan_version, state.directory_version) == (newest.plan_version, newest.directory_version)
    return EnforcedHere(newest, state, None if current else max(0, now_us - newest.changed_us))
