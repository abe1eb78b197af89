from __future__ import annotations

import pytest

from decision.registering import KnownRoutes, Registered, Registering
from decision.snapshots import SnapshotRegistry
from tests.unit.fakes import KEY_OF, FakeControl, limit, policy
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.policies import PolicySet
from usageflow.domain.usage import EndpointName
from usageflow.storage.notices import LocalNotices
from usageflow.storage.ports import NumberKind

POLICIES = PolicySet(policies=(policy("p", "/users/admin", limits=[limit(1)]),))


class Desk:
    def __init__(self) -> None:
        self.control = FakeControl()
        self.control.add(POLICIES)
        self.snapshots = SnapshotRegistry(self.control, LocalNotices(), KEY_OF)
        self.registering = Registering(self.control, self.snapshots, ManualClock())

    async def register(self, *routes: tuple[str, str]) -> list[Registered]:
        await self.snapshots.refresh()
        plan = self.snapshots.plan("app-1")
        assert plan is not None
        return await self.registering.register(plan, routes)

    @property
    def parameters(self) -> set[str]:
        numbers = self.control.states["app-1"].numbers
        return {name for kind, name in numbers if kind is NumberKind.ATTRIBUTE}


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_routes_get_numbers_in_order_and_keep_them(desk: Desk) -> None:
    first = await desk.register(("get", "/users/:id"), ("POST", "/users"), ("GET", "/users/{id}"))
    assert [item.endpoint for item in first] == [
        EndpointName("GET", "/users/{id}"),
        EndpointName("POST", "/users"),
        EndpointName("GET", "/users/{id}"),
    ]
    assert first[0].number == first[2].number != first[1].number
    version = desk.control.states["app-1"].application.plan_version
    again = await desk.register(("POST", "/users"), ("GET", "/users/<int:id>"))
    assert [item.number for item in again] == [first[1].number, first[0].number]
    assert desk.control.states["app-1"].application.plan_version == version


async def test_the_plan_knows_them_at_once(desk: Desk) -> None:
    (made,) = await desk.register(("GET", "/users/{id}"))
    plan = desk.snapshots.plan("app-1")
    assert plan is not None
    instruction = plan.instructions[made.number]
    assert instruction.check
    assert [plan.snapshot.attributes[number] for number in instruction.attributes] == [
        ("path_parameter", "id")
    ]


async def test_a_bad_route_has_its_own_fault(desk: Desk) -> None:
    results = await desk.register(("GET", "/ok"), ("G T", "/x"), ("GET", "no-slash"), ("GET", "/{x}/{x}"))
    assert results[0].fault is None
    assert [item.fault.field for item in results[1:] if item.fault] == ["method", "template", "template"]
    assert [item.number for item in results[1:]] == [0, 0, 0]


async def test_parameters_are_numbered_once(desk: Desk) -> None:
    await desk.register(("GET", "/{a}/v{b}"), ("GET", "/{a}/{tail*}"))
    assert desk.parameters == {"path_parameter a", "path_parameter b", "path_parameter tail"}
    saved = len(desk.control.saved)
    await desk.register(("GET", "/{a}"))
    assert len(desk.control.saved) == saved


@pytest.mark.parametrize(("races", "numbered"), [(1, True), (4, True), (5, False)])
async def test_a_race_is_tried_again(desk: Desk, races: int, numbered: bool) -> None:
    await desk.snapshots.refresh()
    desk.control.races = races
    (made,) = await desk.register(("GET", "/users/{id}"))
    assert made.number
    assert (desk.parameters == {"path_parameter id"}) is numbered
    plan = desk.snapshots.plan("app-1")
    assert plan is not None
    assert (made.number in plan.instructions) is numbered
    await desk.register(("GET", "/users/{id}"))
    assert desk.parameters == {"path_parameter id"}


async def test_too_many_routes_are_refused(desk: Desk) -> None:
    with pytest.raises(InvalidArgument) as error:
        await desk.register(*[("GET", "/a")] * 10_001)
    assert error.value.faults[0].field == "endpoints"


async def test_a_registration_that_a_poll_sees_half_done_stops_nothing(desk: Desk) -> None:
    """The routes are stored before their parameters have numbers, and the poll may come in between."""
    await desk.control.register_endpoints("app-1", [EndpointName("GET", "/users/{id}")], now_us=0)
    await desk.snapshots.refresh()
    plan = desk.snapshots.plan("app-1")
    assert plan is not None
    assert plan.snapshot.plan_version == desk.control.states["app-1"].application.plan_version


async def test_without_a_database_known_routes_keep_their_number_and_others_have_none(desk: Desk) -> None:
    (known,) = await desk.register(("GET", "/users/{id}"))
    plan = desk.snapshots.plan("app-1")
    assert plan is not None
    version = desk.control.states["app-1"].application.plan_version
    made = await KnownRoutes().register(plan, [("GET", "/new"), ("get", "/users/:id"), ("GET", "no-slash")])
    assert made[:2] == [Registered(0, EndpointName("GET", "/new")), known]
    assert made[2].fault is not None
    assert desk.control.states["app-1"].application.plan_version == version
    with pytest.raises(InvalidArgument):
        await KnownRoutes().register(plan, [("GET", "/")] * 10_001)
