"""What people ask of billing: the use-cases behind MeterService, the nightly comparison and the webhook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meter.correcting import Correcting
from meter.customers import BilledCustomers
from meter.handler import UseCases
from meter.noticing import Noticing
from meter.operating import Operating
from meter.pending import Pending
from meter.previewing import Previewing
from meter.reconciling import Reconciling
from meter.sinks import Notices
from meter.works import Works
from usageflow.domain.clock import Clock
from usageflow.domain.hashing import keys_under
from usageflow.runtime.background import Background
from usageflow.runtime.http import Webhook
from usageflow.runtime.sql_stores import SqlStores
from usageflow.runtime.telemetry import Metrics


@dataclass(frozen=True, slots=True)
class BillingDesk:
    """``background`` is empty where units are sent nowhere; ``webhook`` is None where no destination tells anything."""

    use_cases: UseCases
    background: Mapping[str, Background]
    webhook: Webhook | None = None


def build_billing_desk(
    stores: SqlStores,
    clock: Clock,
    hash_key: bytes,
    works: Works | None,
    metrics: Metrics,
    *,
    webhook_secret: bool = False,
) -> BillingDesk:
    """Wires it. ``webhook_secret`` tells whether there is one: without it nobody could tell who sends a notice."""
    key_of = keys_under(hash_key)
    billed, control = stores.billing, stores.control
    customers = BilledCustomers(control, stores.identities, key_of)
    reconciling = Reconciling(billed, control, customers, clock, works)
    use_cases = UseCases(
        Pending(control, stores.usage, stores.identities, key_of),
        Operating(billed, customers, clock, works),
        reconciling,
        Previewing(billed, control, stores.usage, customers, clock, works),
        Correcting(billed, customers, clock, works),
    )
    if works is None:
        return BillingDesk(use_cases, {})
    told = "Hours that differed between what was sent and what the destination counts, when last compared."
    metrics.show("usageflow.billing.drift", "", told, lambda: reconciling.drifted)
    webhook = None
    if webhook_secret and isinstance(works.sink, Notices):
        webhook = Noticing(billed, works.sink, reconciling, clock).take
    return BillingDesk(use_cases, {"reconciling": reconciling}, webhook)
