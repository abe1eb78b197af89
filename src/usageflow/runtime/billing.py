"""Billing of the meter service: where units go, who freezes them and who sends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meter.checking import Checking
from meter.freezing import Freezer
from meter.payers import Payers
from meter.sending import Sender
from meter.sinks import Sink
from meter.sinks.cloud_events import CloudEventsSink
from meter.sinks.files import FileSink
from meter.targets import Targets
from meter.works import Works
from usageflow.domain.billing import Result
from usageflow.domain.clock import Clock
from usageflow.domain.hashing import keys_under
from usageflow.runtime.background import Background
from usageflow.runtime.billing_settings import BillingSettings
from usageflow.runtime.identifiers import new_id
from usageflow.runtime.sql_stores import SqlStores
from usageflow.runtime.telemetry import Metrics
from usageflow.runtime.webhook_http import HttpWebhookSender


@dataclass(frozen=True, slots=True)
class Billing:
    """What bills. It is there only where a destination is set."""

    sink: Sink
    freezer: Freezer
    sender: Sender
    checking: Checking

    @property
    def background(self) -> Mapping[str, Background]:
        """Returns what goes on while nobody asks."""
        return {"freezing": self.freezer, "sending": self.sender, "billing check": self.checking}

    @property
    def works(self) -> Works:
        """Returns what people's questions need of it."""
        return Works(self.sink, self.freezer, self.checking)


def build_billing(
    stores: SqlStores, clock: Clock, hash_key: bytes, settings: BillingSettings, metrics: Metrics
) -> Billing | None:
    """Wires billing; None where units are sent nowhere."""
    sink = build_sink(settings, clock, stores)
    if sink is None:
        return None
    key_of = keys_under(hash_key)

    def payers_of(application_id: str, name: str) -> Payers:
        return Payers(stores.control, stores.identities, application_id, key_of(name))

    checking = Checking(stores.control, sink)
    targets = Targets(stores.control)
    freezer = Freezer(
        stores.billing,
        targets,
        payers_of,
        sink,
        clock,
        settle_s=settings.settle_s,
        refusals=checking.refusals,
    )
    sender = Sender(stores.billing, sink, clock, new_id(clock), lease_s=settings.lease_s)
    _show(metrics, sender)
    return Billing(sink, freezer, sender, checking)


def build_sink(settings: BillingSettings, clock: Clock, stores: SqlStores) -> Sink | None:
    """Returns the destination that settings name. Its library is loaded only then: it takes a while."""
    if settings.destination == "stripe":
        from meter.stripe import build_stripe_sink

        return build_stripe_sink(
            settings.stripe_key,
            clock,
            stores.billing.installation_id,
            base=settings.stripe_api,
            rate=settings.stripe_rate,
            webhook_secret=settings.webhook_secret,
        )
    kind, _, place = settings.destination.partition(":")
    if kind == "file":
        return FileSink(Path(place))
    if kind.startswith("cloudevents+"):
        # Whoever runs the service names this address, so it may be one of their own network.
        http = HttpWebhookSender(allow_private=True)
        return CloudEventsSink(f"{kind.removeprefix('cloudevents+')}:{place}", http)
    return None


def _show(metrics: Metrics, sender: Sender) -> None:
    """Shows what became of attempts."""
    for result in Result:
        told = f"Attempts to send usage that ended {result.value}."
        name = f"usageflow.billing.attempts.{result.value.lower()}"
        metrics.show(name, "", told, _reader(sender, result))


def _reader(sender: Sender, result: Result) -> Any:
    return lambda: sender.outcomes[result.value]
