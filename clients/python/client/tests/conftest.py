"""Fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from clients.python.client.tests.exchanges import Make
from clients.python.client.tests.fake_service import KEY, FakeService
from usageflow.client import ClientConfig, UsageFlowClient


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    """A running fake service."""
    fake = FakeService()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def make(service: FakeService) -> AsyncIterator[Make]:
    """Makes clients of the fake service and closes them."""
    clients: list[UsageFlowClient] = []

    def build(**fields: Any) -> UsageFlowClient:
        settings = {
            "api_key": KEY,
            "address": service.address,
            "deadline_s": 2.0,
            "flush_interval_s": 0.02,
            "shutdown_s": 0.5,
        }
        client = UsageFlowClient(ClientConfig(**{**settings, **fields}))
        clients.append(client)
        return client

    yield build
    for client in clients:
        await client.aclose()
