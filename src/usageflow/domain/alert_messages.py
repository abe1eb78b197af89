"""What destinations are sent: bodies, and signatures by Standard Webhooks 1.0 (standardwebhooks.com). Pure.

The secret of a destination is derived (HKDF, RFC 5869, over SHA-256) from the installation's hash key, the destination's id and a version,
and is stored nowhere. After a rotation messages carry both signatures for a day.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from usageflow.domain.alerts import DAY_US, AlertDestination, DestinationType
from usageflow.domain.calendars import format_instant

PAYLOAD_VERSION = 1
TEST = "TEST"
_PURPOSE = b"usageflow/alert-destination/v1/"
_PREFIX = "whsec_"
_SIGNS = {"FIRED": ":rotating_light:", "RESOLVED": ":white_check_mark:", TEST: ":wave:"}
_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """An alert that fired or is over; ``transition`` is FIRED, RESOLVED or TEST. ``event_id`` names the message, ``alert_id`` both of an
    alert's messages. Times are Unix microseconds. ``about`` tells endpoint, policy, limit, customer and identity, those that there are.
    """

    event_id: str
    alert_id: str
    application: str
    rule: str
    kind: str
    severity: str
    transition: str
    at_us: int
    since_us: int
    value: float
    threshold: float
    unit: str
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """Returns the event in one line."""
        about = ", ".join(f"{name} {value}" for name, value in self.about.items())
        numbers = f"{_number(self.value)} {self.unit}, threshold {_number(self.threshold)} {self.unit}"
        where = f" ({about})" if about else ""
        words = {"FIRED": "fires", "RESOLVED": "is over", TEST: "is only a test"}[self.transition]
        return f"{self.severity} {self.rule} of {self.application} {words}: {self.kind} {numbers}{where}"


class WebhookSender(Protocol):
    """Sends messages."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Returns the status of the answer; redirects are not followed. Raises Unavailable, which says why there is none, without the
        address's path.
        """


def secret_of(hash_key: bytes, destination_id: str, version: int) -> bytes:
    """Returns the signing secret of a destination, 32 bytes."""
    extracted = hmac.digest(bytes(32), hash_key, hashlib.sha256)
    info = _PURPOSE + f"{destination_id}/{version}".encode()
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def shown_secret(secret: bytes) -> str:
    """Returns a secret as receivers are told it."""
    return _PREFIX + base64.b64encode(secret).decode()


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Returns one signature: of id, time (Unix seconds) and body, joined by dots."""
    signed = hmac.digest(secret, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def headers_of(
    hash_key: bytes,
    destination: tuple[str, AlertDestination],
    message_id: str,
    now_us: int,
    body: bytes,
) -> dict[str, str]:
    """Returns the headers of a message to a destination (its id, and it), sent now."""
    destination_id, settings = destination
    headers = {"Content-Type": "application/json", "User-Agent": "usageflow-alerts/1"}
    if settings.type is DestinationType.SLACK:
        return headers
    versions = [settings.secret_version]
    if settings.secret_version > 1 and now_us - settings.rotated_us < DAY_US:
        versions.append(settings.secret_version - 1)
    timestamp = now_us // 1_000_000
    signed = [
        signature(secret_of(hash_key, destination_id, each), message_id, timestamp, body) for each in versions
    ]
    return headers | {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signed),
    }


def body_of(event: AlertEvent, kind: DestinationType) -> bytes:
    """Returns the body of an event's message."""
    made = _slack(event) if kind is DestinationType.SLACK else _payload(event)
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def _payload(event: AlertEvent) -> dict[str, Any]:
    return {
        "type": f"alert.{event.transition.lower()}",
        "version": PAYLOAD_VERSION,
        "timestamp": _instant(event.at_us),
        "data": {
            "alert_id": event.alert_id,
            "application": event.application,
            "rule": event.rule,
            "kind": event.kind,
            "severity": event.severity,
            "since": _instant(event.since_us),
            "value": event.value,
            "threshold": event.threshold,
            "unit": event.unit,
            "about": dict(event.about),
            "summary": event.summary,
        },
    }


def _slack(event: AlertEvent) -> dict[str, Any]:
    text = f"{_SIGNS[event.transition]} {_escaped(event.summary)}"
    told = f"since {_instant(event.since_us)} | alert {event.alert_id}"
    return {
        "text": text,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": text[:3000]}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": _escaped(told)}]},
        ],
    }


def _escaped(text: str) -> str:
    """Returns text in which Slack finds no links, mentions or markup of its own."""
    return "".join(_ESCAPED.get(each, each) for each in text)


def _instant(at_us: int) -> str:
    return format_instant(at_us)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
