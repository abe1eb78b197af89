"""The methods of revisions: unpack, call, pack."""

from __future__ import annotations

from typing import Any

import grpc.aio
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

from admin.handler import pack
from admin.handler.resources import write_of
from admin.resources import Write
from admin.revising import Compared, Held, Revising
from usageflow.domain.differences import Difference
from usageflow.messages import plan_message, policy_message, strategy_message, timestamp_of
from usageflow.rpc.causes import cause_of
from usageflow.storage.resources import RevisionRow
from usageflow.v1 import revisions_pb2

_Context = grpc.aio.ServicerContext[Any, Any]


class RevisionMethods:
    """Lists, shows, compares, tags and goes back to revisions."""

    _revising: Revising

    async def ListRevisions(  # noqa: N802 - gRPC's spelling
        self, request: revisions_pb2.ListRevisionsRequest, context: _Context
    ) -> revisions_pb2.ListRevisionsResponse:
        """See the contract."""
        rows, current, token = await self._revising.list(
            request.application, size=request.page_size, token=request.page_token
        )
        revisions = [_revision(row, current=row.revision == current) for row in rows]
        return revisions_pb2.ListRevisionsResponse(revisions=revisions, next_page_token=token)

    async def GetRevision(  # noqa: N802
        self, request: revisions_pb2.GetRevisionRequest, context: _Context
    ) -> revisions_pb2.GetRevisionResponse:
        """See the contract."""
        return _held(await self._revising.get(request.application, request.revision))

    async def DiffRevisions(  # noqa: N802
        self, request: revisions_pb2.DiffRevisionsRequest, context: _Context
    ) -> revisions_pb2.DiffRevisionsResponse:
        """See the contract."""
        return _compared(
            await self._revising.diff(request.application, request.from_revision, request.to_revision)
        )

    async def RollBack(  # noqa: N802
        self, request: revisions_pb2.RollBackRequest, context: _Context
    ) -> revisions_pb2.RollBackResponse:
        """See the contract."""
        write = write_of(request, context, "RollBack")
        applied = await self._revising.roll_back(request.application, request.revision, write)
        return revisions_pb2.RollBackResponse(
            revision=applied.revision, changes=[pack.change(each) for each in applied.changes]
        )

    async def TagRevision(  # noqa: N802
        self, request: revisions_pb2.TagRevisionRequest, context: _Context
    ) -> revisions_pb2.Revision:
        """See the contract."""
        write = Write(cause_of(context, "TagRevision"))
        row, current = await self._revising.tag(request.application, request.revision, request.tag, write)
        return _revision(row, current=current)

    async def DeleteTag(  # noqa: N802
        self, request: revisions_pb2.DeleteTagRequest, context: _Context
    ) -> revisions_pb2.Revision:
        """See the contract."""
        write = Write(cause_of(context, "DeleteTag"))
        row, current = await self._revising.untag(request.application, request.tag, write)
        return _revision(row, current=current)


def _revision(row: RevisionRow, *, current: bool) -> revisions_pb2.Revision:
    return revisions_pb2.Revision(
        revision=row.revision,
        create_time=timestamp_of(row.created_us),
        author=row.author,
        author_id=row.author_id,
        message=row.message,
        tags=row.tags,
        current=current,
    )


def _held(held: Held) -> revisions_pb2.GetRevisionResponse:
    return revisions_pb2.GetRevisionResponse(
        revision=_revision(held.row, current=held.current),
        strategies=[strategy_message(each) for each in held.policies.strategies],
        policies=[policy_message(each) for each in held.policies.policies],
        plans=[plan_message(each) for each in held.policies.plans],
    )


def _compared(compared: Compared) -> revisions_pb2.DiffRevisionsResponse:
    return revisions_pb2.DiffRevisionsResponse(
        from_revision=compared.before,
        to_revision=compared.after,
        differences=[_difference(each) for each in compared.differences],
    )


def _difference(difference: Difference) -> revisions_pb2.ResourceDifference:
    return revisions_pb2.ResourceDifference(
        action=pack.action(difference.action),
        kind=difference.kind,
        name=difference.name,
        fields=[
            revisions_pb2.FieldDifference(
                path=each.path, before=_value(each.before), after=_value(each.after)
            )
            for each in difference.fields
        ],
    )


def _value(value: Any) -> Value | None:
    return None if value is None else json_format.ParseDict(value, Value())
