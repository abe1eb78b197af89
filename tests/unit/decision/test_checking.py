from __future__ import annotations

import asyncio
from itertools import count

import pytest

from decision.checking import Checking, CheckItem
from decision.engine import Engine
from decision.plan import Plan
from decision.questions import Terms
from decision.snapshots import SnapshotRegistry
from tests.unit.fakes import KEY_OF, FakeControl, SilentStore, limit, policy, request, resilient, strategy
from usageflow.domain.clock import ManualClock
from usageflow.domain.credentials import CredentialKind
from usageflow.domain.decisions import Answer
from usageflow.domain.errors import FailedPrecondition, InvalidArgument, PermissionDenied, Unavailable
from usageflow.domain.policies import PolicySet
from usageflow.domain.usage import EndpointName
from usageflow.expressions import compile_term
from usageflow.rpc.principal import Principal
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.notices import LocalNotices

POLICIES = PolicySet(strategies=(strategy(),), policies=(policy(limits=[limit(10)], strategy="by-user"),))
PRINCIPAL = Principal(CredentialKind.API_KEY, "app-1", "uf_test_abcd")


class SlowStore(SilentStore):
    """Counters that take, and then keep everybody waiting for the answer."""

    gate: asyncio.Event | None = None

    async def take(self, takes):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        taken = await super().take(takes)
        if self.gate is not None:
            await self.gate.wait()
        return taken


class Desk:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.control = FakeControl()
        self.snapshots = SnapshotRegistry(self.control, LocalNotices(), KEY_OF)
        self.store = SlowStore(self.clock)
        ids = count(1)
        engine = Engine(
            resilient(self.store), MemoryCounterStore(self.clock), self.clock, lambda: f"r{next(ids)}"
        )
        self.checking = Checking(self.snapshots, engine, self.clock, {})

    @property
    def plan(self) -> Plan:
        return self.checking.plan_of(PRINCIPAL, "")

    async def check(self, user: str = "u", request_id: str = "", left_s: float | None = None) -> Answer:
        return await self.checking.check(self.plan, item(user, request_id), left_s)

    async def many(self, *items: CheckItem) -> list[Answer | InvalidArgument]:
        return await self.checking.check_many(self.plan, items, None)


def item(user: str = "u", request_id: str = "", **fields: object) -> CheckItem:
    return CheckItem(request(user=user), request_id=request_id, **fields)  # type: ignore[arg-type]


def left(answer: Answer | InvalidArgument) -> int:
    assert isinstance(answer, Answer)
    return answer.limits[0].standing.remaining


@pytest.fixture
async def desk() -> Desk:
    made = Desk()
    made.control.add(POLICIES)
    await made.control.register_endpoints("app-1", [EndpointName("GET", "/a")], now_us=0)
    await made.snapshots.refresh()
    return made


async def test_a_repeat_gets_the_same_answer_and_debits_nothing(desk: Desk) -> None:
    first = await desk.check(request_id="one")
    assert await desk.check(request_id="one") == first
    assert left(await desk.check()) == 8


async def test_repeats_at_the_same_time_share_one_debit(desk: Desk) -> None:
    desk.store.gate = asyncio.Event()
    asked = [asyncio.ensure_future(desk.check(request_id="one")) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    desk.store.gate.set()
    answers = await asyncio.gather(*asked)
    assert len({id(answer) for answer in answers}) == 1
    desk.store.gate = None
    assert left(await desk.check()) == 8


async def test_repeats_in_one_batch_share_one_debit_whatever_their_deadlines(desk: Desk) -> None:
    answers = await desk.many(
        item(request_id="one"), item(), item(request_id="one", deadline_s=0.5), item(request_id="one")
    )
    assert answers[0] is answers[2] is answers[3]
    assert left(await desk.check()) == 7


async def test_request_ids_of_two_callers_are_different(desk: Desk) -> None:
    answers = await desk.many(item(request_id="one"), item(request_id="two"))
    assert [left(answer) for answer in answers] == [9, 8]


@pytest.mark.parametrize(("left_s", "kept_s"), [(None, 1.0), (0.05, 1.0), (3.0, 6.0)])
async def test_an_answer_is_kept_for_twice_the_deadline(
    desk: Desk, left_s: float | None, kept_s: float
) -> None:
    await desk.check(request_id="one", left_s=left_s)
    desk.clock.advance(seconds=kept_s - 0.000_001)
    assert left(await desk.check(request_id="one", left_s=left_s)) == 9
    desk.clock.advance(seconds=0.000_001)
    assert left(await desk.check(request_id="one", left_s=left_s)) == 8


async def test_a_repeat_of_a_caller_that_went_away_gets_the_answer_and_no_second_debit(desk: Desk) -> None:
    desk.store.gate = asyncio.Event()
    first = asyncio.ensure_future(desk.check(request_id="one"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    again = asyncio.ensure_future(desk.check(request_id="one"))
    await asyncio.sleep(0)
    desk.store.gate.set()
    assert left(await again) == 9
    desk.store.gate = None
    assert left(await desk.check()) == 8


async def test_a_repeat_that_gives_up_does_not_spoil_the_first_ones_answer(desk: Desk) -> None:
    desk.store.gate = asyncio.Event()
    first = asyncio.ensure_future(desk.check(request_id="one"))
    repeat = asyncio.ensure_future(desk.check(request_id="one"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    repeat.cancel()
    await asyncio.gather(repeat, return_exceptions=True)
    desk.store.gate.set()
    assert left(await first) == 9


async def test_a_request_that_was_not_decided_is_decided_when_it_is_sent_again(desk: Desk) -> None:
    desk.store.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await desk.check(request_id="one")
    desk.store.error = None
    assert left(await desk.check(request_id="one")) == 9


async def test_each_item_has_its_own_fault(desk: Desk) -> None:
    number = desk.plan.snapshot.endpoint_numbers[EndpointName("GET", "/a")]
    answers = await desk.many(
        item(),
        CheckItem(request("bad")),
        CheckItem(number, values=["u"]),
        CheckItem(999, values=["u"]),
        CheckItem(number, values=[]),
        item(request_id="x" * 65),
        item(terms=Terms(cost=-1)),
    )
    found = [answer.faults[0].field if isinstance(answer, InvalidArgument) else "" for answer in answers]
    assert found == ["", "path", "", "endpoint_number", "values", "request_id", "cost"]
    assert isinstance(answers[3], InvalidArgument)
    assert answers[3].faults[0].reason == "UNKNOWN_ENDPOINT"
    assert left(answers[2]) == 8
    with pytest.raises(InvalidArgument):
        await desk.checking.check(desk.plan, CheckItem(request("bad")), None)


async def test_a_batch_of_100_is_decided_and_one_of_101_is_not(desk: Desk) -> None:
    answers = await desk.many(*[item()] * 100)
    assert sum(isinstance(answer, Answer) and answer.allowed for answer in answers) == 10
    with pytest.raises(InvalidArgument) as error:
        await desk.many(*[item("v")] * 101)
    assert error.value.faults[0].field == "items"
    assert left(await desk.check("v")) == 9


async def test_another_application_is_denied(desk: Desk) -> None:
    assert desk.checking.plan_of(PRINCIPAL, "demo") is desk.plan
    with pytest.raises(PermissionDenied) as error:
        desk.checking.plan_of(PRINCIPAL, "other")
    assert error.value.reason == "OTHER_APPLICATION"


async def test_before_the_policies_are_loaded_nothing_is_decided() -> None:
    with pytest.raises(Unavailable):
        Desk().checking.plan_of(PRINCIPAL, "")


async def test_a_newer_plan_is_loaded_before_it_counts_as_unknown(desk: Desk) -> None:
    desk.control.set("app-1", POLICIES)
    newer = desk.plan.snapshot.plan_version + 1
    assert (await desk.checking.plan_for(PRINCIPAL, "", newer)).snapshot.plan_version == newer
    with pytest.raises(FailedPrecondition) as error:
        await desk.checking.plan_for(PRINCIPAL, "", newer + 1)
    assert error.value.reason == "PLAN_UNKNOWN"


async def test_values_in_the_order_of_an_older_plan_are_not_guessed(desk: Desk) -> None:
    version = desk.plan.snapshot.plan_version
    assert await desk.checking.plan_for(PRINCIPAL, "", version, positional=True) is desk.plan
    assert await desk.checking.plan_for(PRINCIPAL, "", 0, positional=True) is desk.plan
    assert await desk.checking.plan_for(PRINCIPAL, "", version - 1) is desk.plan
    with pytest.raises(FailedPrecondition) as error:
        await desk.checking.plan_for(PRINCIPAL, "", version - 1, positional=True)
    assert error.value.reason == "PLAN_UNKNOWN"


async def test_expressions_that_fail_are_counted() -> None:
    desk = Desk()
    counted: dict[str, int] = {}
    snapshots = SnapshotRegistry(desk.control, LocalNotices(), KEY_OF, None, compile_term)
    broken = policy(condition="1 / 0 == 1", cost="1 / 0", limits=[limit(10)])
    desk.control.add(PolicySet(policies=(broken,)))
    await snapshots.refresh()
    engine = Engine(resilient(desk.store), MemoryCounterStore(desk.clock), desk.clock, lambda: "r")
    desk.checking = Checking(snapshots, engine, desk.clock, {}, counted)
    await desk.many(item("u"), item("v"))
    assert counted == {"condition": 2, "cost": 2}
