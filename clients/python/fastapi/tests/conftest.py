"""Fixtures of the FastAPI tests: a fake service, and real servers on free ports."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from clients.python.client.tests.fake_service import FakeService
from clients.python.fastapi.tests.serving import Serve, Serving


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    """A running fake service."""
    fake = FakeService()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def serve(service: FakeService) -> AsyncIterator[Serve]:
    """Serves applications over HTTP; they are stopped before the service is."""
    running: list[Serving] = []

    async def start(app: object, *, lifespan: str = "auto") -> Serving:
        serving = await Serving.start(app, lifespan=lifespan)
        running.append(serving)
        return serving

    yield start
    for serving in running:
        await serving.stop()
