"""Alert rules and destinations over a real channel."""

from __future__ import annotations

import base64
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from tests.integration.conftest import Running
from usageflow.domain.alerts import AlertDestination
from usageflow.domain.clock import ManualClock
from usageflow.storage.alerts import AlertResource
from usageflow.storage.sql import SqlAlertStore
from usageflow.v1 import alert_methods_pb2 as methods
from usageflow.v1 import alerts_pb2

SECRET_URL = "https://hooks.example.com/T1/secret"
OPS = alerts_pb2.AlertDestination(name="ops", url=SECRET_URL)
ERRORS = alerts_pb2.AlertRule(
    name="errors", kind=alerts_pb2.ALERT_KIND_ERROR_RATE, threshold=5, destinations=["ops"]
)


async def call(service: Running, request: Any) -> Any:
    name = type(request).__name__.removesuffix("Request")
    request.application = "demo"
    return await getattr(service.admin, name)(request, metadata=service.as_admin)


async def refused(service: Running, request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(service, request)
    return raised.value.code().name, raised.value.details() or ""


async def test_secrets_are_told_to_whom_they_belong_only(service: Running) -> None:
    made = await call(service, methods.CreateAlertDestinationRequest(alert_destination=OPS))
    assert len(base64.b64decode(made.signing_secret.removeprefix("whsec_"))) == 32
    assert made.url == "https://hooks.example.com/..."
    got = await call(service, methods.GetAlertDestinationRequest(name="ops"))
    (listed,) = (
        await call(service, methods.ListAlertDestinationsRequest(filter='name = "ops"'))
    ).destinations
    assert got.signing_secret == listed.signing_secret == ""
    assert got == listed
    revealed = await call(service, alerts_pb2.RevealAlertDestinationSecretRequest(name="ops"))
    assert revealed.signing_secret == made.signing_secret
    rotated = await call(service, alerts_pb2.RotateAlertDestinationSecretRequest(name="ops", etag=got.etag))
    assert rotated.secret_version == 2
    assert rotated.signing_secret != made.signing_secret


async def test_an_address_that_is_sent_as_it_is_shown_stays(service: Running) -> None:
    made = await call(service, methods.CreateAlertDestinationRequest(alert_destination=OPS))
    made.enabled = False
    request = methods.UpdateAlertDestinationRequest(
        alert_destination=made, update_mask=FieldMask(paths=["*"])
    )
    await call(service, request)
    owner = await service.embedded.control.find_application("demo")
    assert owner is not None
    stored = SqlAlertStore(service.embedded.database, ManualClock())
    (row,) = await stored.alert_rows(AlertResource.DESTINATION, owner.application_id)
    assert row.item == AlertDestination(name="ops", url=SECRET_URL, enabled=False)


async def test_rules_live_as_all_resources_do(service: Running) -> None:
    create = methods.CreateAlertRuleRequest(alert_rule=ERRORS)
    code, text = await refused(service, create)
    assert (code, "alert_rule.destinations[0]" in text) == ("INVALID_ARGUMENT", True)
    await call(service, methods.CreateAlertDestinationRequest(alert_destination=OPS))
    made = await call(service, create)
    assert (made.window.seconds, made.min_requests, made.enabled) == (300, 20, True)
    assert (await refused(service, create))[0] == "ALREADY_EXISTS"
    changed = methods.UpdateAlertRuleRequest(
        alert_rule=alerts_pb2.AlertRule(name="errors", threshold=9),
        update_mask=FieldMask(paths=["threshold"]),
        etag=made.etag,
    )
    assert (await call(service, changed)).threshold == 9
    assert (await refused(service, changed))[0] == "ABORTED"
    assert (await refused(service, methods.DeleteAlertDestinationRequest(name="ops")))[
        0
    ] == "FAILED_PRECONDITION"
    await call(service, methods.DeleteAlertRuleRequest(name="errors"))
    assert not (await call(service, methods.ListAlertRulesRequest())).rules
    await call(service, methods.UndeleteAlertRuleRequest(name="errors"))
    (rule,) = (await call(service, methods.ListAlertRulesRequest(filter="kind = ERROR_RATE"))).rules
    assert rule.threshold == 9


async def test_a_quota_that_nobody_keeps_on_disk_is_refused(service: Running) -> None:
    rule = alerts_pb2.AlertRule(name="q", kind=alerts_pb2.ALERT_KIND_QUOTA, policy="everything")
    code, text = await refused(service, methods.CreateAlertRuleRequest(alert_rule=rule))
    assert (code, "alert_rule.policy" in text) == ("INVALID_ARGUMENT", True)
    rule.policy = "transactions"
    await call(service, methods.CreateAlertRuleRequest(alert_rule=rule, validate_only=True))
    assert not (await call(service, methods.ListAlertRulesRequest())).rules


async def test_private_addresses_are_not_asked(service: Running) -> None:
    here = alerts_pb2.AlertDestination(name="here", url="https://127.0.0.1:1/")
    await call(service, methods.CreateAlertDestinationRequest(alert_destination=here))
    done = await call(service, alerts_pb2.TestAlertDestinationRequest(name="here"))
    assert (done.sent, done.status) == (False, 0)
    assert "USAGEFLOW_WEBHOOK_PRIVATE=1" in done.told
    plain = alerts_pb2.AlertDestination(name="plain", url="http://example.com/")
    code, _ = await refused(service, methods.CreateAlertDestinationRequest(alert_destination=plain))
    assert code == "INVALID_ARGUMENT"


async def test_nothing_fires_and_nothing_fired(service: Running) -> None:
    assert not (await call(service, alerts_pb2.ListAlertsRequest())).alerts
    assert not (await call(service, alerts_pb2.ListAlertEventsRequest())).events
