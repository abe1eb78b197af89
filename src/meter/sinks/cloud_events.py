"""Billed units as CloudEvents over HTTP, in the structured mode (https://github.com/cloudevents/spec). The receiver tells repeated ones by their id."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from meter.sinks.plain import PlainSink, document_of
from usageflow.domain.alert_messages import WebhookSender
from usageflow.domain.billing import Method, Outcome, Part, Result
from usageflow.domain.errors import Unavailable

_TYPE = "usageflow.usage.v1"
_HEADERS = {"Content-Type": "application/cloudevents+json"}
_LATER = frozenset({408, 425, 429})


class CloudEventsSink(PlainSink):
    """Posts an event per part."""

    def __init__(self, url: str, http: WebhookSender) -> None:
        super().__init__("cloudevents", Method.CLOUD_EVENT, url)
        self._url = url
        self._http = http

    async def send(self, part: Part, *, now_us: int) -> Outcome:
        """See Sink."""
        del now_us
        body = json.dumps(event_of(part), ensure_ascii=False, separators=(",", ":")).encode()
        try:
            status = await self._http.post(self._url, _HEADERS, body)
        except Unavailable as error:
            return Outcome(Result.UNKNOWN, str(error))
        return Outcome(_meaning(status), f"HTTP {status}")


def event_of(part: Part) -> dict[str, object]:
    """Returns the event of a part: its id is the part's identifier at every attempt."""
    at = datetime.fromtimestamp(part.terms.timestamp_s, UTC)
    return {
        "specversion": "1.0",
        "id": part.identifier,
        "source": f"/usageflow/{part.application_id}",
        "type": _TYPE,
        "subject": part.customer,
        "time": at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": document_of(part),
    }


def _meaning(status: int) -> Result:
    if 200 <= status < 300:
        return Result.TAKEN
    if status in {401, 403}:
        return Result.DENIED
    if status in _LATER:
        return Result.AGAIN
    return Result.UNKNOWN if status >= 500 else Result.REFUSED
