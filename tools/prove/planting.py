"""Plants secrets wherever people and programs put them: in requests, calls of both services, and credentials."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
from contextlib import suppress
from typing import Any
from urllib.parse import quote_plus

import grpc
from google.protobuf import struct_pb2
from google.protobuf.message import Message

from tools.processes import App
from tools.prove.admin_calls import DECISION, Caller, caller
from tools.prove.planted import CONFIGURED, HARMLESS, SENT
from tools.prove.showing import ensure
from usageflow.domain.ids import uuid7
from usageflow.runtime.clock import SystemClock
from usageflow.v1 import (
    admin_pb2,
    alert_methods_pb2,
    alerts_pb2,
    analytics_pb2,
    common_pb2,
    decision_log_pb2,
    decision_pb2,
    directory_methods_pb2,
    erasing_pb2,
    policies_pb2,
    usage_pb2,
)

APPLICATION = "demo"
POLICIES = """version: 1
application: demo
strategies:
  - {name: by-user, sources: [{in: header, name: X-User-Id}], on_missing: ANONYMOUS_PER_IP}
  - {name: by-key, sources: [{in: header, name: X-Api-Key}], on_missing: ANONYMOUS_PER_IP}
  - {name: by-cookie, sources: [{in: cookie, name: sid}], on_missing: ANONYMOUS_PER_IP}
  - {name: by-member, sources: [{in: header, name: X-Member, sensitive: true}], on_missing: ANONYMOUS_PER_IP}
policies:
  - {name: transactions, match: {path: /api/transactions}, strategy: by-user, limits: [{name: hourly, limit: 1000, window: 1h}]}
  - {name: keys, match: {path: /keys}, strategy: by-key, limits: [{name: hourly, limit: 1000, window: 1h}]}
  - {name: cookies, match: {path: /cookies}, strategy: by-cookie, limits: [{name: hourly, limit: 1000, window: 1h}]}
  - {name: members, match: {path: /members}, strategy: by-member, limits: [{name: hourly, limit: 1000, window: 1h}]}
"""
"""Who is counted is told by what must not be kept, too."""

_QUERY = f"access_token={SENT['query']}&next={quote_plus(SENT['bearer'])}&{HARMLESS}"
_HEADERS = {
    "Authorization": f"Bearer {SENT['bearer']}",
    "Cookie": f"sid={SENT['cookie']}",
    "X-Api-Key": SENT["api key"],
    "X-Note": f"key {SENT['api key']}",
    "X-Member": SENT["member"],
    "X-User-Id": "alice",
    "User-Agent": f"agent/1 {SENT['api key']}",
}
_BODY = {
    "password": SENT["password"],
    "card": SENT["card"],
    "note": f"use Bearer {SENT['bearer']}",
    "nested": [{"api_key": SENT["api key"]}],
}
_HEADER = common_pb2.ATTRIBUTE_LOCATION_HEADER
_PATHS = ("/api/transactions", "/keys", "/cookies", "/members", f"/nowhere/{SENT['api key']}")


def send_to(app: App) -> None:
    """Sends requests to an application that carry every secret where people put them."""
    kept = {
        name: value for name, value in _HEADERS.items() if name != "X-Member"
    }  # nothing calls it sensitive here
    headers = {"Content-Type": "application/json", **kept}
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=10)
    try:
        for path in ("/api/transactions", f"/nowhere/{SENT['api key']}"):
            connection.request("POST", f"{path}?{_QUERY}", json.dumps(_BODY), headers)
            connection.getresponse().read()
    finally:
        connection.close()


def call_decisions(address: str, api_key: str) -> int:
    """Plants through gRPC itself, as a client does that masks nothing; returns how many calls were answered with OK. Raises NotShown."""
    with caller(address, api_key, DECISION) as service:
        asked = [_answered(service, "Check", request) for request in _checks()]
        good, bad = (service.call("Report", _report(event)) for event in _events())
        ensure(good.accepted == 1 and len(bad.errors) == 1, f"reports were answered {good} and {bad}")
    for credential in (
        SENT["unknown key"],
        SENT["mistyped key"],
        SENT["bearer"],
        f"{SENT['password']} {SENT['query']}",
    ):
        with caller(address, credential, DECISION) as stranger:
            _answered(stranger, "Check", next(iter(_checks())))
    return sum(asked) + 2


def _answered(service: Caller, method: str, request: object) -> bool:
    with suppress(grpc.RpcError):
        service.call(method, request)
        return True
    return False


def _checks() -> list[decision_pb2.CheckRequest]:
    attributes = [
        *(common_pb2.Attribute(location=_HEADER, name=name, value=value) for name, value in _HEADERS.items()),
        _attribute(common_pb2.ATTRIBUTE_LOCATION_COOKIE, "sid", SENT["cookie"]),
        _attribute(common_pb2.ATTRIBUTE_LOCATION_QUERY, "access_token", SENT["query"]),
        _attribute(common_pb2.ATTRIBUTE_LOCATION_BODY, "password", SENT["password"]),
    ]
    return [
        decision_pb2.CheckRequest(
            application=APPLICATION,
            request=decision_pb2.HttpRequest(method="POST", path=path, attributes=attributes),
        )
        for path in _PATHS
    ] + [
        decision_pb2.CheckRequest(  # is refused: what is wrong must be told without it
            application=SENT["password"],
            request=decision_pb2.HttpRequest(method=SENT["query"], path=f"/{SENT['api key']}"),
        )
    ]


def _attribute(
    location: common_pb2.AttributeLocation.ValueType, name: str, value: str
) -> common_pb2.Attribute:
    return common_pb2.Attribute(location=location, name=name, value=value)


def _report(event: usage_pb2.UsageEvent) -> usage_pb2.ReportRequest:
    request = usage_pb2.ReportRequest(application=APPLICATION, events=[event])
    request.sent_at.GetCurrentTime()
    return request


def _events() -> list[usage_pb2.UsageEvent]:
    """Returns events that say too much, and one that is refused."""
    hashed = common_pb2.Identity(hash=hashlib.sha256(SENT["member"].encode()).digest())
    detail = {
        "headers": _HEADERS_OF_EVENTS,
        "query": _QUERY,
        "body": _BODY,
        "url": f"https://x:{SENT['password']}@h/",
    }
    good = usage_pb2.UsageEvent(
        event_id=uuid7(SystemClock().now_us(), secrets.token_bytes(10)),
        endpoint=common_pb2.Endpoint(method="POST", template="/api/transactions"),
        path=f"/api/transactions/{SENT['api key']}?{_QUERY}",
        identity=hashed,
        status=200,
        user_agent=_HEADERS["User-Agent"],
    )
    good.time.GetCurrentTime()
    good.metadata.CopyFrom(_struct({"note": f"Bearer {SENT['bearer']}", **_BODY}))
    good.captured.CopyFrom(_struct(detail))
    bad = usage_pb2.UsageEvent()
    bad.CopyFrom(good)
    bad.event_id, bad.status = SENT["password"], 9_999
    return [good, bad]


_HEADERS_OF_EVENTS = {name: value for name, value in _HEADERS.items() if name != "X-Member"}


def _struct(value: object) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(json.loads(json.dumps(value)))
    return made


def call_administration(address: str, admin_token: str, receiver_port: int) -> bytes:
    """Plants through AdminService; returns its answers, which are searched as well."""
    with caller(address, admin_token) as admin:
        answers = [admin.call(method, request) for method, request in _changes(receiver_port)]
        refused = _destination("refused", f"http://{CONFIGURED['user of an address']}:x@127.0.0.1:1/hook")
        _answered(admin, "CreateAlertDestination", refused)
        listed = ("ListBlocks", "ListCustomers", "ListAlertDestinations", "ListAuditEntries")
        answers += [admin.call(method, application=APPLICATION) for method in listed]
    for credential in (SENT["unknown key"], base64.b64encode(SENT["password"].encode()).decode()):
        with caller(address, credential) as stranger:
            _answered(
                stranger, "ListBlocks", directory_methods_pb2.ListBlocksRequest(application=APPLICATION)
            )
    return b"\n".join(each.SerializeToString() for each in answers)


def _changes(port: int) -> list[tuple[str, object]]:
    block = policies_pb2.Block(path="/blocked", identity=CONFIGURED["blocked identity"], reason="abuse")
    customer = policies_pb2.Customer(name="acme", identities=[CONFIGURED["customer identity"]])
    address = f"http://127.0.0.1:{port}/hook/{CONFIGURED['token of an address']}"
    return [
        ("CreateBlock", directory_methods_pb2.CreateBlockRequest(application=APPLICATION, block=block)),
        ("CreateCustomer", directory_methods_pb2.CreateCustomerRequest(application=APPLICATION, customer=customer)),
        ("EraseIdentity", erasing_pb2.EraseIdentityRequest(application=APPLICATION, identity=CONFIGURED["erased identity"])),
        ("CreateAlertDestination", _destination("ops", address)),
        ("TestAlertDestination", alerts_pb2.TestAlertDestinationRequest(application=APPLICATION, name="ops")),
    ]  # fmt: skip


def _destination(name: str, url: str) -> alert_methods_pb2.CreateAlertDestinationRequest:
    destination = alerts_pb2.AlertDestination(
        name=name, url=url, type=alerts_pb2.ALERT_DESTINATION_TYPE_WEBHOOK
    )
    return alert_methods_pb2.CreateAlertDestinationRequest(
        application=APPLICATION, alert_destination=destination
    )


def call_in_outage(address: str, admin_address: str, api_key: str, admin_token: str) -> None:
    """Asks once more while the stores are gone: what fails is told in logs."""
    with caller(address, api_key, DECISION) as service:
        for request in _checks():
            _answered(service, "Check", request)
    with caller(admin_address, admin_token) as admin:
        _answered(admin, "ListBlocks", directory_methods_pb2.ListBlocksRequest(application=APPLICATION))


def told_of(address: str, admin_token: str) -> bytes:
    """Returns what people get who look at events and decisions, and whoever exports the revision in force."""
    requests: dict[str, Message] = {
        "ListEvents": analytics_pb2.ListEventsRequest(application=APPLICATION),
        "ListDecisions": decision_log_pb2.ListDecisionsRequest(application=APPLICATION),
        "ExportSnapshot": admin_pb2.ExportSnapshotRequest(application=APPLICATION),
    }
    metadata = (("authorization", f"Bearer {admin_token}"),)
    answers: list[bytes] = []
    with grpc.insecure_channel(address) as channel:
        for method, request in requests.items():
            stream: Any = channel.unary_stream(f"/usageflow.v1.AdminService/{method}")
            answers += stream(request.SerializeToString(), metadata=metadata, timeout=30)
    return b"\n".join(answers)
