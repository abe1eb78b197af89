"""Rules over a real database: looked at, told, and told once, whoever ends when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest

from meter.alerting import LEASE_US, Alerting
from meter.delivering import CLAIM_US, GIVE_UP_US, Delivering, result_of
from meter.quotas import Quotas
from tests.causes import NOBODY
from tests.unit.fakes import limit, policy
from usageflow.domain.alert_messages import AlertEvent
from usageflow.domain.alert_sending import AlertSender, Attempt
from usageflow.domain.alerts import AlertDestination, AlertRule
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import Unavailable
from usageflow.domain.hashing import keys_under
from usageflow.domain.policies import PolicySet
from usageflow.domain.usage import EndpointName, Series, UsageDelta, UsageRecord
from usageflow.runtime.resources import latency_boundaries
from usageflow.runtime.sql_stores import SqlStores
from usageflow.storage.alerts import AlertResource, Delivery, DeliveryStatus
from usageflow.storage.ports import ChangeSet, WindowState
from usageflow.storage.sql import open_sqlite, prepare

KEY = bytes(32)


class Receiver:
    """What is at the other end: answers, and remembers ids."""

    def __init__(self) -> None:
        self.status = 200
        self.ids: list[str] = []
        self.dies = False

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        self.ids.append(headers["webhook-id"])
        if self.dies:
            raise RuntimeError("killed")  # the process ends between sending and recording
        if self.status == 0:
            raise Unavailable("no answer")
        return self.status


class World:
    def __init__(self, stores: SqlStores, clock: ManualClock, application_id: str) -> None:
        self.stores, self.clock, self.application_id = stores, clock, application_id
        self.receiver = Receiver()
        self._ids = count()
        self._records = count()
        self.delivering = Delivering(
            stores.alerts,
            AlertSender(self.receiver, KEY, {}, allow_private=True),
            clock,
            lambda: 0.0,
        )

    def alerting(self) -> Alerting:
        stores = self.stores
        quotas = Quotas(stores.control, stores.alert_readings, keys_under(KEY))
        return Alerting(
            stores.alerts,
            stores.alert_readings,
            quotas,
            self.clock,
            lambda: f"id-{next(self._ids):06}",
            latency_boundaries(),
        )

    async def declare(self, item: AlertRule | AlertDestination) -> None:
        kind = AlertResource.RULE if isinstance(item, AlertRule) else AlertResource.DESTINATION
        await self.stores.alerts.put_alert_row(
            kind, self.application_id, f"row-{item.name}", item, deleted=False, version=0, cause=NOBODY
        )

    async def rule(self, **fields: object) -> None:
        usual = {"name": "r", "keep_firing_for": "0s", "destinations": ["ops"]}
        await self.declare(AlertRule.model_validate({**usual, **fields}))

    async def report(self, status: int, requests: int = 100) -> None:
        series = Series(EndpointName("GET", "/a"), status, denied=False, reason="", degraded="", policy="p")
        delta = UsageDelta(series, "", self.clock.now_us() // 1_000_000, requests, Decimal(0))
        record = UsageRecord(f"r{next(self._records)}", 0, bytes(16), (delta,))
        await self.stores.usage.ingest([(self.application_id, [record])])

    async def told(self) -> list[tuple[str, str]]:
        rows = await self.stores.alerts.alert_history(self.application_id, before="", limit=100)
        return [(row.event.rule, row.event.transition) for row in reversed(rows)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as made:
        await made.declare(AlertDestination(name="ops", url="http://127.0.0.1:1/"))
        yield made


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[World]:
    path, clock = folder / "usageflow.db", ManualClock()
    prepare(path, clock)
    database = open_sqlite(path)
    stores = SqlStores.over(database, clock)
    application = await stores.control.create_application("demo", [], cause=NOBODY)
    yield World(stores, clock, application.application_id)
    await database.close()


async def test_errors_fire_once_and_are_over_once(world: World) -> None:
    await world.rule(kind="ERROR_RATE", threshold=50, window="1m")
    alerting = world.alerting()
    await world.report(500)
    for _ in range(12):
        assert await alerting.round()
        await world.delivering.round()
        world.clock.advance(seconds=15)
    assert await world.told() == [("r", "FIRED"), ("r", "RESOLVED")]
    assert len(set(world.receiver.ids)) == len(world.receiver.ids) == 2


async def test_silence_fires_until_somebody_comes(world: World) -> None:
    await world.rule(kind="SILENCE", window="1m")
    alerting = world.alerting()
    for _ in range(8):  # nobody was ever there
        await alerting.round()
        world.clock.advance(seconds=15)
    assert await world.told() == []
    await world.report(200)
    for _ in range(12):
        await alerting.round()
        world.clock.advance(seconds=15)
    assert await world.told() == [("r", "FIRED")]
    await world.report(200)
    await alerting.round()
    assert await world.told() == [("r", "FIRED"), ("r", "RESOLVED")]


async def test_each_level_of_a_quota_is_an_alert_until_the_window_ends(world: World) -> None:
    policies = PolicySet(policies=(policy("p", limits=[limit(100, name="n")]),))
    change = ChangeSet(policies, (), (), ())
    now = (await world.stores.control.load(world.application_id)).application
    await world.stores.control.change(
        world.application_id, change, cause=NOBODY, expected_plan_version=now.plan_version
    )
    await world.rule(kind="QUOTA")
    alerting, start_us = world.alerting(), world.clock.now_us()
    state = await world.stores.control.load(world.application_id)
    key = _key_of(world.application_id, state.policies)
    for used in (10, 55, 85, 100, 100):
        window = WindowState(key, start_us, start_us + 3_600_000_000, used, world.clock.now_us())
        await world.stores.checkpoints.save_windows([window])
        await alerting.round()
        world.clock.advance(seconds=15)
    assert await world.told() == [("r", "FIRED")] * 3
    world.clock.advance(seconds=3600)
    await alerting.round()
    await alerting.round()
    assert await world.told() == [("r", "FIRED")] * 3 + [("r", "RESOLVED")] * 3


def _key_of(application_id: str, policies: PolicySet) -> str:
    from usageflow.domain.compiling import limits_of

    (made,) = limits_of(application_id, policies.policies[0])
    return made.key("v:alice", EndpointName("GET", "/a"))


async def test_a_second_process_takes_over_within_a_minute(world: World) -> None:
    await world.rule(kind="ERROR_RATE", threshold=50)
    first, second = world.alerting(), world.alerting()
    assert await first.round()
    assert not await second.round()
    await world.report(500)
    world.clock.advance(seconds=LEASE_US / 1e6)
    assert LEASE_US < 45_000_000
    assert await second.round()
    assert not await first.round()
    assert await world.told() == [("r", "FIRED")]


async def test_a_rule_that_is_switched_off_ends_its_alert(world: World) -> None:
    await world.rule(kind="ERROR_RATE", threshold=50, keep_firing_for="1h")
    alerting = world.alerting()
    await world.report(500)
    await alerting.round()
    off = AlertRule.model_validate(
        {"name": "r", "kind": "ERROR_RATE", "threshold": 50, "enabled": False, "destinations": ["ops"]}
    )
    await world.stores.alerts.put_alert_row(
        AlertResource.RULE, world.application_id, "row-r", off, deleted=False, version=1, cause=NOBODY
    )
    await alerting.round()
    assert await world.told() == [("r", "FIRED"), ("r", "RESOLVED")]


async def test_a_kill_between_sending_and_recording_repeats_the_same_id(world: World) -> None:
    await world.rule(kind="ERROR_RATE", threshold=50)
    await world.report(500)
    await world.alerting().round()
    world.receiver.dies = True
    with pytest.raises(RuntimeError):
        await world.delivering.round()
    world.receiver.dies = False
    assert await world.delivering.round() == 0
    world.clock.advance(seconds=CLAIM_US / 1e6)
    assert await world.delivering.round() == 1
    assert len(world.receiver.ids) == 2
    assert len(set(world.receiver.ids)) == 1


async def test_a_receiver_that_fails_is_asked_again_and_again_for_a_day(world: World) -> None:
    await world.rule(kind="ERROR_RATE", threshold=50)
    await world.report(500)
    await world.alerting().round()
    world.receiver.status = 500
    for _ in range(24 * 60 + 10):
        await world.delivering.round()
        world.clock.advance(seconds=60)
    (row,) = await world.stores.alerts.alert_history(world.application_id, before="", limit=9)
    (sent,) = row.deliveries
    assert (sent.status, sent.told) == (DeliveryStatus.FAILED, "HTTP 500")
    assert 30 < sent.attempts == len(world.receiver.ids)
    assert len(set(world.receiver.ids)) == 1


@pytest.mark.parametrize(
    ("status", "attempts", "age_us", "expected", "wait_us"),
    [
        (200, 1, 0, DeliveryStatus.SENT, 0),
        (410, 1, 0, DeliveryStatus.FAILED, 0),
        (302, 1, 0, DeliveryStatus.WAITING, 2_500_000),
        (0, 2, 0, DeliveryStatus.WAITING, 5_000_000),
        (500, 99, 0, DeliveryStatus.WAITING, 1_800_000_000),
        (500, 99, GIVE_UP_US, DeliveryStatus.FAILED, 0),
    ],
)
def test_answers_have_meanings(
    status: int, attempts: int, age_us: int, expected: DeliveryStatus, wait_us: int
) -> None:
    event = AlertEvent("e", "a", "demo", "r", "P95", "INFO", "FIRED", 0, 0, 1, 1, "ms")
    destination = AlertDestination(name="d", url="https://h/")
    delivery = Delivery(1, "app", event, "d-1", destination, attempts, 10**9)
    result = result_of(delivery, Attempt(status, ""), 10**9 + age_us, 0.0)
    assert result.status is expected
    assert result.next_us == (10**9 + age_us + wait_us if wait_us else 0)
    assert bool(result.disable) == (status == 410)
