"""The methods about alerts beside the standard ones: unpack, call, pack."""

from __future__ import annotations

from typing import Any

import grpc.aio

from admin.alerts import Alerts
from admin.handler.kinds import KINDS, packed
from admin.handler.resources import ResourceMethods, write_of
from admin.resources import Found
from usageflow.domain.alerting import AlertState
from usageflow.messages import timestamp_of
from usageflow.storage.alerts import DeliveryRow, DeliveryStatus, HistoryRow, StoredAlert
from usageflow.v1 import alert_methods_pb2, alerts_pb2

_Context = grpc.aio.ServicerContext[Any, Any]
_DESTINATION = next(kind for kind in KINDS if kind.title == "AlertDestination")


class AlertMethods(ResourceMethods):
    """What fires, history, secrets and test messages; and the one standard method that tells more than the others."""

    _alerts: Alerts

    async def CreateAlertDestination(  # noqa: N802 - gRPC's spelling
        self, request: alert_methods_pb2.CreateAlertDestinationRequest, context: _Context
    ) -> alerts_pb2.AlertDestination:
        """See the contract."""
        write = write_of(request, context, "CreateAlertDestination")
        fields = _DESTINATION.read(request.alert_destination)
        found = await self._resources[_DESTINATION.title].create(request.application, fields, write)
        if request.validate_only:
            return _with_secret(found, "")
        return _with_secret(*await self._alerts.secret(request.application, found.name))

    async def RevealAlertDestinationSecret(  # noqa: N802
        self, request: alerts_pb2.RevealAlertDestinationSecretRequest, _context: _Context
    ) -> alerts_pb2.AlertDestination:
        """See the contract."""
        return _with_secret(*await self._alerts.secret(request.application, request.name))

    async def RotateAlertDestinationSecret(  # noqa: N802
        self, request: alerts_pb2.RotateAlertDestinationSecretRequest, context: _Context
    ) -> alerts_pb2.AlertDestination:
        """See the contract."""
        write = write_of(request, context, "RotateAlertDestinationSecret")
        return _with_secret(*await self._alerts.rotate(request.application, request.name, write))

    async def TestAlertDestination(  # noqa: N802
        self, request: alerts_pb2.TestAlertDestinationRequest, _context: _Context
    ) -> alerts_pb2.TestAlertDestinationResponse:
        """See the contract."""
        attempt = await self._alerts.test(request.application, request.name)
        return alerts_pb2.TestAlertDestinationResponse(
            sent=attempt.sent, status=attempt.status, told=attempt.told
        )

    async def ListAlerts(  # noqa: N802
        self, request: alerts_pb2.ListAlertsRequest, _context: _Context
    ) -> alerts_pb2.ListAlertsResponse:
        """See the contract."""
        found = await self._alerts.firing(request.application)
        return alerts_pb2.ListAlertsResponse(alerts=[_alert(rule, alert) for rule, alert in found])

    async def ListAlertEvents(  # noqa: N802
        self, request: alerts_pb2.ListAlertEventsRequest, _context: _Context
    ) -> alerts_pb2.ListAlertEventsResponse:
        """See the contract."""
        rows, token = await self._alerts.history(request.application, request.page_size, request.page_token)
        return alerts_pb2.ListAlertEventsResponse(events=map(_event, rows), next_page_token=token)


def _with_secret(found: Found, secret: str) -> alerts_pb2.AlertDestination:
    message: alerts_pb2.AlertDestination = packed(_DESTINATION, found)
    message.signing_secret = secret
    return message


def _alert(rule: str, alert: StoredAlert) -> alerts_pb2.Alert:
    state: AlertState = alert.state
    return alerts_pb2.Alert(
        rule=rule,
        phase=alerts_pb2.AlertPhase.Value(f"ALERT_PHASE_{state.phase}"),
        since_time=timestamp_of(state.since_us),
        seen_time=timestamp_of(state.seen_us),
        value=state.value,
        threshold=alert.threshold,
        alert_id=state.alert_id,
        about=alert.about,
    )


def _event(row: HistoryRow) -> alerts_pb2.AlertEvent:
    event = row.event
    return alerts_pb2.AlertEvent(
        event_id=event.event_id,
        alert_id=event.alert_id,
        rule=event.rule,
        transition=event.transition,
        severity=event.severity,
        time=timestamp_of(event.at_us),
        summary=event.summary,
        deliveries=map(_delivery, row.deliveries),
    )


def _delivery(row: DeliveryRow) -> alerts_pb2.AlertDelivery:
    waits = row.status is DeliveryStatus.WAITING
    return alerts_pb2.AlertDelivery(
        destination=row.destination,
        status=row.status.value,
        attempts=row.attempts,
        told=row.told,
        next_time=timestamp_of(row.next_us) if waits else None,
    )
