"""The printed quick start runs as printed."""

from __future__ import annotations

import importlib.util
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from clients.python.client.tests.fake_service import KEY, FakeService, until
from clients.python.fastapi.tests.serving import Serve
from usageflow.fastapi import FastAPIUsageFlowAPI

ROOT = Path(__file__).parents[4]
EXAMPLE = ROOT / "examples" / "quickstart_fastapi.py"
MARK = "# --- the printed quick start ends here ---\n"
Load = Callable[[], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    for name in ("USAGEFLOW_API_KEY", "USAGEFLOW_ADDR", "USAGEFLOW_DISABLED"):
        monkeypatch.delenv(name, raising=False)

    def run() -> ModuleType:
        spec = importlib.util.spec_from_file_location("quickstart_fastapi", EXAMPLE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return run


def test_the_examples_head_is_the_printed_block() -> None:
    page = (ROOT / "docs" / "knowledge-base.md").read_text()
    blocks: list[str] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    printed = [block for block in blocks if "from fastapi import FastAPI\n" in block]
    assert len(printed) == 1
    head, mark, _ = EXAMPLE.read_text().partition(MARK)
    assert mark
    assert head == printed[0]


async def test_it_runs_against_a_service(
    service: FakeService, serve: Serve, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USAGEFLOW_API_KEY", KEY)
    monkeypatch.setenv("USAGEFLOW_ADDR", service.address)
    example = load()
    site = await serve(example.app)
    await until(lambda: example.usage_flow.status().state == "ready")
    assert (await site.http.get("/api/users")).json() == [{"id": 1, "name": "John Doe"}]
    assert (await site.http.get("/api/users/7")).json()["id"] == 7
    assert (await site.http.post("/api/transactions")).status_code == 201
    assert (await site.http.get("/api/health")).status_code == 200
    await site.stop()
    events = {(e.endpoint.method, e.endpoint.template): e for e in service.events.values()}
    assert sorted(events) == [
        ("GET", "/api/users"),
        ("GET", "/api/users/{user_id}"),
        ("POST", "/api/transactions"),
    ]
    assert dict(events["POST", "/api/transactions"].metadata) == {"channel": "web"}


async def test_without_a_key_it_serves_unmetered_with_one_warning(
    service: FakeService,
    serve: Serve,
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("USAGEFLOW_ADDR", service.address)
    example = load()
    site = await serve(example.app)
    for _ in range(3):
        assert (await site.http.get("/api/users")).status_code == 200
    await site.stop()
    warnings = [r for r in caplog.records if r.name.startswith("usageflow") and r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "USAGEFLOW_API_KEY" in warnings[0].message
    assert not service.keys, "nothing was connected to"


async def test_it_starts_and_serves_without_a_service(
    serve: Serve, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USAGEFLOW_API_KEY", KEY)
    monkeypatch.setenv("USAGEFLOW_ADDR", "127.0.0.1:1")
    started = time.perf_counter()
    site = await serve(load().app)
    assert (await site.http.get("/api/users")).status_code == 200
    assert time.perf_counter() - started < 10.0


async def test_disabled(
    service: FakeService, serve: Serve, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USAGEFLOW_API_KEY", KEY)
    monkeypatch.setenv("USAGEFLOW_ADDR", service.address)
    monkeypatch.setenv("USAGEFLOW_DISABLED", "1")
    site = await serve(load().app)
    assert (await site.http.get("/api/users")).status_code == 200
    await site.stop()
    assert not service.keys


def test_settings_are_checked_at_once() -> None:
    api = FastAPIUsageFlowAPI()
    with pytest.raises(ValueError, match="trusted_proxies"):
        api.init("uf_1", trusted_proxies=-1)
    with pytest.raises(ValueError, match="must begin with"):
        api.request_interceptor(routes=[{"method": "GET", "url": "api"}])
