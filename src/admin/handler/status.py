"""GetStatus: unpack, call, pack."""

from __future__ import annotations

from typing import Any

import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from admin.status import EnforcedHere, ReplicaStatus, Statuses
from usageflow.storage.replicas import Newest
from usageflow.v1 import status_pb2


class StatusMethods:
    """The methods of AdminService that tell what is in force."""

    _statuses: Statuses

    async def GetStatus(  # noqa: N802 - gRPC's spelling
        self, request: status_pb2.GetStatusRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> status_pb2.GetStatusResponse:
        """See the contract."""
        status = await self._statuses.status(request.application)
        return status_pb2.GetStatusResponse(
            applications=[_application(item) for item in status.applications],
            replicas=[_replica(item) for item in status.replicas],
        )


def _application(newest: Newest) -> status_pb2.ApplicationStatus:
    return status_pb2.ApplicationStatus(
        application=newest.name,
        revision=newest.revision,
        plan_version=newest.plan_version,
        directory_version=newest.directory_version,
        change_time=_timestamp(newest.changed_us),
    )


def _replica(status: ReplicaStatus) -> status_pb2.ReplicaStatus:
    replica = status.replica
    return status_pb2.ReplicaStatus(
        replica_id=replica.replica_id,
        host=replica.host,
        pid=replica.pid,
        address=replica.address,
        start_time=_timestamp(replica.started_us),
        age=_duration(status.age_us),
        live=status.live,
        from_cache=replica.from_cache,
        enforced=[_enforced(item) for item in status.enforced],
    )


def _enforced(here: EnforcedHere) -> status_pb2.EnforcedStatus:
    return status_pb2.EnforcedStatus(
        application=here.newest.name,
        revision=here.state.revision,
        plan_version=here.state.plan_version,
        directory_version=here.state.directory_version,
        since_time=_timestamp(here.state.since_us) if here.state.since_us else None,
        current=here.lag_us is None,
        versions_behind=here.versions_behind,
        lag=None if here.lag_us is None else _duration(here.lag_us),
    )


def _timestamp(microseconds: int) -> Timestamp:
    seconds, rest = divmod(microseconds, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def _duration(microseconds: int) -> Duration:
    seconds, rest = divmod(microseconds, 1_000_000)
    return Duration(seconds=seconds, nanos=rest * 1000)
