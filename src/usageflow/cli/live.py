"""What decides for an application just now, or did at an older revision: fetched, kept in memory only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # heavy to import
    from usageflow.domain.policies import PolicySet
    from usageflow.storage.file import Exported
    from usageflow.v1.revisions_pb2 import GetRevisionResponse


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


def live_policies(application: str, *, revision: str = "", timeout_s: float) -> PolicySet:
    """Returns what a revision (a number, a tag, "" for the one in force) declares. Raises Failure."""
    from usageflow.cli.connection import connect
    from usageflow.v1.revisions_pb2 import GetRevisionRequest

    with connect(timeout_s) as connection:
        request = GetRevisionRequest(application=application, revision=revision)
        return policies_of(connection.as_admin(connection.admin.GetRevision, request))


def policies_of(response: GetRevisionResponse) -> PolicySet:
    """Returns what an answer of GetRevision declares."""
    from usageflow.domain.policies import CustomerPlan, Policy, PolicySet, Strategy
    from usageflow.messages import plan_fields, policy_fields, strategy_fields

    return PolicySet(
        strategies=tuple(Strategy.model_validate(strategy_fields(each)) for each in response.strategies),
        policies=tuple(Policy.model_validate(policy_fields(each)) for each in response.policies),
        plans=tuple(CustomerPlan.model_validate(plan_fields(each)) for each in response.plans),
    )
