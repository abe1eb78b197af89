"""Secrets planted wherever a request has room for them are in nothing that is kept or said."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tools.processes import App, Service

MARK = "pLaNtEd"
TOKEN = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{MARK}In0.{MARK}signature"
PLANTED = {
    "bearer": TOKEN,
    "api key": f"sk_live_{MARK}0123456789",
    "cookie": f"{MARK}-cookie",
    "password": f"{MARK}-password",
    "query": f"{MARK}-query",
    "card": "4111111111111111",
}


def spellings(secret: str) -> Iterator[bytes]:
    """Yields a secret raw, percent-encoded, escaped, in hex and in base64, at every offset."""
    raw = secret.encode()
    yield from (raw, quote(secret, safe="").encode(), quote_plus(secret).encode(), raw.hex().encode())
    for shift in range(3):
        encoded = base64.b64encode(b" " * shift + raw).rstrip(b"=")
        yield encoded[4:-2]  # what stands before and after may differ


def found_in(data: bytes, planted: dict[str, str]) -> list[str]:
    return [name for name, secret in planted.items() if any(each in data for each in spellings(secret))]


def send(app: App) -> None:
    """One request that carries every secret where people put them."""
    body = {
        "password": PLANTED["password"],
        "card": PLANTED["card"],
        "note": f"use Bearer {PLANTED['bearer']}",
        "nested": [{"api_key": PLANTED["api key"]}],
    }
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {PLANTED['bearer']}",
        "Cookie": f"sid={PLANTED['cookie']}",
        "X-Api-Key": PLANTED["api key"],
        "X-Note": f"key {PLANTED['api key']}",
        "X-User-Id": "alice",
        "User-Agent": f"agent/1 {PLANTED['api key']}",
    }
    query = f"access_token={PLANTED['query']}&next={quote_plus(PLANTED['bearer'])}&page=7"
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=10)
    try:
        for path in (f"/api/transactions?{query}", f"/nowhere/{PLANTED['api key']}?{query}"):
            connection.request("POST", path, json.dumps(body), headers)
            connection.getresponse().read()
    finally:
        connection.close()


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_planted_secrets_are_kept_and_said_nowhere(data: Path, level: str) -> None:
    with Service(data, USAGEFLOW_LOG_LEVEL=level) as service:
        address = service.wait_ready()
        assert service.command("applications", "update", "demo", "--capture", "FULL").returncode == 0
        service.wait_until(lambda: service.command("status", "--wait", "--timeout", "5").returncode == 0)
        with App(address, service.credentials["api_key"]) as app:
            app.wait_ready()
            send(app)
            app.stop()
        credentials: dict[str, str] = {name: str(value) for name, value in service.credentials.items()}
        service.stop()
    stored = b"".join(path.read_bytes() for path in sorted(data.glob("usageflow.db*")))
    assert b"page=7" in stored, "the event was captured"
    said = service.output.encode()
    assert found_in(stored + said, PLANTED) == []
    keys = {
        str(name): credentials[name] for name in ("api_key", "admin_token", "hash_key") if name in credentials
    }
    assert found_in(stored + said + app.output.encode(), keys) == []
