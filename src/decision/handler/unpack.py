"""From messages to the questions and reports of the services."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from typing import Any, Generic, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from decision.checking import CheckItem
from decision.questions import HttpRequest, Terms
from decision.reported import (
    EndpointRef,
    Report,
    ReportedBatch,
    ReportedCount,
    ReportedEvent,
    Verdict,
)
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.identity import network_of
from usageflow.storage.counters import Amendment, LeaseReturn, Release, Renewal, Settlement
from usageflow.v1 import common_pb2, decision_pb2, usage_pb2

_LOCATIONS = {
    common_pb2.ATTRIBUTE_LOCATION_HEADER: "header",
    common_pb2.ATTRIBUTE_LOCATION_QUERY: "query",
    common_pb2.ATTRIBUTE_LOCATION_PATH_PARAMETER: "path",
    common_pb2.ATTRIBUTE_LOCATION_BODY: "body",
    common_pb2.ATTRIBUTE_LOCATION_COOKIE: "cookie",
    common_pb2.ATTRIBUTE_LOCATION_JWT_CLAIM: "jwt",
    common_pb2.ATTRIBUTE_LOCATION_CLIENT_IP: "client_ip",
    common_pb2.ATTRIBUTE_LOCATION_APP_CONTEXT: "context",
    common_pb2.ATTRIBUTE_LOCATION_BODY_JSON: "body_json",
}
_DENIED = {
    common_pb2.DECISION_UNSPECIFIED: None,
    common_pb2.DECISION_ALLOW: False,
    common_pb2.DECISION_DENY: True,
}
_DEFAULT_HOLD_US = 60_000_000
_blake2b = hashlib.blake2b

Made = TypeVar("Made")


def http_request(message: decision_pb2.HttpRequest) -> HttpRequest:
    """Returns the described request, unchecked."""
    return HttpRequest(
        method=message.method,
        path=message.path,
        route=message.route,
        parameters=dict(message.path_parameters),
        attributes=[
            (
                _LOCATIONS.get(item.location, _enum_name(common_pb2.AttributeLocation.Name, item.location)),
                item.name,
                _content(item),
            )
            for item in message.attributes
        ],
        client_ip=message.client_ip,
    )


def _content(item: common_pb2.Attribute) -> str | bytes:
    return item.hash if item.WhichOneof("content") == "hash" else item.value


def terms(cost: int, message: decision_pb2.CheckRequest | decision_pb2.CheckItem) -> Terms:
    """Returns cost, reservation wish and the wish for tokens ahead."""
    if message.HasField("reserve"):
        wish = message.reserve
        hold_us = wish.hold.ToMicroseconds() if wish.HasField("hold") else _DEFAULT_HOLD_US
        hold_us = hold_us or -1  # 0 would say "no reservation"; out of bounds is what it is
        return Terms(cost, hold_us, wish.on_expiry == decision_pb2.RESERVATION_EXPIRY_REFUND)
    if isinstance(message, decision_pb2.CheckItem) and message.HasField("lease"):
        lease = message.lease
        return Terms(cost, lease_tokens=lease.tokens, lease_life_us=lease.life.ToMicroseconds())
    return Terms(cost)


def attribute_values(item: decision_pb2.CheckItem) -> list[str | bytes | None]:
    """Returns the positional values; None for an absent one."""
    return [_value(value) for value in item.values]


def _value(value: decision_pb2.AttributeValue) -> str | bytes | None:
    kind = value.WhichOneof("kind")
    if kind is None:
        return None
    return value.text if kind == "text" else value.hash


def report(message: usage_pb2.ReportRequest) -> Report:
    """Returns what is reported, unchecked."""
    return Report(
        sent_at_us=_micros(message.sent_at) if message.HasField("sent_at") else None,
        revisions=frozenset(_revisions(message)),
        events=_Lazily(message.events, reported_event),
        batches=[_batch(batch) for batch in message.batches],
        amendments=[
            *(Settlement(item.reservation_id, item.actual) for item in message.settlements),
            *(LeaseReturn(item.lease_id.hex(), item.used) for item in message.returns),
            *(Release(item.slot_id.hex()) for item in message.releases),
        ],
    )


def _revisions(message: usage_pb2.ReportRequest) -> Iterator[int]:
    yield from {event.revision for event in message.events}
    for batch in message.batches:
        yield from {count.revision for count in batch.counts}


class _Lazily(Collection[Made], Generic[Made]):
    """What a function makes of messages, made while it is read: ten thousand at once would hold up checks."""

    def __init__(self, messages: Collection[Any], make: Callable[[Any], Made]) -> None:
        self._messages = messages
        self._make = make

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Made]:
        return map(self._make, self._messages)

    def __contains__(self, item: object) -> bool:
        return any(made == item for made in self)


def reported_event(event: usage_pb2.UsageEvent) -> ReportedEvent:
    """Returns an event, unchecked."""
    time, latency = event.time, event.latency
    seconds, nanos = time.seconds, time.nanos
    return ReportedEvent(
        event.event_id,
        seconds * 1_000_000 + nanos // 1000 if seconds or nanos or event.HasField("time") else None,
        event.endpoint_number or _endpoint(event),
        event.path,
        _identity(event.identity),
        event.status,
        latency.seconds * 1_000_000 + latency.nanos // 1000,
        event.request_bytes,
        event.response_bytes,
        event.quantity if event.HasField("quantity") else None,
        _verdict(event),
        _detail(event),
        event.counted,
        _payload_hash(event),
        _captured(event) if event.HasField("captured") else "",
    )


def _batch(batch: usage_pb2.CountBatch) -> ReportedBatch:
    return ReportedBatch(batch.batch_id, [_count(count) for count in batch.counts], _payload_hash(batch))


def _count(count: usage_pb2.Count) -> ReportedCount:
    paired = len(count.latency_buckets) == len(count.latency_counts)
    return ReportedCount(
        endpoint=_endpoint(count),
        identity=_identity(count.identity),
        status=count.status,
        verdict=_verdict(count),
        second=count.second,
        requests=count.requests,
        units=count.units,
        request_bytes=count.request_bytes,
        response_bytes=count.response_bytes,
        latency=tuple(zip(count.latency_buckets, count.latency_counts, strict=True)) if paired else None,
    )


def _endpoint(item: usage_pb2.UsageEvent | usage_pb2.Count) -> EndpointRef:
    if item.WhichOneof("endpoint_ref") == "endpoint_number":
        return item.endpoint_number
    return (item.endpoint.method, item.endpoint.template)


def _verdict(item: usage_pb2.UsageEvent | usage_pb2.Count) -> Verdict:
    return _verdict_of(
        item.decision,
        item.reason,
        item.degraded.reason if item.HasField("degraded") else 0,
        item.policy_number,
        item.revision,
        tuple(shadow) if (shadow := item.shadow_denials) else (),
    )


@lru_cache(maxsize=4096)  # a service makes few kinds of decisions, again and again
def _verdict_of(
    decision: common_pb2.Decision.ValueType,
    reason: int,
    degraded: int,
    policy_number: int,
    revision: int,
    shadow: tuple[int, ...],
) -> Verdict:
    return Verdict(
        denied=_DENIED.get(decision),
        understood=decision in _DENIED,
        reason=_bare(common_pb2.Reason.Name, reason, "REASON_"),
        degraded=_bare(common_pb2.DegradedReason.Name, degraded, "DEGRADED_REASON_"),
        policy_number=policy_number,
        revision=revision,
        shadow=shadow,
    )


def _identity(identity: common_pb2.Identity) -> str:
    """Returns the identity's key (usageflow.domain.identity), "" for nobody."""
    if value := identity.value:  # most have one
        return f"v:{value}"
    kind = identity.WhichOneof("kind")
    if kind == "hash":
        return f"h:{identity.hash.hex()}"
    return f"a:{network_of(identity.anonymous)}" if kind == "anonymous" else ""


def _detail(event: usage_pb2.UsageEvent) -> str:
    client_ip, user_agent, reservation_id = event.client_ip, event.user_agent, event.reservation_id
    has_metadata = event.HasField("metadata")
    if not (client_ip or user_agent or reservation_id or has_metadata):
        return ""
    detail: dict[str, object] = {}
    if has_metadata and event.metadata.fields:
        detail["metadata"] = json_format.MessageToDict(event.metadata)
    texts = {"client_ip": client_ip, "user_agent": user_agent, "reservation_id": reservation_id}
    detail |= {name: text[:512] for name, text in texts.items() if text}
    return json.dumps(detail, ensure_ascii=False, separators=(",", ":")) if detail else ""


def _captured(event: usage_pb2.UsageEvent) -> str:
    """Returns what was captured as JSON, "" for what JSON cannot say: it is left out, never refused."""
    try:
        return json.dumps(
            json_format.MessageToDict(event.captured), ensure_ascii=False, separators=(",", ":")
        )
    except (json_format.Error, ValueError, RecursionError):
        return ""


def _payload_hash(message: Message) -> bytes:
    """Returns 16 bytes over the item as it was sent: the same id with another payload is a conflict."""
    return _blake2b(message.SerializeToString(deterministic=True), digest_size=16).digest()


def _micros(timestamp: Timestamp) -> int:
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1000


def _bare(name_of: object, value: int, prefix: str) -> str:
    """Returns an enum's bare name, "" for UNSPECIFIED and for values that this version does not know."""
    name = _enum_name(name_of, value)
    return "" if name.endswith("UNSPECIFIED") or not name.startswith(prefix) else name.removeprefix(prefix)


def _enum_name(name_of: object, value: int) -> str:
    try:
        return str(name_of(value)) if callable(name_of) else ""
    except ValueError:
        return ""


def routes(endpoints: Iterable[common_pb2.Endpoint]) -> list[tuple[str, str]]:
    """Returns (method, template) of each route."""
    return [(endpoint.method, endpoint.template) for endpoint in endpoints]


def amendments(message: decision_pb2.BatchCheckRequest) -> list[Amendment]:
    """Returns what ends or goes on before the items are decided."""
    return [
        *(LeaseReturn(item.lease_id.hex(), item.used) for item in message.returns),
        *(Release(item.slot_id.hex()) for item in message.releases),
        *(Renewal(item.slot_id.hex()) for item in message.renewals),
    ]


def check_frame(frame: bytes) -> CheckItem:
    """Returns one request of a batch that came as bytes, unchecked. Raises InvalidArgument for what is no CheckItem."""
    try:
        return check_item(decision_pb2.CheckItem.FromString(frame))
    except DecodeError:
        fix = "send the message CheckItem, encoded by the stubs of this contract"
        raise InvalidArgument.of("items", "is not a CheckItem", fix) from None


def check_item(item: decision_pb2.CheckItem) -> CheckItem:
    """Returns one request of a batch, unchecked."""
    by_name = item.WhichOneof("endpoint_ref") == "request"
    return CheckItem(
        endpoint=http_request(item.request) if by_name else item.endpoint_number,
        values=attribute_values(item),
        client_ip=item.client_ip,
        terms=terms(item.cost, item),
        request_id=_request_id(item.request_id),
        deadline_s=item.deadline_ms / 1000 if item.deadline_ms else None,
    )


def _request_id(request_id: bytes) -> str:
    if not request_id:
        return ""
    # A digest, so that 64 bytes fit; what is longer stays too long and is refused.
    return hashlib.blake2b(request_id, digest_size=16).hexdigest() if len(request_id) <= 64 else "-" * 65


def check_request_frame(request: bytes) -> tuple[str, CheckItem]:
    """Returns the application that a Check names, and its request, unchecked. Raises InvalidArgument."""
    try:
        message = decision_pb2.CheckRequest.FromString(request)
    except DecodeError:
        fix = "send the method's request message, encoded by the stubs of this contract"
        raise InvalidArgument.of("request", "is not a message of this method", fix) from None
    return message.application, check_request(message)


def check_request(request: decision_pb2.CheckRequest) -> CheckItem:
    """Returns the one request of a Check, unchecked."""
    return CheckItem(
        http_request(request.request), terms=terms(request.cost, request), request_id=request.request_id
    )
