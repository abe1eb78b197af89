"""The methods of the audit log: unpack, call, pack."""

from __future__ import annotations

from typing import Any

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from admin.auditing import AuditFilter, Auditing
from usageflow.domain.errors import InvalidArgument
from usageflow.storage.audit import AuditRow
from usageflow.v1 import audit_pb2

_Context = grpc.aio.ServicerContext[Any, Any]
_YEAR_10000_S = 253_402_300_800


class AuditMethods:
    """Reads the audit log."""

    _auditing: Auditing

    async def ListAuditEntries(  # noqa: N802 - gRPC's spelling
        self, request: audit_pb2.ListAuditEntriesRequest, context: _Context
    ) -> audit_pb2.ListAuditEntriesResponse:
        """See the contract."""
        page = await self._auditing.list(_filter(request), request.page_size, request.page_token)
        return audit_pb2.ListAuditEntriesResponse(
            entries=[_entry(row) for row in page.rows],
            next_page_token=page.next_token,
            head_sequence=page.head.sequence,
            head_digest=page.head.digest,
        )


def _filter(request: audit_pb2.ListAuditEntriesRequest) -> AuditFilter:
    start, end = request.HasField("start_time"), request.HasField("end_time")
    return AuditFilter(
        request.application,
        request.actor,
        request.kind,
        _instant("start_time", request.start_time) if start else None,
        _instant("end_time", request.end_time) if end else None,
    )


def _instant(field: str, time: Timestamp) -> int:
    if not 0 <= time.seconds < _YEAR_10000_S:
        raise InvalidArgument.of(field, "is not an instant of 1970 to 9999", "send one that is, or none")
    return time.seconds * 1_000_000 + time.nanos // 1000


def _entry(row: AuditRow) -> audit_pb2.AuditEntry:
    entry = row.link.entry
    return audit_pb2.AuditEntry(
        sequence=entry.sequence,
        at_us=entry.at_us,
        actor_id=entry.actor_id,
        peer=entry.peer,
        method=entry.method,
        application_id=entry.application_id,
        action=entry.action,
        kind=entry.kind,
        resource_id=entry.resource_id,
        revision=entry.revision,
        request_id=entry.request_id,
        digest=row.link.digest,
        actor=row.actor_name,
        application=row.application,
    )
