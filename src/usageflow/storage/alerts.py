"""The ports of alerting: rules, destinations, where alerts stand, and messages on their way. The docstrings are the contract.

Times are Unix microseconds. A store that does not answer raises usageflow.domain.errors.Unavailable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from usageflow.domain.alert_messages import AlertEvent
from usageflow.domain.alerting import AlertState, Reading
from usageflow.domain.alerts import AlertDestination, AlertRule
from usageflow.domain.changes import Cause
from usageflow.storage.ports import WindowState
from usageflow.storage.resources import Stamp


class AlertResource(StrEnum):
    """What people declare."""

    RULE = "rule"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class AlertRow:
    """A rule or a destination as it is stored. ``row_id`` is another where one of the same name was made anew."""

    row_id: str
    item: AlertRule | AlertDestination
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert that is not OK. ``subject`` tells the alerts of one rule apart: "" where there is only one."""

    rule_id: str
    subject: str
    state: AlertState
    threshold: float = 0.0
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WatchedApplication:
    """An application with what it watches. ``rules`` are those that count, by id; ``known`` are the others that still have alerts."""

    application_id: str
    name: str
    rules: Mapping[str, AlertRule]
    known: Mapping[str, AlertRule]
    alerts: Sequence[StoredAlert]


@dataclass(frozen=True, slots=True)
class Told:
    """An event, of which rule, and the names of those who are told."""

    rule_id: str
    event: AlertEvent
    destinations: Sequence[str]


class DeliveryStatus(StrEnum):
    """What became of a message to one destination. DROPPED: the destination is gone or was disabled."""

    WAITING = "WAITING"
    SENT = "SENT"
    FAILED = "FAILED"
    DROPPED = "DROPPED"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is to be sent now. ``attempts`` counts this one."""

    delivery_id: int
    application_id: str
    event: AlertEvent
    destination_id: str
    destination: AlertDestination
    attempts: int
    created_us: int


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What became of an attempt; ``next_us`` is when to try again, where it is WAITING. ``disable``: why the destination gets no more."""

    delivery_id: int
    status: DeliveryStatus
    told: str
    next_us: int = 0
    disable: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A message as people look at it."""

    destination: str
    status: DeliveryStatus
    attempts: int
    told: str
    next_us: int


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """An event, and what became of its messages."""

    event: AlertEvent
    deliveries: Sequence[DeliveryRow]


class AlertBook(Protocol):
    """Rules and destinations, and what people are shown."""

    async def alert_rows(self, kind: AlertResource, application_id: str) -> Sequence[AlertRow]:
        """Returns all of a kind by name, deleted ones too."""

    async def put_alert_row(
        self,
        kind: AlertResource,
        application_id: str,
        row_id: str,
        item: AlertRule | AlertDestination,
        *,
        deleted: bool,
        version: int,
        cause: Cause,
    ) -> None:
        """Stores one, with its audit entry and receipt. ``version`` is the one that the changer saw, 0 for none. Raises FailedPrecondition
        (CHANGED_MEANWHILE) where it is another, NotFound for an unknown application.
        """

    async def open_alerts(self, application_id: str) -> Sequence[tuple[str, StoredAlert]]:
        """Returns the alerts that are not OK, with their rule's name: firing ones first, then by name and subject."""

    async def alert_history(self, application_id: str, *, before: str, limit: int) -> Sequence[HistoryRow]:
        """Returns events, newest first, older than the one named ``before`` ("": all)."""


class AlertStore(Protocol):
    """What evaluation and delivery keep. Several processes may work over it at once."""

    async def take_lease(self, holder: str, *, now_us: int, until_us: int) -> bool:
        """Makes the holder the one who evaluates, unless another one's time has not run out; renews it. Tells whether it is."""

    async def leave_lease(self, holder: str) -> None:
        """Ends a holder's lease."""

    async def watched(self) -> Sequence[WatchedApplication]:
        """Returns every application that has rules which count or alerts that are not OK."""

    async def record(
        self,
        holder: str,
        application_id: str,
        alerts: Sequence[StoredAlert],
        told: Sequence[Told],
        *,
        now_us: int,
    ) -> bool:
        """Stores where alerts stand (those that are OK are forgotten), events and a message per destination that is enabled, in one
        transaction. Changes nothing and returns False where the holder's lease is another's by now.
        """

    async def claim_deliveries(self, *, now_us: int, until_us: int, limit: int) -> Sequence[Delivery]:
        """Returns messages that are due, oldest first, and keeps others from them until ``until_us``. Of one alert and destination the second
        message waits for the first. Those of destinations that are gone or disabled are DROPPED.
        """

    async def settle_deliveries(self, results: Sequence[DeliveryResult], *, now_us: int) -> None:
        """Records what became of attempts; ``disable`` turns the destination off, with an audit entry. Those that are not WAITING any more stay."""

    async def forget_alerts(self, *, before_us: int) -> int:
        """Deletes events and messages that are older, but none that waits, and rules and destinations that were deleted before; returns how many rows went."""


class AlertReadings(Protocol):
    """What rules watch."""

    async def sums(
        self, application_id: str, *, endpoint: str, policy: str, since_s: int, until_s: int, latency: bool
    ) -> Reading:
        """Returns the sums from the minute of ``since_s`` (Unix seconds) to ``until_s``, folded or not, of an endpoint (``METHOD template``)
        and of what a policy decided; "" for all. ``latency``: with the histogram.
        """

    async def windows(
        self, prefixes: Sequence[tuple[str, int]], *, now_us: int, limit: int
    ) -> Sequence[WindowState]:
        """Returns the live windows whose key is a prefix, or goes on behind it with ``|``, and that have used that much or more; of each
        prefix at most ``limit``, the fullest first.
        """
