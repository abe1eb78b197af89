"""The servicer of AdminService: unpack, call, pack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import grpc.aio

from admin.alerts import Alerts
from admin.applying import Applying
from admin.auditing import Auditing
from admin.credentials import Credentials
from admin.erasing import Erasing
from admin.exporting import Exporting
from admin.handler import pack, unpack
from admin.handler.alerts import AlertMethods
from admin.handler.audit import AuditMethods
from admin.handler.decision_log import DecisionLogMethods
from admin.handler.erasing import ErasureMethods
from admin.handler.events import EventMethods
from admin.handler.inventory import InventoryMethods
from admin.handler.keys import KeyMethods, TokenMethods
from admin.handler.resources import check_message
from admin.handler.revisions import RevisionMethods
from admin.handler.status import StatusMethods
from admin.handler.usage import UsageMethods
from admin.inventory import Inventories
from admin.logged_decisions import LoggedDecisions
from admin.querying import Querying
from admin.resources import Resources
from admin.revising import Revising
from admin.status import Statuses
from admin.stored_events import StoredEvents
from usageflow.rpc.causes import cause_of
from usageflow.v1 import admin_pb2, admin_pb2_grpc

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class AdminUseCases:
    """What the methods call."""

    applying: Applying
    querying: Querying
    exporting: Exporting
    credentials: Credentials
    auditing: Auditing
    statuses: Statuses
    resources: Mapping[str, Resources]
    revising: Revising
    logged: LoggedDecisions
    inventories: Inventories
    stored_events: StoredEvents
    alerts: Alerts
    erasing: Erasing


class AdminHandler(
    AlertMethods,
    RevisionMethods,
    KeyMethods,
    TokenMethods,
    AuditMethods,
    StatusMethods,
    DecisionLogMethods,
    UsageMethods,
    InventoryMethods,
    EventMethods,
    ErasureMethods,
):
    """AdminService over its use-cases. Each family of methods is a class of its own module."""

    def __init__(self, use: AdminUseCases) -> None:
        self._applying = use.applying
        self._querying = use.querying
        self._exporting = use.exporting
        self._credentials = use.credentials
        self._auditing = use.auditing
        self._statuses = use.statuses
        self._resources = use.resources
        self._revising = use.revising
        self.logged = use.logged
        self._inventories = use.inventories
        self.stored_events = use.stored_events
        self._alerts = use.alerts
        self.erasing = use.erasing

    async def Apply(  # noqa: N802 - gRPC's spelling
        self, request: admin_pb2.ApplyRequest, context: _Context
    ) -> admin_pb2.ApplyResponse:
        """See the contract."""
        check_message(request.message)
        applied = await self._applying.apply(unpack.wanted(request), cause_of(context, "Apply"))
        return pack.apply_response(applied)

    async def ExportSnapshot(  # noqa: N802
        self, request: admin_pb2.ExportSnapshotRequest, context: _Context
    ) -> AsyncIterator[admin_pb2.ExportSnapshotResponse]:
        """See the contract."""
        snapshot = await self._exporting.export(request.application, request.revision)
        for piece in snapshot.pieces:
            yield admin_pb2.ExportSnapshotResponse(data=piece, revision=snapshot.revision)


def add_to_server(handler: AdminHandler, server: Any) -> None:
    """Serves AdminService. The handler's methods are made from tables, which no type checker follows; a test compares them."""
    admin_pb2_grpc.add_AdminServiceServicer_to_server(
        cast("admin_pb2_grpc.AdminServiceServicer", handler), server
    )
