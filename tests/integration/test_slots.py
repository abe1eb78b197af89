"""Limits at once through the whole service: by batches and reports, and in front of an application."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from clients.python.client.tests.fake_service import until
from clients.python.fastapi.tests.serving import Serving, has_plan, watch
from tests.integration.conftest import Running
from usageflow.cli.convert import apply_request
from usageflow.policyfile import load
from usageflow.v1 import common_pb2, decision_pb2, usage_pb2

FILE = """
version: 1
application: demo
policies:
  - name: jobs
    match: {path: /jobs}
    cost: 7
    limits: [{name: at-once, limit: 2, algorithm: CONCURRENCY, scope: SHARED, window: WINDOW}]
"""

APP = """
import asyncio
import uvicorn
from fastapi import FastAPI
from usageflow.fastapi import UsageFlowMiddleware

app = FastAPI()

@app.get("/jobs")
async def jobs():
    print("started", flush=True)
    await asyncio.Event().wait()

app.add_middleware(UsageFlowMiddleware)
uvicorn.run(app, port=0)
"""


async def apply(service: Running, window: str) -> None:
    loaded = load(FILE.replace("WINDOW", window), filename="f.yaml")
    await service.admin.Apply(apply_request(loaded, prune=False, dry_run=False), metadata=service.as_admin)
    await service.embedded.decision.snapshots.refresh()


async def batch(
    service: Running,
    items: int = 0,
    *,
    releases: list[bytes] | None = None,
    renewals: list[bytes] | None = None,
) -> decision_pb2.BatchCheckResponse:
    item = decision_pb2.CheckItem(request=decision_pb2.HttpRequest(method="GET", path="/jobs"))
    request = decision_pb2.BatchCheckRequest(
        items=[item] * items,
        releases=[usage_pb2.Release(slot_id=each) for each in releases or ()],
        renewals=[usage_pb2.Renewal(slot_id=each) for each in renewals or ()],
    )
    return await service.decision.BatchCheck(request, metadata=service.as_app)


async def runs(service: Running) -> int:
    """Returns how many requests are in flight, by taking what is left and giving it back."""
    answer = await batch(service, 2)
    free = [result.slot_id for result in answer.results if result.slot_id]
    await batch(service, releases=free)
    return 2 - len(free)


async def test_batches_and_reports_give_slots_back_and_renew_them(service: Running) -> None:
    await apply(service, "1m")
    first, second, third = (await batch(service, 3)).results
    assert [first.decision, second.decision] == [common_pb2.DECISION_ALLOW] * 2
    assert (first.limits[0].remaining, second.limits[0].remaining) == (1, 0), "a slot, whatever it costs"
    assert (third.reason, third.retry_after_us, third.cacheable) == (
        common_pb2.REASON_CONCURRENCY_EXCEEDED,
        1_000_000,
        False,
    )
    assert len({first.slot_id, second.slot_id, b""}) == 3
    assert third.slot_id == b""

    freed = await batch(service, 1, releases=[first.slot_id], renewals=[second.slot_id])
    assert freed.results[0].decision == common_pb2.DECISION_ALLOW, "releases come before the items"
    assert not freed.errors

    again = await batch(service, releases=[first.slot_id], renewals=[second.slot_id, b"unknown"])
    assert [(error.kind, error.index, error.status.code) for error in again.errors] == [
        (usage_pb2.REPORT_ITEM_KIND_RELEASE, 0, common_pb2.ITEM_CODE_NOT_FOUND),
        (usage_pb2.REPORT_ITEM_KIND_RENEWAL, 1, common_pb2.ITEM_CODE_NOT_FOUND),
    ]

    report = usage_pb2.ReportRequest(
        releases=[usage_pb2.Release(slot_id=each) for each in (second.slot_id, freed.results[0].slot_id)]
    )
    assert not (await service.decision.Report(report, metadata=service.as_app)).errors
    assert await runs(service) == 0


@asynccontextmanager
async def serving(service: Running, started: list[int], gate: asyncio.Semaphore) -> AsyncIterator[Serving]:
    app = FastAPI()

    @app.get("/jobs")
    async def jobs() -> dict[str, int]:
        number = len(started)
        started.append(number)
        if number < 2:
            await gate.acquire()
        return {"job": number}

    client = watch(app, service.address, api_key=service.credentials.api_key)
    site = await Serving.start(app)
    try:
        await has_plan(client)
        yield site
    finally:
        await site.stop()


async def test_two_requests_run_at_once_and_the_third_waits_for_one_of_them(service: Running) -> None:
    await apply(service, "1m")
    started: list[int] = []
    gate = asyncio.Semaphore(0)
    async with serving(service, started, gate) as site:
        running = [asyncio.create_task(site.http.get("/jobs")) for _ in range(2)]
        await until(lambda: len(started) == 2)
        third = await site.http.get("/jobs")
        assert (third.status_code, third.headers["retry-after"]) == (429, "1")
        assert third.headers["ratelimit-policy"] == '"jobs/at-once";q=2;qu="concurrent-requests"'
        assert third.headers["ratelimit"] == '"jobs/at-once";r=0'
        gate.release()
        done, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        assert done.pop().result().headers["ratelimit"].startswith('"jobs/at-once";r=')
        assert (await site.http.get("/jobs")).status_code == 200, "the next one passes at once"
        gate.release()
        await asyncio.wait(left)
    assert await runs(service) == 0


async def test_a_request_that_outlives_its_slots_life_keeps_it_by_renewals(service: Running) -> None:
    await apply(service, "2s")
    started: list[int] = []
    gate = asyncio.Semaphore(0)
    async with serving(service, started, gate) as site:
        running = asyncio.create_task(site.http.get("/jobs"))
        await until(lambda: len(started) == 1)
        await asyncio.sleep(3.2)
        assert await runs(service) == 1
        gate.release()
        assert (await running).status_code == 200
        await until_free(service)


async def until_free(service: Running) -> None:
    deadline = time.monotonic() + 10
    while await runs(service):
        assert time.monotonic() < deadline, "slots stay taken"
        await asyncio.sleep(0.02)


async def test_a_killed_applications_slots_end_with_their_lives(
    service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply(service, "3s")
    (tmp_path / "jobs.py").write_text(APP)
    monkeypatch.setenv("USAGEFLOW_API_KEY", service.credentials.api_key)
    monkeypatch.setenv("USAGEFLOW_ADDR", service.address)
    monkeypatch.setenv("USAGEFLOW_DEADLINE_MS", "5000")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(tmp_path / "jobs.py"), stdout=PIPE, stderr=PIPE
    )
    try:
        url = (await line_with(process.stderr, "running on ")).partition("running on ")[2].partition(" ")[0]
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
            requests = [asyncio.create_task(http.get("/jobs")) for _ in range(2)]
            for _ in requests:
                await line_with(process.stdout, "started")
            process.kill()
            await process.wait()
            assert await runs(service) == 2, "nobody gave them back"
            await asyncio.gather(*requests, return_exceptions=True)
        await until_free(service)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line_with(stream: asyncio.StreamReader | None, words: str) -> str:
    assert stream is not None
    async with asyncio.timeout(30):
        async for line in stream:
            if words in line.decode():
                return line.decode()
    raise AssertionError(f"the application ended before it said {words!r}")
