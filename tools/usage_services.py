"""Services that hold much usage, on both databases: for proofs and benchmarks of questions about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from tools.postgres_servers import PostgresServer
from tools.processes import Service
from tools.shared_form import Installation
from tools.synthetic_sums import write
from tools.synthetic_usage import Load
from usageflow.domain.clock import ManualClock
from usageflow.storage.sql import Database, SqlControlStore, open_postgres, open_sqlite
from usageflow.v1 import analytics_pb2
from usageflow.v1.admin_pb2_grpc import AdminServiceStub

APPLICATION = "demo"
DATABASES = ("sqlite", "postgresql")
_LARGEST_MESSAGE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """A service's admin side."""

    address: str
    admin_token: str

    def query(
        self, request: analytics_pb2.QueryUsageRequest, times: int
    ) -> tuple[analytics_pb2.QueryUsageResponse, list[float]]:
        """Asks some times over one connection; returns the last answer and the seconds of each."""
        options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", _LARGEST_MESSAGE)]
        answer, seconds = analytics_pb2.QueryUsageResponse(), []
        with grpc.insecure_channel(self.address, options=options) as channel:
            ask = AdminServiceStub(channel).QueryUsage
            for _ in range(times):
                started = time.perf_counter()
                answer = ask(request, metadata=(("authorization", f"Bearer {self.admin_token}"),), timeout=60)
                seconds.append(time.perf_counter() - started)
        return answer, seconds


def dashboard_request(until: int) -> analytics_pb2.QueryUsageRequest:
    """Returns what a dashboard asks: 24 h that begin within an hour, by endpoint, with percentiles."""
    return analytics_pb2.QueryUsageRequest(
        application=APPLICATION,
        start_time=Timestamp(seconds=until - 86_400),
        end_time=Timestamp(seconds=until),
        group_by=[analytics_pb2.USAGE_GROUP_ENDPOINT],
    )


@contextmanager
def serving_load(database: str, folder: Path, load: Load) -> Iterator[Asked]:
    """Runs a service over a database that holds a load, and yields where it is asked."""
    if database == "sqlite":
        with Service(folder) as service:
            service.wait_ready()
            service.stop()
        asyncio.run(_fill(folder / "usageflow.db", "", load))
        with Service(folder) as service:
            yield Asked(service.wait_ready(), service.credentials["admin_token"])
        return
    with PostgresServer() as server:
        installation = Installation(server.url(server.new_database()), folder)
        folder.mkdir(parents=True, exist_ok=True)
        installation.bootstrap()
        asyncio.run(_fill(folder, installation.url, load))
        with installation.role("admin", "admin") as admin:
            yield Asked(admin.wait_ready(), installation.admin_token)


async def _fill(path: Path, url: str, load: Load) -> None:
    database: Database = open_postgres(url) if url else open_sqlite(path)
    try:
        application = await SqlControlStore(database, ManualClock()).find_application(APPLICATION)
        if application is not None:
            await write(database, application.application_id, load)
    finally:
        await database.close()
