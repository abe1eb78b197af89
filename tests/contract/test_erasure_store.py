"""The contract of ErasureStore."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Table, select

from tests.causes import NOBODY, by
from usageflow.domain.clock import ManualClock
from usageflow.domain.customers import Customer
from usageflow.domain.decision_log import LogEntry
from usageflow.domain.errors import FailedPrecondition, NotFound
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.policies import Block
from usageflow.domain.usage import EndpointName, MeteringDelta, Series, StoredEvent, UsageDelta, UsageRecord
from usageflow.storage.audit import AuditLog, AuditQuery
from usageflow.storage.decision_log import DecisionLog
from usageflow.storage.erasing import Erased, Erasure, ErasureStore
from usageflow.storage.ports import ChangeSet, CheckpointStore, ControlStore, UsageStore, WindowState
from usageflow.storage.sql import Database
from usageflow.storage.sql.remembered import LIFE_US
from usageflow.storage.sql.tables import BLOCKS, CUSTOMERS, EVENTS, IDENTITIES, METADATA, METERING_DELTAS

KEY = bytes(32)
ENDPOINT = EndpointName("GET", "/orders")


def hashed(value: str) -> str:
    return keyed_hash(KEY, value).hex()


def used(number: int, identity: str) -> UsageRecord:
    series = Series(ENDPOINT, 200, False, "", "", "p")
    event = StoredEvent(
        f"e{number}", 1, series, f"/orders/{identity}", identity, 1, 1.0, 0, 0, '{"client_ip":"1.2.3.4"}'
    )
    usage = UsageDelta(series, identity, 60, 1, Decimal("1.5"))
    metered = MeteringDelta(ENDPOINT, identity, "p", "price_1", 1, 60, 1, Decimal("1.5"))
    return UsageRecord(f"e{number}", 0, bytes(16), (usage,), (metered,), event)


async def enter(control: ControlStore, application_id: str, *customers: Customer, block: str = "") -> None:
    blocks = (Block(methods=("*",), path="/x", identity=hashed(block), reason="abuse"),) if block else ()
    change = ChangeSet(None, blocks, (), (), customers_upserted=customers)
    plan = (await control.versions())[application_id].plan
    await control.change(application_id, change, cause=NOBODY, expected_plan_version=plan)


async def rows(database: Database, table: Table) -> list[dict[str, Any]]:
    found = await database.read(lambda connection: connection.execute(select(table)).mappings().all())
    return [dict(row) for row in found]


async def dump(database: Database) -> str:
    """Returns all that is in the database, as text."""
    return "\n".join([str(await rows(database, table)) for table in METADATA.sorted_tables])


ACME = Customer(
    name="acme", identities=(hashed("alice@example.com"), hashed("sk-carol")), stripe_customer="cus_1"
)


@pytest.fixture
async def people(
    control: ControlStore,
    usage: UsageStore,
    decision_log: DecisionLog,
    checkpoints: CheckpointStore,
    application_id: str,
) -> str:
    """Usage of alice and carol (of acme) and of bob (of nobody); everything that tells of them. Returns the application's id."""
    await enter(control, application_id, ACME, block="alice@example.com")
    carol = f"h:{hashed('sk-carol')}"
    records = [used(1, "v:alice@example.com"), used(2, carol), used(3, "v:bob"), used(4, "v:bob")]
    await usage.ingest([(application_id, records)])
    documents = [
        '{"identity":"alice@example.com"}',
        '{"values":[["header","x","alice@example.com"]]}',
        '{"identity":"bob"}',
    ]
    await decision_log.append([LogEntry(application_id, 1, 1, each) for each in documents])
    prefix = f"{application_id}|p|hourly|FIXED_WINDOW|3600|IDENTITY"
    keys = [f"{prefix}|v:alice@example.com", f"{prefix}|GET /orders\x1f{carol}", f"{prefix}|v:bob"]
    await checkpoints.save_windows([WindowState(key, 0, 2**60, 1) for key in keys])
    return application_id


async def test_a_customer_is_forgotten_and_its_units_stay_with_it(
    people: str, erasures: ErasureStore, database: Database, audit: AuditLog, usage: UsageStore
) -> None:
    erased = await erasures.erase(people, KEY, Erasure("acme"), cause=by("ann"))
    assert erased == Erased(2, 2, 2, 1, 2, Decimal(3), Decimal(0))
    told = await dump(database)
    for trace in (
        "alice",
        hashed("alice@example.com"),
        hashed("sk-carol"),
        b"alice@example.com".hex(),
    ):
        assert trace not in told
    assert bytes.fromhex(hashed("sk-carol")).hex() not in told
    assert [row["value"] for row in await rows(database, IDENTITIES)] == ["v:bob"]
    assert sorted(str(row["customer"]) for row in await rows(database, METERING_DELTAS)) == [
        "None",  # both of bob's, in one sum
        "cus_1",
        "cus_1",
    ]
    assert sum(bool(row["detail_json"]) for row in await rows(database, EVENTS)) == 2
    (pending,) = await usage.pending(people)
    assert (pending.units, pending.requests) == (Decimal(6), 4)
    (customer,) = await rows(database, CUSTOMERS)
    assert (customer["deleted"], customer["stripe_customer"], customer["identities"]) == (True, "", "[]")
    assert await rows(database, BLOCKS) == []
    entries, _ = await audit.audit_entries(AuditQuery(after=0, limit=100))
    last = entries[-1].link.entry
    assert (last.action, last.kind, last.resource_id, last.actor_id) == (
        "DELETED",
        "customer",
        "acme",
        "id-of-ann",
    )


async def test_a_second_time_nothing_is_left_to_remove(people: str, erasures: ErasureStore) -> None:
    await erasures.erase(people, KEY, Erasure("acme"), cause=NOBODY)
    assert await erasures.erase(people, KEY, Erasure("acme"), cause=NOBODY) == Erased()


async def test_one_identity_leaves_the_others_of_its_customer(
    people: str, erasures: ErasureStore, control: ControlStore
) -> None:
    before = (await control.versions())[people]
    erased = await erasures.erase(people, KEY, Erasure(identity="alice@example.com"), cause=NOBODY)
    assert erased == Erased(1, 1, 2, 1, 1, Decimal("1.5"), Decimal(0))
    (acme,) = await control.customers(people, ["acme"])
    assert acme.identities == (hashed("sk-carol"),)
    after = (await control.versions())[people]
    assert (after.plan > before.plan, after.directory > before.directory) == (True, True)


async def test_units_of_nobody_are_held_unless_they_are_discarded(
    people: str, erasures: ErasureStore, database: Database, usage: UsageStore
) -> None:
    before = await dump(database)
    with pytest.raises(FailedPrecondition, match="3 metered units") as caught:
        await erasures.erase(people, KEY, Erasure(identity="bob"), cause=NOBODY)
    assert caught.value.reason == "HELD_UNITS"
    assert await dump(database) == before
    wanted = Erasure(identity="bob", discard_unbilled=True)
    erased = await erasures.erase(people, KEY, wanted, cause=NOBODY)
    assert erased == Erased(1, 2, 1, 0, 1, Decimal(0), Decimal(3))
    (pending,) = await usage.pending(people)
    assert pending.units == 3
    assert "bob" not in await dump(database)


async def test_who_comes_back_is_somebody_else(
    people: str, erasures: ErasureStore, usage: UsageStore, database: Database, clock: ManualClock
) -> None:
    (before,) = {row["pseudonym"] for row in await rows(database, IDENTITIES) if row["value"] == "v:bob"}
    await erasures.erase(people, KEY, Erasure(identity="bob", discard_unbilled=True), cause=NOBODY)
    clock.advance(seconds=LIFE_US / 1e6 + 1)  # until then ingest may remember who that was
    await usage.ingest([(people, [used(9, "v:bob")])])
    (after,) = {row["pseudonym"] for row in await rows(database, IDENTITIES) if row["value"] == "v:bob"}
    assert before != after


async def test_an_unknown_customer_is_not_found(application_id: str, erasures: ErasureStore) -> None:
    with pytest.raises(NotFound, match="no customer 'nobody'"):
        await erasures.erase(application_id, KEY, Erasure("nobody"), cause=NOBODY)
    assert await erasures.erase(application_id, KEY, Erasure(identity="nobody"), cause=NOBODY) == Erased()
