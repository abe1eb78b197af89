"""What decides for an application just now, or did at an older revision: fetched as a snapshot, kept in memory only."""

from __future__ import annotations

from usageflow.storage.file import Exported


def exported(application: str, *, revision: int = 0, timeout_s: float) -> Exported:
    """Returns an application's state with the policies of a revision, 0 for the one in force. Raises Failure."""
    from usageflow.cli.connection import connect
    from usageflow.cli.failure import Failure
    from usageflow.domain.errors import InvalidArgument
    from usageflow.expressions import check
    from usageflow.storage.file import decode
    from usageflow.v1.admin_pb2 import ExportSnapshotRequest

    with connect(timeout_s) as connection:
        request = ExportSnapshotRequest(application=application, revision=revision)
        answers = connection.stream_as_admin(connection.admin.ExportSnapshot, request)
        data = b"".join(answer.data for answer in answers)
    try:
        (found,) = decode(data, check)
    except InvalidArgument as error:
        raise Failure(
            f"the service's snapshot cannot be read ({error}): use a command of its version"
        ) from error
    return found
