from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from admin.customers import stored
from meter.handler import MeterHandler, UseCases
from meter.pending import Pending
from tests.unit.fakes import APPLICATION_KEY, KEY_OF, FakeControl, FakeIdentities, FakeUsage, customer
from usageflow.domain.errors import NotFound
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.usage import EndpointName, PendingRow
from usageflow.storage.identities import KnownIdentity
from usageflow.v1 import meter_pb2


async def test_what_waits_is_listed() -> None:
    control, usage = FakeControl(), FakeUsage()
    control.add()
    usage.waiting = [PendingRow(EndpointName("GET", "/a"), "p", "price_1", 3, Decimal("2.50"), 1_700_000_000)]
    context: Any = None
    nothing: Any = None
    pending = Pending(control, usage, FakeIdentities(), KEY_OF)
    handler = MeterHandler(UseCases(pending, nothing, nothing, nothing, nothing))
    answer = await handler.ListPending(meter_pb2.ListPendingRequest(application="demo"), context)
    (row,) = answer.pending
    assert (row.policy, row.price, row.requests, row.units) == ("p", "price_1", 3, "2.5")
    assert (row.endpoint.method, row.endpoint.template, row.oldest_time.seconds) == (
        "GET",
        "/a",
        1_700_000_000,
    )


async def test_an_unknown_application_is_not_found() -> None:
    with pytest.raises(NotFound):
        await Pending(FakeControl(), FakeUsage(), FakeIdentities(), KEY_OF).list("demo")


async def test_only_what_a_customer_used_is_asked_for() -> None:
    control, usage = FakeControl(), FakeUsage()
    application_id = control.add().application_id
    control.enter(application_id, stored(customer("acme", "ann"), APPLICATION_KEY))
    ann = KnownIdentity("v:ann", keyed_hash(APPLICATION_KEY, "ann"), 7)
    bob = KnownIdentity("v:bob", keyed_hash(APPLICATION_KEY, "bob"), 8)
    pending = Pending(control, usage, FakeIdentities(ann, bob), KEY_OF)
    await pending.list("demo", "acme")
    assert usage.asked_for == [7]
    with pytest.raises(NotFound, match="there is no customer 'nobody'"):
        await pending.list("demo", "nobody")
