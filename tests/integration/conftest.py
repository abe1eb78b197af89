from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
import grpc.aio
import pytest

from usageflow.rpc.server import ServerOptions
from usageflow.runtime.billing_settings import BillingSettings
from usageflow.runtime.bootstrap import ensure_application, ensure_policies
from usageflow.runtime.clock import SystemClock
from usageflow.runtime.credentials import Credentials, new_credentials
from usageflow.runtime.embedded import DATABASE_NAME, Embedded, compose
from usageflow.runtime.running import listen
from usageflow.runtime.settings import Settings
from usageflow.runtime.telemetry import set_up_metrics
from usageflow.storage.sql import prepare
from usageflow.v1 import admin_pb2_grpc, decision_pb2_grpc, meter_pb2_grpc


@dataclass
class Running:
    """The embedded form on port 0 inside the test's loop, and stubs that talk to it over a real channel."""

    embedded: Embedded
    credentials: Credentials
    address: str
    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        self.decision = cast(
            "decision_pb2_grpc.DecisionServiceAsyncStub", decision_pb2_grpc.DecisionServiceStub(self.channel)
        )
        self.admin = cast(
            "admin_pb2_grpc.AdminServiceAsyncStub", admin_pb2_grpc.AdminServiceStub(self.channel)
        )
        self.meter = cast(
            "meter_pb2_grpc.MeterServiceAsyncStub", meter_pb2_grpc.MeterServiceStub(self.channel)
        )
        self.as_app = (("authorization", f"Bearer {self.credentials.api_key}"),)
        self.as_admin = (("authorization", f"Bearer {self.credentials.admin_token}"),)


@asynccontextmanager
async def serving(
    folder: Path,
    options: ServerOptions = ServerOptions(),  # noqa: B008 - a frozen value
    trust: grpc.ChannelCredentials | None = None,
    redis_url: str = "",
    billing: BillingSettings = BillingSettings(),  # noqa: B008 - a frozen value
    **settings: str,
) -> AsyncIterator[Running]:
    """The embedded form over a data folder; with ``trust`` the stubs speak TLS."""
    metrics = set_up_metrics()
    prepare(folder / DATABASE_NAME, SystemClock())
    credentials = new_credentials("")
    hash_key = bytes.fromhex(credentials.hash_key)
    embedded = compose(folder, hash_key, metrics, redis_url=redis_url, billing=billing, options=options)
    await ensure_application(embedded.control, credentials)
    await ensure_policies(embedded.control, embedded.applying)
    await embedded.load()
    address = str(listen(embedded.rpc, Settings(**{"listen": "127.0.0.1:0", **settings})))  # type: ignore[arg-type]
    tasks = embedded.background()
    await embedded.start()
    async with (
        grpc.aio.secure_channel(address, trust) if trust else grpc.aio.insecure_channel(address) as channel
    ):
        yield Running(embedded, credentials, address, channel)
    await embedded.drain(0.5)
    for task in tasks:
        task.cancel()
    await embedded.close()
    metrics.provider.shutdown()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(tmp_path) as running:
        yield running
