"""What a client tells about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["disabled", "unmetered", "idle", "connecting", "ready", "degraded"]


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """A snapshot of a client."""

    state: State
    """disabled: switched off; unmetered: no API key; idle: no request yet; connecting: no plan yet; ready: plan and
    service are there; degraded: the last plan is used, the service is not reachable."""
    address: str
    plan_version: int = 0
    revision: int = 0
    queued: int = 0
    """Events that wait for delivery."""
    reported: int = 0
    """Events that the service has stored."""
    dropped: int = 0
    """Events that found the queue full."""
    refused: int = 0
    """Events that the service will never accept."""
    slots: int = 0
    """Slots of CONCURRENCY limits that running requests hold."""
    dropped_releases: int = 0
    """Slots that could not be given back for want of room: they end when their lives are over."""
    last_error: str = ""
    """The latest fault of the connection; empty while all is well."""
