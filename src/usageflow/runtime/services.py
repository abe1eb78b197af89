"""Which services a process offers over a database, and the gRPC servers that they are on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from admin.handler import add_to_server
from meter.compacting import Compactor, Progress
from meter.handler import MeterHandler
from meter.retention import Retention
from meter.upkeep import Upkeep
from usageflow.domain.clock import Clock
from usageflow.rpc.authentication import Attempts, Authenticator
from usageflow.rpc.interceptor import CallPolicy, ServiceInterceptor
from usageflow.rpc.last_used import Uses
from usageflow.rpc.server import (
    ADMIN,
    DECISION,
    METER,
    RpcServer,
    ServerOptions,
    build_server,
    credentials_needed,
)
from usageflow.runtime.alarm import build_alarm, build_sender
from usageflow.runtime.background import Background
from usageflow.runtime.billing import build_billing
from usageflow.runtime.billing_desk import build_billing_desk
from usageflow.runtime.billing_settings import BillingSettings
from usageflow.runtime.control_plane import ControlPlane, build_control_plane
from usageflow.runtime.http import Webhook
from usageflow.runtime.sql_stores import SqlStores
from usageflow.runtime.telemetry import Metrics
from usageflow.storage.notices import ChangeNotices
from usageflow.storage.ports import CredentialSource
from usageflow.v1 import meter_pb2_grpc


class Role(StrEnum):
    """A service that a process may offer."""

    DECISION = "decision"
    ADMIN = "admin"
    METER = "meter"


ALL = frozenset(Role)

FOLDED_AT_ONCE = 5_000
"""Deltas per transaction, where several write at once."""

NO_BILLING = BillingSettings()

_NAMES = {Role.DECISION: DECISION, Role.ADMIN: ADMIN, Role.METER: METER}


@dataclass(frozen=True, slots=True)
class Office:
    """Administration and metering, ready to be served."""

    plane: ControlPlane
    meter: MeterHandler
    background: Mapping[str, Background]
    webhook: Webhook | None = None

    def serve_on(self, rpc: RpcServer, roles: Iterable[Role]) -> None:
        """Adds those of these services to a server."""
        if Role.ADMIN in roles:
            add_to_server(self.plane.handler, rpc.handlers)
        if Role.METER in roles:
            meter_pb2_grpc.add_MeterServiceServicer_to_server(self.meter, rpc.handlers)


def build_office(
    stores: SqlStores,
    notices: ChangeNotices,
    hash_key: bytes,
    clock: Clock,
    metrics: Metrics,
    *,
    webhook_private: bool = False,
    folded_at_once: int = FOLDED_AT_ONCE,
    billing: BillingSettings = NO_BILLING,
) -> Office:
    """Wires administration and metering."""
    sender = build_sender(hash_key, allow_private=webhook_private)
    plane = build_control_plane(stores, notices, clock, hash_key, sender)
    compactor = Compactor(stores.analytics, clock, folded_at_once)
    show_folding(metrics, compactor.progress)
    background: dict[str, Background] = {
        "compactor": compactor,
        "alerts": build_alarm(stores, clock, hash_key, sender),
        "retention": Retention(stores.retention, stores.billing, clock),
        "upkeep": Upkeep(stores.upkeep, clock),
    }
    bills = build_billing(stores, clock, hash_key, billing, metrics)
    background |= bills.background if bills is not None else {}
    desk = build_billing_desk(
        stores,
        clock,
        hash_key,
        bills.works if bills is not None else None,
        metrics,
        webhook_secret=bool(billing.webhook_secret),
    )
    background |= desk.background
    return Office(plane, MeterHandler(desk.use_cases), background, desk.webhook)


def show_folding(metrics: Metrics, progress: Progress) -> None:
    """Shows how far folding has come."""
    metrics.show("usageflow.usage.folded", "", "Deltas that were folded into sums.", lambda: progress.folded)
    waiting = "Deltas that are in no sum yet, counted to 100,000; questions see them all the same."
    metrics.show("usageflow.usage.waiting", "", waiting, lambda: progress.waiting)
    oldest = "Since the requests of the oldest of them."
    metrics.show("usageflow.usage.oldest_age", "s", oldest, lambda: progress.oldest_age_s)


def build_rpc(
    roles: Iterable[Role],
    credentials: CredentialSource,
    clock: Clock,
    metrics: Metrics,
    options: ServerOptions,
    uses: Uses,
) -> RpcServer:
    """Returns a server for these services, which are yet to be added. ``uses`` takes note of credentials that open something."""
    policy = CallPolicy(credentials_needed())
    attempts = Attempts(uses, failures=metrics.credential_failures)
    interceptor = ServiceInterceptor(Authenticator(credentials, clock, attempts), policy, metrics.call_times)
    return build_server(interceptor, [_NAMES[role] for role in sorted(roles)], options)
