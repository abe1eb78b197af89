from __future__ import annotations

from collections.abc import Collection
from itertools import product

import pytest

from admin.inventory import Inventories, InventoryPage
from admin.resources.declarations import Declarations
from tests.unit.fakes import FakeControl, policy
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import InvalidArgument, NotFound
from usageflow.domain.inventory import EndpointState, states_of
from usageflow.domain.policies import Mode, PolicySet
from usageflow.domain.usage import EndpointName
from usageflow.storage.inventory import Calls, HadBy, InventoryRows, Registration, SeenRelease
from usageflow.storage.resources import DeclaredRows

DAY_S, HOUR_S = 86_400, 3_600
NOW_S = 100 * DAY_S + 5 * HOUR_S + 7
POLICIES = PolicySet(
    policies=(
        policy("reads", "/users/*"),
        policy("me", "/users/me"),
        policy("off", "/free/*").model_copy(update={"mode": Mode.DISABLED}),
    )
)


def name(template: str, method: str = "GET") -> EndpointName:
    return EndpointName(method, template)


def registered(*services: HadBy, sighted: bool = False) -> Registration:
    return Registration(1, sighted, 5, 6, services)


ROWS = InventoryRows(
    registered={
        name("/users/{id}"): registered(HadBy("", "v2", 2)),
        name("/free/{id}"): registered(HadBy("", "v1", 1)),
        name("/told"): registered(sighted=True),
        name("/both"): registered(HadBy("", "v1", 1), HadBy("worker", "w", 3)),
    },
    calls={
        name("/users/{id}"): Calls(1, NOW_S, 10, 2, 1),
        name("/free/{id}"): Calls(1, 2),
        name("/told"): Calls(1, NOW_S, 3),
        name("/stray", "POST"): Calls(1, 2),
        name("{unmatched}"): Calls(1, NOW_S, 4),
    },
    newest=[SeenRelease("", "v2", 2, 1, 2), SeenRelease("worker", "w", 3, 1, 2)],
)


class FakeInventory:
    def __init__(self, rows: InventoryRows) -> None:
        self.rows = rows
        self.asked: list[tuple[int, bool]] = []

    async def inventory(self, application_id: str, *, since: int, daily: bool) -> InventoryRows:
        self.asked.append((since, daily))
        return self.rows


class Desk:
    def __init__(self) -> None:
        self.control, self.store, self.clock = FakeControl(), FakeInventory(ROWS), ManualClock()
        self.clock.advance(seconds=NOW_S - self.clock.now_us() // 1_000_000)
        self.control.add(POLICIES)
        self.inventories = Inventories(self.control, self.store, Declarations(self.control, self), self.clock)  # type: ignore[arg-type]

    async def declared(self, application_id: str) -> DeclaredRows:
        return DeclaredRows(self.control.states[application_id].application, [])

    async def page(
        self,
        *states: EndpointState,
        size: int = 0,
        token: str = "",
        since: int | None = None,
        application: str = "demo",
    ) -> InventoryPage:
        return await self.inventories.page(application, size=size, token=token, states=states, since=since)

    async def templates(self, *states: EndpointState) -> list[str]:
        return [each.endpoint.template for each in (await self.page(*states)).endpoints]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_each_endpoint_has_its_states_and_policies(desk: Desk) -> None:
    found = {each.endpoint.template: each for each in (await desk.page()).endpoints}
    assert {template: "+".join(each.states) for template, each in found.items()} == {
        "/users/{id}": "ACTIVE",
        "/free/{id}": "GONE+WITHOUT_POLICY",
        "/told": "ACTIVE+UNREGISTERED+WITHOUT_POLICY",
        "/both": "NEVER_CALLED+WITHOUT_POLICY",
        "/stray": "UNREGISTERED+WITHOUT_POLICY",
        "{unmatched}": "ACTIVE+UNMATCHED",
    }
    assert found["/users/{id}"].policies == ("me", "reads")
    assert found["/both"].gone_from == {""}


@pytest.mark.parametrize(
    ("states", "templates"),
    [
        ([EndpointState.ACTIVE, EndpointState.WITHOUT_POLICY], ["/told"]),
        ([EndpointState.GONE], ["/free/{id}"]),
        ([EndpointState.GONE, EndpointState.ACTIVE], []),
        ([EndpointState.UNMATCHED], ["{unmatched}"]),
    ],
)
async def test_states_are_asked_for_together(
    desk: Desk, states: Collection[EndpointState], templates: list[str]
) -> None:
    assert await desk.templates(*states) == templates


async def test_pages_make_the_whole_and_are_cut_from_one_look(desk: Desk) -> None:
    whole, found, token = await desk.templates(), list[str](), ""
    desk.store.asked.clear()
    while True:
        page = await desk.page(size=2, token=token)
        assert bool(page.releases) is not bool(token)
        found += [each.endpoint.template for each in page.endpoints]
        token = page.next_page_token
        if not token:
            break
    assert found == whole
    assert len(desk.store.asked) == 1
    first = await desk.page(size=2)
    desk.clock.advance(seconds=60)
    await desk.page(size=2, token=first.next_page_token)
    assert len(desk.store.asked) == 3


async def test_a_token_belongs_to_its_question(desk: Desk) -> None:
    token = (await desk.page(size=1)).next_page_token
    for wrong in ({"token": token, "since": 5}, {"token": "nonsense"}, {"size": -1}):
        with pytest.raises(InvalidArgument):
            await desk.page(**wrong)
    with pytest.raises(InvalidArgument):
        await desk.page(EndpointState.GONE, token=token)
    with pytest.raises(NotFound):
        await desk.page(application="nobody")


@pytest.mark.parametrize(
    ("since", "start", "daily"),
    [
        (None, NOW_S - DAY_S - 7, False),
        (NOW_S - 3 * DAY_S, NOW_S - 3 * DAY_S - 7, False),
        (NOW_S - 3 * DAY_S - 1, 97 * DAY_S, True),
        (0, 0, True),
    ],
)
async def test_longer_spans_are_summed_by_days(
    desk: Desk, since: int | None, start: int, daily: bool
) -> None:
    page = await desk.page(since=since)
    assert (page.since, desk.store.asked) == (start, [(start, daily)])


@pytest.mark.parametrize("since", [NOW_S + 1, -1])
async def test_a_span_that_cannot_be_is_refused(desk: Desk, since: int) -> None:
    with pytest.raises(InvalidArgument) as error:
        await desk.page(since=since)
    assert error.value.faults[0].field == "start_time"


def test_nothing_is_both_never_called_and_active() -> None:
    for known, called, gone, covered in product((False, True), repeat=4):
        said = states_of(registered=known, called=called, lately=called, gone=gone, covered=covered)
        assert (EndpointState.ACTIVE in said) is called
        assert (EndpointState.NEVER_CALLED in said) is (known and not called)
        assert (EndpointState.WITHOUT_POLICY in said) is not covered
