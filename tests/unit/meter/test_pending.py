from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from meter.handler import MeterHandler
from meter.pending import Pending
from tests.unit.fakes import FakeControl, FakeUsage
from usageflow.domain.errors import NotFound
from usageflow.domain.usage import EndpointName, PendingRow
from usageflow.v1 import meter_pb2


async def test_what_waits_is_listed() -> None:
    control, usage = FakeControl(), FakeUsage()
    control.add()
    usage.waiting = [PendingRow(EndpointName("GET", "/a"), "p", "price_1", 3, Decimal("2.50"), 1_700_000_000)]
    context: Any = None
    handler = MeterHandler(Pending(control, usage))
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
        await Pending(FakeControl(), FakeUsage()).list("demo")
