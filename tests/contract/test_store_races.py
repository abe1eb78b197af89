"""What must hold when many change the same things at once, through connections of several processes."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import select

from tests.causes import NOBODY
from tests.contract.conftest import Stores
from tests.contract.test_control_store import ATTRIBUTE, BLOCK, POLICIES, POLICY, change_of
from tests.contract.test_directories import customer
from tests.contract.test_usage_store import delta, metering, record, sums
from usageflow.domain.audit import AuditEntry, ChainCheck, ChainedEntry
from usageflow.domain.changes import Action, Actor, Cause, Change
from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.usage import EndpointName, Outcome
from usageflow.storage.ports import (
    Application,
    ChangeSet,
    CheckpointStore,
    ControlStore,
    UsageStore,
    WindowState,
)
from usageflow.storage.sql import Database, database
from usageflow.storage.sql.tables import AUDIT_LOG


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers that waited for one another in a circle would show: the database undoes one of them."""
    monkeypatch.setattr(database, "ATTEMPTS", 1)


ANN = Actor("id-of-ann", "ann")


def cause_of(name: str) -> Cause:
    return Cause(ANN, "test", (Change(Action.CREATED, "block", name), Change(Action.UPDATED, "policy", name)))


async def insist(control: ControlStore, application_id: str, change: ChangeSet, name: str) -> Application:
    """Changes an application, again and again while somebody else is quicker."""
    while True:
        version = (await control.plan_versions())[application_id]
        try:
            return await control.change(
                application_id, change, cause=cause_of(name), expected_plan_version=version
            )
        except FailedPrecondition as error:
            assert error.reason == "CHANGED_MEANWHILE"  # noqa: PT017 - anything else would go on for ever


async def check_chain(opened: Database) -> Counter[str]:
    """Proves that the audit log is one unbroken chain; returns the number of its entries per application."""
    statement = select(AUDIT_LOG).order_by(AUDIT_LOG.c.sequence)
    rows = await opened.read(lambda connection: connection.execute(statement).mappings().all())
    check = ChainCheck()
    for row in rows:
        fields = dict(row)
        link = ChainedEntry(digest=fields.pop("digest"), entry=AuditEntry(**fields))
        assert check.follow(link) is None
    return Counter(row["application_id"] for row in rows)


async def test_no_change_of_an_application_is_lost(
    control: ControlStore,
    other_control: ControlStore,
    application_id: str,
    open_database: Callable[[], Database],
) -> None:
    stores = itertools.cycle((control, other_control))
    changes = [
        change_of(
            policies=POLICIES,
            blocks_upserted=(BLOCK.model_copy(update={"path": f"/{number}"}),),
            names=((POLICY, f"p-{number}"), (ATTRIBUTE, "the same")),
            customers_upserted=(customer(f"c-{number}", number),),
        )
        for number in range(50)
    ]
    made = await asyncio.gather(
        *(
            insist(next(stores), application_id, change, f"b-{number}")
            for number, change in enumerate(changes)
        )
    )
    state = await other_control.load(application_id)
    assert sorted(application.revision for application in made) == list(range(1, 51))
    assert state.application.revision == 50
    assert {block.path for block in state.blocks} == {f"/{number}" for number in range(50)}
    assert sorted(number for (kind, _), number in state.numbers.items() if kind is POLICY) == list(
        range(1, 51)
    )
    assert len(await control.customer_plans(application_id)) == 50
    found = (await control.directory_changes({}))[application_id]
    assert (found.version, len(found.entries)) == (50, 50)
    assert await check_chain(open_database()) == {application_id: 100}


async def test_the_audit_log_is_one_chain_whoever_changes_what(
    control: ControlStore, other_control: ControlStore, open_database: Callable[[], Database]
) -> None:
    stores = itertools.cycle((control, other_control))
    made = await asyncio.gather(
        *(next(stores).create_application(f"app-{number}", [], cause=cause_of("new")) for number in range(6))
    )

    async def keep_changing(store: ControlStore, application_id: str) -> None:
        for turn in range(8):
            block = BLOCK.model_copy(update={"path": f"/{turn}"})
            await insist(store, application_id, change_of(blocks_upserted=(block,)), f"b-{turn}")

    await asyncio.gather(*(keep_changing(next(stores), each.application_id) for each in made))
    assert await check_chain(open_database()) == {each.application_id: 18 for each in made}


async def test_registrations_and_changes_share_out_numbers(
    control: ControlStore, other_control: ControlStore, application_id: str
) -> None:
    async def register(store: ControlStore, number: int) -> int:
        endpoints = [EndpointName("GET", f"/{number}"), EndpointName("GET", f"/{number % 7}")]
        return (await store.register_endpoints(application_id, endpoints, now_us=number))[0]

    stores = itertools.cycle((control, other_control))
    answers = await asyncio.gather(
        *(register(next(stores), number) for number in range(24)),
        *(
            insist(next(stores), application_id, change_of(names=((POLICY, f"p-{number}"),)), "p")
            for number in range(6)
        ),
    )
    assert sorted(answer for answer in answers if isinstance(answer, int)) == list(range(1, 25))
    numbers = (await control.load(application_id)).numbers
    assert sorted(number for (kind, _), number in numbers.items() if kind is POLICY) == list(range(1, 7))


async def test_reports_that_meet_count_once_and_wait_in_no_circle(
    stores: Stores, usage: UsageStore, other_usage: UsageStore, control: ControlStore
) -> None:
    made = [await control.create_application(f"app-{number}", [], cause=NOBODY) for number in range(3)]
    chance = random.Random(5)
    records = [
        record(
            f"id-{number}",
            delta(EndpointName("GET", f"/{number % 20}"), identity=f"user-{number % 30}"),
            metered=(metering(EndpointName("GET", f"/{number % 20}"), identity=f"user-{number % 30}"),),
        )
        for number in range(120)
    ]
    calls = [
        [
            (application.application_id, chance.sample(records, len(records)))
            for application in chance.sample(made, 3)
        ]
        for _ in range(10)
    ]
    in_turn = itertools.cycle((usage, other_usage))
    answers = await asyncio.gather(*(next(in_turn).ingest(call) for call in calls))
    counted = Counter(outcome for answer in answers for group in answer for outcome in group)
    assert counted == {Outcome.ACCEPTED: 360, Outcome.DUPLICATE: 3_240}
    for application in made:
        assert (await sums(stores.analytics, application.application_id))[0] == 120


async def test_reports_go_on_while_an_application_is_changed(
    stores: Stores, usage: UsageStore, other_control: ControlStore, application_id: str
) -> None:
    async def keep_registering() -> None:
        for number in range(20):
            await other_control.register_endpoints(
                application_id, [EndpointName("GET", f"/{number}")], now_us=1
            )

    records = [record(f"id-{number}", delta(identity=f"user-{number}")) for number in range(20)]
    registering = asyncio.create_task(keep_registering())
    for each in records:
        await usage.ingest([(application_id, [each])])
    await registering
    assert (await sums(stores.analytics, application_id))[0] == 20


async def test_checkpoints_of_two_processes_keep_the_latest(
    checkpoints: CheckpointStore, other_checkpoints: CheckpointStore
) -> None:
    chance = random.Random(3)
    keys = [f"key-{number:03}" for number in range(100)]

    def states(at_us: int) -> list[WindowState]:
        ended = at_us % 5 == 0
        return [
            WindowState(key, at_us, 1 if ended else 1_000, at_us, at_us)
            for key in chance.sample(keys, len(keys))
        ]

    stores = itertools.cycle((checkpoints, other_checkpoints))
    await asyncio.gather(
        *(next(stores).save_windows(states(at_us)) for at_us in range(20)),
        *(next(stores).drop_ended(now_us=5) for _ in range(6)),
    )
    await checkpoints.save_windows(states(21))
    assert {state.at_us for state in await other_checkpoints.load_windows(now_us=5)} == {21}
