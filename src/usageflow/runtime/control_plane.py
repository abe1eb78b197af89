"""The admin service over the stores that it is given."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

import structlog

from admin.applying import Applying
from admin.auditing import Auditing
from admin.credentials import Credentials
from admin.erasing import Erasing
from admin.exporting import Exporting
from admin.handler import AdminHandler, AdminUseCases
from admin.logged_decisions import LoggedDecisions
from admin.querying import Querying
from admin.resources import (
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
from admin.turns import Turns
from usageflow import expressions
from usageflow.domain.clock import Clock
from usageflow.domain.errors import Unavailable
from usageflow.domain.hashing import keys_under
from usageflow.runtime.sql_stores import SqlStores
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
    stores: SqlStores, notices: ChangeNotices, clock: Clock, hash_key: bytes
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
    logged = LoggedDecisions(control, stores.decision_log, clock)
    use_cases = AdminUseCases(
        applying=applying,
        querying=Querying(control, stores.usage, clock),
        exporting=Exporting(control, key_of),
        credentials=Credentials(stores.credentials, control, clock, secrets.token_bytes),
        auditing=Auditing(stores.audit, control, stores.credentials),
        statuses=Statuses(stores.replicas, clock),
        resources=resources,
        revising=revising,
        logged=logged,
        erasing=Erasing(control, stores.erasures, notices, key_of),
    )
    return ControlPlane(AdminHandler(use_cases), applying, revising, logged)
