from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from usageflow.domain.alert_messages import (
    AlertEvent,
    body_of,
    headers_of,
    secret_of,
    shown_secret,
    signature,
)
from usageflow.domain.alert_sending import AlertSender
from usageflow.domain.alerts import DAY_US, AlertDestination, DestinationType
from usageflow.domain.errors import Unavailable

KEY = bytes(range(32))
EVENT = AlertEvent(
    "e-1",
    "a-1",
    "demo",
    "r",
    "P95",
    "CRITICAL",
    "FIRED",
    10**15,
    10**15,
    812.345,
    800,
    "ms",
    {"endpoint": "GET /<x>"},
)


def test_secrets_are_hkdf_of_id_and_version() -> None:
    info = b"usageflow/alert-destination/v1/d-1/2"
    expected = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(KEY)
    assert secret_of(KEY, "d-1", 2) == expected
    assert shown_secret(expected) == f"whsec_{base64.b64encode(expected).decode()}"
    assert secret_of(KEY, "d-1", 1) != expected != secret_of(KEY, "d-2", 2)


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's reference libraries."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    made = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_headers_let_receivers_verify_and_old_secrets_go_on_for_a_day() -> None:
    body, now_us = body_of(EVENT, DestinationType.WEBHOOK), 10**15
    destination = AlertDestination(name="d", url="https://h/", secret_version=2, rotated_us=now_us)

    def signatures(at_us: int) -> list[str]:
        headers = headers_of(KEY, ("d-1", destination), "e-1", at_us, body)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        known = [
            "v1,"
            + base64.b64encode(hmac.new(secret_of(KEY, "d-1", n), signed, hashlib.sha256).digest()).decode()
            for n in (2, 1)
        ]
        given = headers["webhook-signature"].split(" ")
        assert given == known[: len(given)]
        return given

    assert len(signatures(now_us)) == 2
    assert len(signatures(now_us + DAY_US)) == 1


def test_slack_gets_text_without_markup_of_others_and_no_signature() -> None:
    made = json.loads(body_of(EVENT, DestinationType.SLACK))
    assert "GET /&lt;x&gt;" in made["text"]
    assert "812.35 ms, threshold 800 ms" in made["text"]
    assert made["blocks"][0]["text"]["text"] == made["text"]
    slack = AlertDestination(name="d", url="https://h/", type=DestinationType.SLACK)
    assert not any(name.startswith("webhook") for name in headers_of(KEY, ("d", slack), "e", 1, b""))


class Sender:
    def __init__(self) -> None:
        self.urls: list[str] = []

    async def post(self, url: str, headers: object, body: bytes) -> int:
        self.urls.append(url)
        if "down" in url:
            raise Unavailable("no answer")
        return 410 if "gone" in url else 204


@pytest.mark.parametrize(
    ("url", "variable", "status", "asked"),
    [
        ("https://h/a", "", 204, ["https://h/a"]),
        ("https://gone/", "", 410, ["https://gone/"]),
        ("https://down/", "", 0, ["https://down/"]),
        ("env:USAGEFLOW_ALERT_X", "https://h/secret", 204, ["https://h/secret"]),
        ("env:USAGEFLOW_ALERT_X", "", 0, []),
        ("env:USAGEFLOW_ALERT_X", "http://h/secret", 0, []),
        ("env:USAGEFLOW_ALERT_X", "env:USAGEFLOW_ALERT_X", 0, []),
    ],
)
async def test_messages_go_where_the_destination_says(
    url: str, variable: str, status: int, asked: list[str]
) -> None:
    http = Sender()
    sender = AlertSender(http, KEY, {"USAGEFLOW_ALERT_X": variable}, allow_private=False)
    attempt = await sender.send(EVENT, "d-1", AlertDestination(name="d", url=url), 10**15)
    assert (attempt.status, http.urls) == (status, asked)
    assert "secret" not in attempt.told
    assert attempt.sent == (status == 204)
    assert attempt.gone == (status == 410)
