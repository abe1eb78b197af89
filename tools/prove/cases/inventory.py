"""The inventory of endpoints: what two releases of a real application registered, and what was reported of them."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from tools.processes import BIN, Process, Service, clean_environment, free_port
from tools.prove.policies import limit, policy, policy_file
from tools.prove.showing import ensure
from usageflow.v1 import usage_pb2
from usageflow.v1.common_pb2 import Endpoint
from usageflow.v1.decision_pb2_grpc import DecisionServiceStub

PATIENCE_S = 30.0
_STARTED = "Uvicorn running"
_POLICIES = policy_file([policy("orders", "/orders/*", [limit("n", 1_000, "window: 1h")])])
_APP = """
import uvicorn
from fastapi import APIRouter, FastAPI
from usageflow.fastapi import UsageFlowMiddleware

app = FastAPI(openapi_url=None)
app.add_middleware(UsageFlowMiddleware)
router = APIRouter(prefix="/things")

@router.get("/{tid:int}")
@app.get("/orders/{oid}")
@app.get("/idle")
@app.get("/ROUTE")
async def answer() -> dict[str, bool]:
    return {"ok": True}

app.include_router(router, prefix="/api")
uvicorn.run(app, host="127.0.0.1", port=PORT)
"""

_EXPECTED = {
    "GET /api/things/{tid}": {"ACTIVE", "WITHOUT_POLICY"},
    "GET /idle": {"NEVER_CALLED", "WITHOUT_POLICY"},
    "GET /new": {"ACTIVE", "WITHOUT_POLICY"},
    "GET /old": {"ACTIVE", "GONE", "WITHOUT_POLICY"},
    "GET /orders/{oid}": {"ACTIVE"},
    "GET {unmatched}": {"ACTIVE", "UNMATCHED"},
    "POST /jobs/{id}": {"ACTIVE", "UNREGISTERED", "WITHOUT_POLICY"},
}


def inventory(folder: Path) -> str:
    """Two releases of a FastAPI application, the second without a route of the first and with a new one, in a rolling deploy: every
    endpoint, never called, dropped, unknown or unmatched, is in the states that it should be, and stays in them.
    """
    with Service(folder / "data") as service:
        address = service.wait_ready()
        (folder / "policies.yaml").write_text(_POLICIES)
        applied = service.command("apply", "-f", str(folder / "policies.yaml"))
        ensure(applied.returncode == 0, applied.stderr)
        _deploy(service, address, folder)
        _report(address, service.credentials["api_key"])
        rows, took_s = _settled(service)
        _show_details(service, rows)
    return f"{len(rows)} endpoints in the states that they should be, {took_s:.1f} s after the last report"


def _deploy(service: Service, address: str, folder: Path) -> None:
    """Releases v2 beside v1; a process of v1 starts again in the meantime."""
    with _app(service, address, folder, "v1", "old") as first:
        _call(first, "/old", "/orders/7", "/api/things/8", "/nobody/knows")
        with _app(service, address, folder, "v2", "new") as second:
            _call(second, "/new", "/orders/8", "/wp-login.php")
            with _app(service, address, folder, "v1", "old"):
                pass


class _App(Process):
    """The application of one release, on a free port; it stops at the end, so that it delivers what it has to tell."""

    def __init__(self, folder: Path, route: str, **settings: str) -> None:
        self.port = free_port()
        script = folder / f"app_{self.port}.py"
        script.write_text(_APP.replace("ROUTE", route).replace("PORT", str(self.port)))
        super().__init__([str(BIN / "python"), str(script)], clean_environment(**settings))


@contextmanager
def _app(service: Service, address: str, folder: Path, release: str, route: str) -> Iterator[_App]:
    with _App(
        folder,
        route,
        USAGEFLOW_ADDR=address,
        USAGEFLOW_API_KEY=service.credentials["api_key"],
        USAGEFLOW_RELEASE=release,
        USAGEFLOW_SERVICE="web",
        USAGEFLOW_DEADLINE_MS="5000",
    ) as app:
        app.wait_for(_STARTED)
        yield app
        app.stop(signal.SIGTERM)


def _call(app: _App, *paths: str) -> None:
    for path in paths:
        url = f"http://127.0.0.1:{app.port}{path}"
        request = urllib.request.Request(url, headers={"X-User-Id": "ann"})
        try:
            with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310 - our own, on loopback
                response.read()
        except urllib.error.HTTPError as error:
            ensure(error.code == 404, f"{path} answers {error.code}")


def _report(address: str, api_key: str) -> None:
    """Reports a request of a route that no client registered."""
    event = usage_pb2.UsageEvent(
        event_id="job-1", endpoint=Endpoint(method="POST", template="/jobs/:id"), status=503
    )
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        answer = DecisionServiceStub(channel).Report(
            usage_pb2.ReportRequest(events=[event]),
            metadata=(("authorization", f"Bearer {api_key}"),),
            timeout=20,
        )
    ensure(not answer.errors, f"the report was refused: {answer.errors}")


def _settled(service: Service) -> tuple[Mapping[str, dict[str, Any]], float]:
    """Returns the inventory by endpoint once it is what it should be, and the seconds that took. Raises NotShown."""
    started = time.monotonic()
    while True:
        rows = _inventory(service)
        states = {name: set(row["states"]) for name, row in rows.items()}
        known = rows.get("POST /jobs/{id}", {}).get("number")
        took_s = time.monotonic() - started
        if states == _EXPECTED and known:
            return rows, took_s
        told = {name: sorted(each) for name, each in states.items()}
        ensure(took_s < PATIENCE_S, f"the inventory says {told}, its number of what was reported is {known}")
        time.sleep(0.2)


def _inventory(service: Service, *flags: str) -> dict[str, dict[str, Any]]:
    result = service.command("endpoints", *flags, "--output", "json")
    ensure(result.returncode == 0, result.stderr)
    return {f"{row['method']} {row['template']}": row for row in json.loads(result.stdout)}


def _show_details(service: Service, rows: Mapping[str, dict[str, Any]]) -> None:
    calls = {name: row["requests"] for name, row in rows.items()}
    wanted = dict.fromkeys(_EXPECTED, 1) | {"GET /idle": 0, "GET /orders/{oid}": 2, "GET {unmatched}": 2}
    ensure(calls == wanted, f"requests: {calls}")
    ensure(rows["POST /jobs/{id}"]["errors"] == 1, "the error of a job is not counted")
    ensure(rows["GET /orders/{oid}"]["policies"] == ["orders"], f"policies: {rows['GET /orders/{oid}']}")
    releases = {
        name: [(each["release"], each["gone"]) for each in row["services"]] for name, row in rows.items()
    }
    ensure(releases["GET /old"] == [("v1", True)], f"the dropped route is of {releases['GET /old']}")
    ensure(releases["GET /new"] == [("v2", False)], f"the new route is of {releases['GET /new']}")
    ensure(set(_inventory(service, "--gone")) == {"GET /old"}, "--gone shows others")
    ensure(set(_inventory(service, "--never-called")) == {"GET /idle"}, "--never-called shows others")
    ensure(not _inventory(service, "--gone", "--never-called"), "two conditions do not go together")
    table = service.command("endpoints")
    ensure("until web v1" in table.stdout and "of web is v2" in table.stderr, table.stdout + table.stderr)
