"""The use-case behind RegisterEndpoints: store the routes of an application and number them, or tell known ones their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from decision.endpoints import endpoint_of
from decision.plan import Plan, missing_parameters
from decision.snapshots import SnapshotRegistry
from usageflow.domain.changes import Actor, Cause
from usageflow.domain.clock import Clock
from usageflow.domain.errors import FailedPrecondition, Fault, InvalidArgument
from usageflow.domain.identity import PATH_PARAMETER
from usageflow.domain.releases import release_of
from usageflow.domain.snapshot import attribute_name
from usageflow.domain.usage import EndpointName
from usageflow.storage.ports import ChangeSet, ControlStore, NumberKind

MAX_ENDPOINTS = 10_000
_ATTEMPTS = 5
_CAUSE = Cause(Actor("", "registration"), "RegisterEndpoints")


@dataclass(frozen=True, slots=True)
class Registered:
    """One route: its number and canonical form, or why it was refused."""

    number: int = 0
    endpoint: EndpointName | None = None
    fault: Fault | None = None


class Registration(Protocol):
    """Tells routes their numbers."""

    async def register(
        self, plan: Plan, routes: Sequence[tuple[str, str]], service: str = "", release: str = ""
    ) -> list[Registered]:
        """Returns a result per (method, template), in order; idempotent. ``release`` of ``service`` has these routes. Raises
        InvalidArgument for too many routes, and for what is no name.
        """


class KnownRoutes:
    """The Registration of an edge replica, which stores nothing: a route that its snapshot does not know has number 0, and
    is checked by name.
    """

    async def register(
        self, plan: Plan, routes: Sequence[tuple[str, str]], service: str = "", release: str = ""
    ) -> list[Registered]:
        """See Registration."""
        numbers = plan.snapshot.endpoint_numbers
        return [
            Registered(numbers.get(item, 0), item)
            if isinstance(item, EndpointName)
            else Registered(fault=item)
            for item in _all_checked(routes)
        ]


class Registering:
    """The Registration of a service with a database: new routes are stored."""

    def __init__(self, control: ControlStore, snapshots: SnapshotRegistry, clock: Clock) -> None:
        self._control = control
        self._snapshots = snapshots
        self._clock = clock

    async def register(
        self, plan: Plan, routes: Sequence[tuple[str, str]], service: str = "", release: str = ""
    ) -> list[Registered]:
        """See Registration."""
        checked = _all_checked(routes)
        names = list(dict.fromkeys(item for item in checked if isinstance(item, EndpointName)))
        application_id = plan.snapshot.application_id
        numbers = await self._control.register_endpoints(
            application_id,
            names,
            now_us=self._clock.now_us(),
            release=release_of(service, release, names),
        )
        await self._number_parameters(application_id, names)
        await self._snapshots.refresh()
        by_name = dict(zip(names, numbers, strict=True))
        return [
            Registered(by_name[item], item) if isinstance(item, EndpointName) else Registered(fault=item)
            for item in checked
        ]

    async def sight(self, application_id: str, names: list[EndpointName], most: int) -> int:
        """Stores routes that reports named, at most so many of an application; returns how many were new."""
        now_us = self._clock.now_us()
        fresh = await self._control.sight_endpoints(application_id, names, now_us=now_us, most=most)
        if fresh:
            await self._number_parameters(application_id, fresh)
            await self._snapshots.refresh()
        return len(fresh)

    async def _number_parameters(self, application_id: str, names: Sequence[EndpointName]) -> None:
        """Gives the routes' parameters attribute numbers: some policy may tell their values apart, now or later."""
        for _ in range(_ATTEMPTS):
            state = await self._control.load(application_id)
            missing = missing_parameters(state.numbers, (name.template for name in names))
            if not missing:
                return
            wanted = tuple((NumberKind.ATTRIBUTE, attribute_name((PATH_PARAMETER, name))) for name in missing)
            change = ChangeSet(policies=None, blocks_upserted=(), blocks_deleted=(), names=wanted)
            version = state.application.plan_version
            try:
                await self._control.change(
                    application_id, change, cause=_CAUSE, expected_plan_version=version
                )
            except FailedPrecondition:
                continue  # somebody else changed the application meanwhile: look again
            return


def _all_checked(routes: Sequence[tuple[str, str]]) -> list[EndpointName | Fault]:
    if len(routes) > MAX_ENDPOINTS:
        raise InvalidArgument.of(
            "endpoints", f"has {len(routes)} items", f"send at most {MAX_ENDPOINTS} in one call"
        )
    return [_checked(method, template) for method, template in routes]


def _checked(method: str, template: str) -> EndpointName | Fault:
    try:
        return endpoint_of(method, template)
    except InvalidArgument as error:
        return error.faults[0]
