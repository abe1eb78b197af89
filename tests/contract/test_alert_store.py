"""The contracts of AlertBook, AlertStore and AlertReadings."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.causes import NOBODY
from usageflow.domain.alert_messages import AlertEvent
from usageflow.domain.alerting import QUIET, AlertState, Phase, Reading
from usageflow.domain.alerts import AlertDestination, AlertRule
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import FailedPrecondition, NotFound
from usageflow.domain.usage import EndpointName, Series, UsageDelta, UsageRecord
from usageflow.storage.alerts import AlertResource, DeliveryResult, DeliveryStatus, StoredAlert, Told
from usageflow.storage.ports import CheckpointStore, UsageStore, WindowState
from usageflow.storage.sql import Database, SqlAlertReadings, SqlAlertStore

RULE = AlertRule.model_validate(
    {"name": "errors", "kind": "ERROR_RATE", "threshold": 5, "destinations": ["ops", "off", "nobody"]}
)
OPS = AlertDestination(name="ops", url="https://example.com/")
FIRING = StoredAlert("r-1", "", AlertState(Phase.FIRING, 5, None, 6, 7.5, "a-1"), 5.0, {"endpoint": "GET /ü"})


def event(event_id: str, transition: str = "FIRED", at_us: int = 100, alert_id: str = "a-1") -> AlertEvent:
    return AlertEvent(
        event_id,
        alert_id,
        "demo",
        "errors",
        "ERROR_RATE",
        "INFO",
        transition,
        at_us,
        5,
        7.5,
        5.0,
        "%",
        {"a": "ü"},
    )


@pytest.fixture
def store(open_database: Callable[[], Database], clock: ManualClock) -> SqlAlertStore:
    return SqlAlertStore(open_database(), clock)


@pytest.fixture
def other(store: SqlAlertStore, open_database: Callable[[], Database], clock: ManualClock) -> SqlAlertStore:
    return SqlAlertStore(open_database(), clock)


@pytest.fixture
def readings(open_database: Callable[[], Database], clock: ManualClock) -> SqlAlertReadings:
    return SqlAlertReadings(open_database(), clock)


async def put(
    store: SqlAlertStore,
    application_id: str,
    item: AlertRule | AlertDestination,
    row_id: str,
    version: int = 0,
    *,
    deleted: bool = False,
) -> None:
    kind = AlertResource.RULE if isinstance(item, AlertRule) else AlertResource.DESTINATION
    await store.put_alert_row(
        kind, application_id, row_id, item, deleted=deleted, version=version, cause=NOBODY
    )


async def fire(store: SqlAlertStore, application_id: str, *told: AlertEvent) -> None:
    assert await store.take_lease("me", now_us=0, until_us=2**60)
    sent = [Told("r-1", each, RULE.destinations) for each in told]
    assert await store.record("me", application_id, [FIRING], sent, now_us=100)


async def set_up(store: SqlAlertStore, application_id: str) -> None:
    await put(store, application_id, RULE, "r-1")
    await put(store, application_id, OPS, "d-1")
    await put(store, application_id, OPS.model_copy(update={"name": "off", "enabled": False}), "d-2")


async def test_what_is_declared_has_versions(store: SqlAlertStore, application_id: str) -> None:
    await put(store, application_id, RULE, "r-1")
    with pytest.raises(FailedPrecondition):
        await put(store, application_id, RULE, "r-2")
    slower = RULE.model_copy(update={"threshold": 9.0})
    await put(store, application_id, slower, "r-1", 1)
    with pytest.raises(FailedPrecondition):
        await put(store, application_id, RULE, "r-1", 1)
    with pytest.raises(NotFound):
        await put(store, "app-9", RULE, "r-3")
    await put(store, application_id, slower, "r-1", 2, deleted=True)
    (row,) = await store.alert_rows(AlertResource.RULE, application_id)
    assert (row.row_id, row.item, row.stamp.version) == ("r-1", slower, 3)
    assert row.stamp.deleted_us
    assert await store.watched() == []


async def test_one_evaluates_until_its_time_runs_out(store: SqlAlertStore, other: SqlAlertStore) -> None:
    assert await store.take_lease("a", now_us=100, until_us=200)
    assert not await other.take_lease("b", now_us=199, until_us=300)
    assert await store.take_lease("a", now_us=150, until_us=250)
    assert not await other.take_lease("b", now_us=200, until_us=300)
    assert await other.take_lease("b", now_us=250, until_us=350)
    assert not await store.record("a", "app", [], [], now_us=260)
    await store.leave_lease("a")
    assert not await store.take_lease("a", now_us=300, until_us=400)
    await other.leave_lease("b")
    assert await store.take_lease("a", now_us=300, until_us=400)


async def test_states_events_and_messages_are_stored_together(
    store: SqlAlertStore, other: SqlAlertStore, application_id: str
) -> None:
    await set_up(store, application_id)
    await fire(store, application_id, event("e-1"))
    (watched,) = await other.watched()
    assert (watched.name, watched.rules, list(watched.alerts)) == ("demo", {"r-1": RULE}, [FIRING])
    assert await other.open_alerts(application_id) == [("errors", FIRING)]
    (row,) = await other.alert_history(application_id, before="", limit=9)
    assert row.event == event("e-1")
    assert [(each.destination, each.status) for each in row.deliveries] == [("ops", DeliveryStatus.WAITING)]
    over = StoredAlert("r-1", "", QUIET)
    assert await store.record("me", application_id, [over], [Told("r-1", event("e-2"), ())], now_us=101)
    assert await other.open_alerts(application_id) == []
    pages = [
        await other.alert_history(application_id, before=before, limit=1) for before in ("", "e-2", "e-1")
    ]
    assert [[each.event.event_id for each in page] for page in pages] == [["e-2"], ["e-1"], []]


async def test_an_alert_of_a_rule_that_is_gone_is_told(store: SqlAlertStore, application_id: str) -> None:
    await set_up(store, application_id)
    await fire(store, application_id)
    await put(store, application_id, RULE, "r-1", 1, deleted=True)
    (watched,) = await store.watched()
    assert (watched.rules, watched.known, list(watched.alerts)) == ({}, {"r-1": RULE}, [FIRING])


async def test_a_message_is_claimed_once_until_its_claim_ends(
    store: SqlAlertStore, other: SqlAlertStore, application_id: str
) -> None:
    await set_up(store, application_id)
    await fire(store, application_id, event("e-1"), event("e-2", "RESOLVED"))
    (first,) = await store.claim_deliveries(now_us=100, until_us=200, limit=9)
    assert (first.event, first.destination_id, first.destination, first.attempts) == (
        event("e-1"),
        "d-1",
        OPS,
        1,
    )
    assert await other.claim_deliveries(now_us=199, until_us=300, limit=9) == []
    (again,) = await other.claim_deliveries(now_us=200, until_us=300, limit=9)
    assert (again.event.event_id, again.attempts) == ("e-1", 2)
    await store.settle_deliveries(
        [DeliveryResult(first.delivery_id, DeliveryStatus.SENT, "HTTP 200")], now_us=210
    )
    (second,) = await other.claim_deliveries(now_us=211, until_us=300, limit=9)
    assert second.event.event_id == "e-2"
    later = DeliveryResult(second.delivery_id, DeliveryStatus.WAITING, "HTTP 500", 400)
    await store.settle_deliveries([later], now_us=212)
    assert await store.claim_deliveries(now_us=399, until_us=500, limit=9) == []
    assert len(await store.claim_deliveries(now_us=400, until_us=500, limit=9)) == 1


async def test_a_receiver_that_is_gone_turns_its_destination_off(
    store: SqlAlertStore, application_id: str
) -> None:
    await set_up(store, application_id)
    await fire(store, application_id, event("e-1"), event("e-2", alert_id="a-2"))
    first, _ = await store.claim_deliveries(now_us=100, until_us=200, limit=9)
    gone = DeliveryResult(first.delivery_id, DeliveryStatus.FAILED, "HTTP 410", disable="gone")
    await store.settle_deliveries([gone], now_us=150)
    rows = await store.alert_rows(AlertResource.DESTINATION, application_id)
    ops = next(row for row in rows if row.item.name == "ops")
    assert ops.item == OPS.model_copy(update={"enabled": False, "disabled_reason": "gone"})
    assert ops.stamp.version == 2
    assert await store.claim_deliveries(now_us=200, until_us=300, limit=9) == []
    history = await store.alert_history(application_id, before="", limit=9)
    assert [each.deliveries[0].status for each in history] == [DeliveryStatus.DROPPED, DeliveryStatus.FAILED]


async def test_what_is_old_is_forgotten_unless_it_waits(store: SqlAlertStore, application_id: str) -> None:
    await set_up(store, application_id)
    await fire(store, application_id, event("e-1"), event("e-2", alert_id="a-2"), event("e-3", at_us=900))
    first, *_ = await store.claim_deliveries(now_us=100, until_us=200, limit=1)
    await store.settle_deliveries([DeliveryResult(first.delivery_id, DeliveryStatus.SENT, "")], now_us=100)
    assert await store.forget_alerts(before_us=500) == 2
    history = await store.alert_history(application_id, before="", limit=9)
    assert [each.event.event_id for each in history] == ["e-3", "e-2"]


def delta(
    status: int, second: int, template: str = "/a", *, denied: bool = False, policy: str = "p"
) -> UsageDelta:
    series = Series(EndpointName("GET", template), status, denied, "", "", policy)
    return UsageDelta(series, "", second, 2, Decimal(2), latency=((100, 2),))


async def test_sums_are_of_a_window(
    readings: SqlAlertReadings, usage: UsageStore, application_id: str
) -> None:
    deltas = (
        delta(200, 6000),
        delta(503, 6061),
        delta(429, 6061, denied=True),
        delta(200, 6061, "/b", policy="q"),
        delta(200, 6120),
    )
    records = [UsageRecord(f"r{number}", 0, bytes(16), (each,)) for number, each in enumerate(deltas)]
    await usage.ingest([(application_id, records)])

    async def sums(since_s: int, until_s: int, endpoint: str = "", policy: str = "") -> Reading:
        return await readings.sums(
            application_id, endpoint=endpoint, policy=policy, since_s=since_s, until_s=until_s, latency=True
        )

    assert await sums(6070, 6120) == Reading(6, 2, 2, {100: 4}, earlier=True)
    assert await sums(6000, 6121) == Reading(10, 2, 2, {100: 8})
    assert await sums(6060, 6200, endpoint="GET /b") == Reading(2, latency={100: 2})
    assert await sums(6060, 6120, policy="q") == Reading(2, latency={100: 2})
    assert await sums(6060, 6120, endpoint="GET /c") == Reading()
    assert await sums(9000, 9060) == Reading(earlier=True)


async def test_windows_are_found_by_prefix(readings: SqlAlertReadings, checkpoints: CheckpointStore) -> None:
    def window(key: str, used: int, end_us: int = 900) -> WindowState:
        return WindowState(key, 0, end_us, used, 1)

    kept = [window("app|p|a|v:é", 9), window("app|p|a|v:x", 7), window("app|p|a", 5)]
    others = [window("app|p|ab|v:x", 9), window("app|p|a|v:y", 4), window("app|p|a|v:z", 9, end_us=100)]
    await checkpoints.save_windows([*kept, *others])
    found = await readings.windows([("app|p|a", 5)], now_us=100, limit=9)
    assert list(found) == kept
    assert list(await readings.windows([("app|p|a", 5)], now_us=100, limit=1)) == kept[:1]
