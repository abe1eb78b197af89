"""The printed FastAPI quick start as a real process, against a real service and without one."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

import pytest

from tools import demo
from tools.processes import App, Service, free_port


def get(app: App, method: str, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=10)
    try:
        connection.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_both_sides_of_the_demo_agree(data: Path) -> None:
    assert "on both sides" in demo.run(data)


def test_the_app_starts_and_serves_without_a_service() -> None:
    with App(f"127.0.0.1:{free_port()}", "uf_test_key") as app:
        app.wait_ready()
        started = time.monotonic()
        assert get(app, "POST", "/api/transactions")[0] == 201
        assert get(app, "GET", "/api/users/7")[0] == 200
        assert time.monotonic() - started < 5
        app.stop()
    assert "Application shutdown complete" in app.output
    assert "cannot be reached" in app.output


def test_the_placeholder_key_serves_unmetered_with_one_warning() -> None:
    app = App(f"127.0.0.1:{free_port()}", "")
    with app:
        app.wait_ready()
        assert get(app, "POST", "/api/transactions")[0] == 201
        app.stop()
    assert app.output.count("no API key") == 1


def test_no_header_switches_a_limit_off(data: Path) -> None:
    """uvicorn believes X-Forwarded-For from this machine: what it makes of nonsense must not disturb the check."""
    with Service(data) as service, App(service.wait_ready(), service.credentials["api_key"]) as app:
        app.wait_ready()
        for _ in range(100):
            assert get(app, "POST", "/api/transactions", X_User_Id="alice")[0] == 201
        for forwarded in ("foo", "unknown", "9.9.9.9", "::1", ""):
            assert (
                get(app, "POST", "/api/transactions", X_User_Id="alice", X_Forwarded_For=forwarded)[0] == 429
            )
        app.stop()
        service.stop()


def test_a_block_is_403_and_a_limit_429(data: Path, tmp_path: Path) -> None:
    policies = tmp_path / "policies.yaml"
    policies.write_text(
        "version: 1\napplication: demo\n"
        "strategies:\n  - {name: by-user, sources: [{in: header, name: X-User-Id}]}\n"
        "  - {name: by-key, sources: [{in: header, name: X-Api-Key}], on_missing: DENY}\n"
        "policies:\n  - name: one\n    match: {methods: [POST], path: /api/transactions}\n    strategy: by-user\n"
        "    limits: [{name: daily, limit: 1, window: 1d}]\n    message: One a day.\n"
        "  - name: keyed\n    match: {methods: [GET], path: /api/users}\n    strategy: by-key\n"
        "    limits: [{limit: 1000, window: 1h}]\n"
        'blocks:\n  - {methods: ["*"], path: /api/*, identity: mallory, reason: abuse}\n'
    )
    with Service(data) as service:
        address = service.wait_ready()
        assert service.command("apply", "-f", str(policies)).returncode == 0
        with App(address, service.credentials["api_key"]) as app:
            app.wait_ready()
            assert get(app, "POST", "/api/transactions", X_User_Id="mallory")[0] == 403
            status, headers, _ = get(app, "POST", "/api/transactions", X_User_Id="alice")
            assert status == 201
            assert headers["RateLimit-Policy"] == '"one/daily";q=1;w=86400'
            assert headers["RateLimit"] == '"one/daily";r=0;t=86400'
            status, headers, body = get(app, "POST", "/api/transactions", X_User_Id="alice")
            problem = json.loads(body)
            assert (status, problem["detail"], problem["violated-policies"]) == (
                429,
                "One a day.",
                ["one/daily"],
            )
            assert 86_000 < int(headers["Retry-After"]) <= 86_400
            status, headers, _ = get(app, "GET", "/api/users")
            assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
            assert get(app, "GET", "/api/users", X_Api_Key="sk_planted_secret")[0] == 200
            app.stop()
        rows = demo.wait_until_counted(service, 5)
        assert {name: (row["requests"], row["denied"]) for name, row in rows.items()} == {
            "POST /api/transactions": (3, 2),
            "GET /api/users": (2, 1),
        }
        service.stop()
    stored = b"".join(path.read_bytes() for path in data.glob("usageflow.db*"))
    assert b"sk_planted_secret" not in stored
    assert "sk_planted_secret" not in service.output


@pytest.mark.parametrize("gone_s", [1.5])
def test_events_outlive_a_restart_of_the_service(data: Path, gone_s: float) -> None:
    listen = f"127.0.0.1:{free_port()}"
    with Service(data, listen) as service:
        service.wait_ready()
        key = service.credentials["api_key"]
        with App(listen, key) as app:
            app.wait_ready()
            assert get(app, "GET", "/api/users")[0] == 200
            service.stop()
            assert get(app, "GET", "/api/users")[0] == 200
            time.sleep(gone_s)
            assert get(app, "GET", "/api/users")[0] == 200
            with Service(data, listen) as again:
                again.wait_ready()
                rows = demo.wait_until_counted(again, 3, timeout_s=30)
                app.stop()
                again.stop()
    assert rows["GET /api/users"]["requests"] == 3
