from __future__ import annotations

import pytest

from decision.reported import Verdict
from decision.sighting import LOOK_S, MAX_AT_ONCE, PAUSE_S, Sighting
from tests.unit.decision.test_registering import Desk
from usageflow.domain.errors import InvalidArgument, Unavailable
from usageflow.domain.releases import release_of
from usageflow.domain.usage import EndpointName

VERDICT = Verdict()


class Sights(Desk):
    """A decision process that hears of endpoints in reports."""

    def __init__(self) -> None:
        super().__init__()
        self.sighting = Sighting(self.snapshots, self.registering)

    def hear(self, method: str, template: str, path: str = "") -> None:
        plan = self.snapshots.plan("app-1")
        assert plan is not None
        plan.accounts.find((method, template), path, VERDICT, {})

    @property
    def endpoints(self) -> set[EndpointName]:
        return set(self.control.states["app-1"].endpoints)


@pytest.fixture
async def sights() -> Sights:
    made = Sights()
    await made.register(("GET", "/known"))
    return made


async def test_what_reports_name_is_registered_and_in_the_plan(sights: Sights) -> None:
    sights.hear("get", "/users/:id")
    sights.hear("GET", "/known")
    assert await sights.sighting.look() == 1
    assert EndpointName("GET", "/users/{id}") in sights.endpoints
    plan = sights.snapshots.plan("app-1")
    assert plan is not None
    assert EndpointName("GET", "/users/{id}") in plan.snapshot.endpoint_numbers
    assert "path_parameter id" in sights.parameters
    assert await sights.sighting.look() == 0


async def test_paths_and_what_no_route_matched_are_never_registered(sights: Sights) -> None:
    sights.hear("GET", "", "/users/7")
    sights.hear("GET", "{unmatched}", "/nobody/knows")
    with pytest.raises(InvalidArgument):
        sights.hear("GET", "no-slash")
    assert await sights.sighting.look() == 0
    assert sights.endpoints == {EndpointName("GET", "/known")}


async def test_many_are_registered_by_and_by(sights: Sights) -> None:
    for number in range(MAX_AT_ONCE + 1):
        sights.hear("GET", f"/{number}")
    plan = sights.snapshots.plan("app-1")
    assert plan is not None
    assert await sights.sighting.look() == MAX_AT_ONCE
    sights.hear("GET", "/0")  # the plan is another now, and knows it
    for number in range(MAX_AT_ONCE + 1):
        sights.hear("GET", f"/{number}")
    assert await sights.sighting.look() == 1


async def test_a_database_that_is_down_loses_nothing(
    sights: Sights, caplog: pytest.LogCaptureFixture
) -> None:
    sights.hear("GET", "/new")
    sights.control.down = True
    with pytest.raises(Unavailable):
        await sights.sighting.look()
    assert await sights.sighting.step() == PAUSE_S
    sights.control.down = False
    assert await sights.sighting.step() == PAUSE_S
    assert EndpointName("GET", "/new") in sights.endpoints
    assert await sights.sighting.step() == LOOK_S


async def test_registrations_name_their_release(sights: Sights) -> None:
    plan = sights.snapshots.plan("app-1")
    assert plan is not None
    await sights.registering.register(plan, [("GET", "/a"), ("G T", "/b")], "web", "v1")
    release = sights.control.releases[-1]
    assert release == release_of("web", "v1", [EndpointName("GET", "/a")])
    with pytest.raises(InvalidArgument) as error:
        await sights.registering.register(plan, [("GET", "/a")], "x" * 129, "v\n1")
    assert [fault.field for fault in error.value.faults] == ["service", "release"]


def test_a_release_without_a_name_is_named_by_its_routes() -> None:
    routes = [EndpointName("GET", "/a"), EndpointName("POST", "/b")]
    release = release_of("", "", routes)
    assert release.name.startswith("routes-")
    assert release_of("", "", [*reversed(routes), routes[0]]) == release
    assert release_of("", "", routes[:1]).name != release.name
