"""The port behind the inventory of endpoints: what was registered, what was reported, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from usageflow.domain.usage import EndpointName


@dataclass(frozen=True, slots=True)
class SeenRelease:
    """A service's newest release. Times are Unix time in microseconds."""

    service: str
    release: str
    number: int
    first_seen_us: int
    last_seen_us: int


@dataclass(frozen=True, slots=True)
class HadBy:
    """A service that has or had an endpoint, with its newest release that did."""

    service: str
    release: str
    number: int


@dataclass(frozen=True, slots=True)
class Registration:
    """An endpoint that plans know. ``sighted``: only reports told of it. Times are Unix time in microseconds."""

    number: int
    sighted: bool
    first_us: int
    last_us: int
    services: tuple[HadBy, ...] = ()


@dataclass(frozen=True, slots=True)
class Calls:
    """What was reported of an endpoint: the seconds of its first and last request (None: there was none), and how many requests, errors
    (status 500 to 599) and denials there were in the time that was asked for.
    """

    first: int | None = None
    last: int | None = None
    requests: int = 0
    errors: int = 0
    denied: int = 0


@dataclass(frozen=True, slots=True)
class InventoryRows:
    """All that the inventory rests on, at one instant. A route that was deleted counts as not registered."""

    registered: Mapping[EndpointName, Registration] = field(default_factory=dict)
    calls: Mapping[EndpointName, Calls] = field(default_factory=dict)
    newest: Sequence[SeenRelease] = ()


class InventoryStore(Protocol):
    """What there is to say of an application's endpoints."""

    async def inventory(self, application_id: str, *, since: int, daily: bool) -> InventoryRows:
        """Returns everything, what is in no rollup yet too. ``since`` (Unix time in seconds) begins an hour, or a UTC day where ``daily``;
        requests count from then on. ``newest`` has one release per service, by service.
        """
