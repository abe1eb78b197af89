from __future__ import annotations

import json
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from usageflow.v1 import alert_methods_pb2, alerts_pb2

FIRING = alerts_pb2.Alert(
    rule="errors",
    phase=alerts_pb2.ALERT_PHASE_FIRING,
    since_time=Timestamp(seconds=1_800_000_000),
    value=12.5,
    threshold=5,
    alert_id="a-1",
    about={"endpoint": "GET /a"},
)
EVENT = alerts_pb2.AlertEvent(
    event_id="e-1",
    alert_id="a-1",
    rule="errors",
    transition="FIRED",
    severity="INFO",
    summary="it fires",
    deliveries=[alerts_pb2.AlertDelivery(destination="ops", status="WAITING", attempts=2, told="HTTP 500")],
)


def test_what_fires_is_shown(run: Any, service: Any) -> None:
    service.will("ListAlerts", alerts_pb2.ListAlertsResponse(alerts=[FIRING]))
    shown = run("alerts", "--output", "json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)[0] == {
        "rule": "errors",
        "phase": "FIRING",
        "since": "2027-01-15T08:00:00Z",
        "value": 12.5,
        "threshold": 5.0,
        "about": {"endpoint": "GET /a"},
        "alert_id": "a-1",
    }
    service.will("ListAlerts", alerts_pb2.ListAlertsResponse())
    assert "nothing fires" in run("alerts").stderr


def test_history_tells_what_became_of_messages(run: Any, service: Any) -> None:
    service.will("ListAlertEvents", alerts_pb2.ListAlertEventsResponse(events=[EVENT]))
    assert "ops WAITING (HTTP 500)" in run("alerts", "history").stdout


def test_a_rule_is_made_of_options(run: Any, service: Any) -> None:
    service.will("CreateAlertRule", alerts_pb2.AlertRule(name="errors", kind=alerts_pb2.ALERT_KIND_QUOTA))
    options = ("--kind", "QUOTA", "--level", "80", "--to", "ops", "--keep-firing-for", "0s", "--no-enabled")
    assert run("alerts", "rules", "create", "errors", *options).exit_code == 0
    (request,) = service.requests
    assert isinstance(request, alert_methods_pb2.CreateAlertRuleRequest)
    rule = request.alert_rule
    assert (list(rule.levels), list(rule.destinations), rule.enabled) == ([80], ["ops"], False)
    assert rule.HasField("keep_firing_for")
    assert not rule.keep_firing_for.seconds


def test_a_test_message_that_is_not_taken_is_a_failure(run: Any, service: Any) -> None:
    service.will("TestAlertDestination", alerts_pb2.TestAlertDestinationResponse(sent=True, told="HTTP 204"))
    assert run("alerts", "test", "ops").stdout == "ops took it: HTTP 204\n"
    service.will("TestAlertDestination", alerts_pb2.TestAlertDestinationResponse(told="no answer"))
    done = run("alerts", "test", "ops")
    assert (done.exit_code, "did not take it: no answer" in done.stderr) == (1, True)


def test_a_secret_is_printed_alone(run: Any, service: Any) -> None:
    service.will("RevealAlertDestinationSecret", alerts_pb2.AlertDestination(signing_secret="whsec_x"))
    assert run("alerts", "secret", "ops").stdout == "whsec_x\n"
