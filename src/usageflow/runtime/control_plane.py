"""The admin service over the stores that it is given."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

import structlog

from admin.alerts import Alerts
from admin.applying import Applying
from admin.auditing import Auditing
from admin.credentials import Credentials
from admin.erasing import Erasing
from admin.exporting import Exporting
from admin.handler import AdminHandler, AdminUseCases
from admin.inventory import Inventories
from admin.logged_decisions import LoggedDecisions
from admin.querying import Querying
from admin.resources import (
    AlertResources,
    Applications,
    Blocks,
    Customers,
    Declarations,
    DeclaredResources,
    Endpoints,
    Resources,
)
from admin.revising import PURGE_EVERY_S, Revising
from admin.status import Statuses
from admin.stored_events import StoredEvents
from admin.turns import Turns
from usageflow import expressions
from usageflow.domain.alert_sending import AlertSender
from usageflow.domain.clock import Clock
from usageflow.domain.errors import Unavailable
from usageflow.domain.hashing import keys_under
from usageflow.runtime.identifiers import new_id
from usageflow.runtime.resources import latency_boundaries
from usageflow.runtime.sql_stores import SqlStores
from usageflow.storage.alerts import AlertResource
from usageflow.storage.notices import ChangeNotices
from usageflow.storage.resources import DeclaredKind

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The admin service and what runs behind it."""

    handler: AdminHandler
    applying: Applying
    revising: Revising
    logged: LoggedDecisions
    stored_events: StoredEvents

    def drain(self) -> None:
        """Ends what is watched."""
        self.stored_events.drain()

    async def purge_for_ever(self) -> None:
        """Forgets what is old, once an hour."""
        while True:
            try:
                forgotten = await self.revising.purge() + await self.logged.purge()
                if forgotten:
                    log.info(
                        "old revisions, deleted resources and logged decisions forgotten", rows=forgotten
                    )
            except Unavailable as error:
                log.warning("nothing was forgotten: the database does not answer", error=str(error))
            await asyncio.sleep(PURGE_EVERY_S)


def build_control_plane(
    stores: SqlStores, notices: ChangeNotices, clock: Clock, hash_key: bytes, sender: AlertSender
) -> ControlPlane:
    """Wires the admin service."""
    control, store = stores.control, stores.resources
    turns, key_of = Turns(), keys_under(hash_key)
    declarations = Declarations(control, store)
    applying = Applying(control, notices, hash_key, expressions.check, turns, declarations.of)
    revising = Revising(applying, control, store, clock)
    resources: dict[str, Resources] = {
        "Customer": Customers(applying, control, store, declarations, notices, key_of, turns),
        "Block": Blocks(applying, control, store, notices, key_of, turns),
        "Endpoint": Endpoints(applying, store, notices, turns),
        "Application": Applications(control, store, notices, turns),
    }
    declared = {
        "Strategy": DeclaredKind.STRATEGY,
        "Policy": DeclaredKind.POLICY,
        "CustomerPlan": DeclaredKind.PLAN,
    }
    for title, kind in declared.items():
        resources[title] = DeclaredResources(kind, applying, declarations, store)
    rules, destinations = (
        AlertResources(
            kind,
            applying,
            control,
            stores.alerts,
            store,
            turns,
            lambda: new_id(clock),
            allow_http=sender.allow_private,
        )
        for kind in AlertResource
    )
    resources |= {"AlertRule": rules, "AlertDestination": destinations}
    alerts = Alerts(applying, stores.alerts, destinations, sender, clock, hash_key, lambda: new_id(clock))
    logged = LoggedDecisions(control, stores.decision_log, clock)
    stored_events = StoredEvents(control, stores.events, key_of, clock)
    use_cases = AdminUseCases(
        applying=applying,
        querying=Querying(control, stores.analytics, clock, key_of, latency_boundaries()),
        exporting=Exporting(control, key_of),
        credentials=Credentials(stores.credentials, control, clock, secrets.token_bytes),
        auditing=Auditing(stores.audit, control, stores.credentials),
        statuses=Statuses(stores.replicas, clock),
        resources=resources,
        revising=revising,
        logged=logged,
        inventories=Inventories(control, stores.inventory, declarations, clock),
        stored_events=stored_events,
        alerts=alerts,
        erasing=Erasing(control, stores.erasures, notices, key_of),
    )
    return ControlPlane(AdminHandler(use_cases), applying, revising, logged, stored_events)
