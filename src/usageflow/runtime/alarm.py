"""Alerts of the meter service: who looks at rules, and who sends their messages."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from meter.alerting import Alerting
from meter.delivering import Delivering
from meter.quotas import Quotas
from usageflow.domain.alert_sending import AlertSender
from usageflow.domain.clock import Clock
from usageflow.domain.hashing import keys_under
from usageflow.runtime.identifiers import new_id
from usageflow.runtime.resources import latency_boundaries
from usageflow.runtime.sql_stores import SqlStores
from usageflow.runtime.webhook_http import HttpWebhookSender


@dataclass(frozen=True, slots=True)
class Alarm:
    """What runs behind alerts."""

    alerting: Alerting
    delivering: Delivering

    async def run_for_ever(self) -> None:
        """Looks at rules and sends messages."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.alerting.run_for_ever())
            group.create_task(self.delivering.run_for_ever())


def build_sender(hash_key: bytes, *, allow_private: bool) -> AlertSender:
    """Returns what sends messages of alerts."""
    http = HttpWebhookSender(allow_private=allow_private)
    return AlertSender(http, hash_key, os.environ, allow_private=allow_private)


def build_alarm(stores: SqlStores, clock: Clock, hash_key: bytes, sender: AlertSender) -> Alarm:
    """Wires alerting."""
    quotas = Quotas(stores.control, stores.alert_readings, keys_under(hash_key))
    alerting = Alerting(
        stores.alerts,
        stores.alert_readings,
        quotas,
        clock,
        lambda: new_id(clock),
        latency_boundaries(),
    )
    return Alarm(alerting, Delivering(stores.alerts, sender, clock))
