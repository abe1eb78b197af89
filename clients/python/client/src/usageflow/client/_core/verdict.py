"""What was decided for one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from usageflow.client._core.slots import Slot
from usageflow.v1 import common_pb2 as common


class LimitView(NamedTuple):
    """The state of one limit, with everything that its headers need. A tuple, since one is made per limit and request."""

    policy: str
    limit_name: str
    algorithm: int
    limit: int
    window_us: int
    remaining: int
    reset_us: int
    exceeded: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, by the service or by a fail mode."""

    decision: common.Decision.ValueType
    reason: common.Reason.ValueType = common.REASON_UNSPECIFIED
    limits: tuple[LimitView, ...] = ()
    retry_after_us: int = 0
    """Microseconds until this cost fits; 0 for none."""
    identity: common.Identity | None = None
    policy_number: int = 0
    revision: int = 0
    degraded: common.Degraded | None = None
    message: str = ""
    """The deciding policy's own text; empty for the default."""
    invalid_request: bool = False
    """True where the request's path cannot be understood, so that nothing was decided: HTTP 400."""
    slot: Slot | None = None
    """What the request holds while it runs, where a CONCURRENCY limit admitted it; a leased one holds none."""

    @property
    def allowed(self) -> bool:
        """True where the request may run."""
        return self.decision == common.DECISION_ALLOW

    def later(self, age_us: int, spare_units: int = 0) -> Verdict:
        """Returns it as it stands `age_us` after it was answered: times have run down, never below 0, and `spare_units` are left
        beyond what the limits say.
        """
        limits = tuple(
            [
                LimitView(
                    name,
                    limit_name,
                    kind,
                    most,
                    window_us,
                    left + spare_units,
                    max(reset_us - age_us, 0),
                    full,
                )
                for name, limit_name, kind, most, window_us, left, reset_us, full in self.limits
            ]
        )
        # Every request that a token pays for comes here: dataclasses.replace would take twice the time.
        return Verdict(
            self.decision,
            self.reason,
            limits,
            max(self.retry_after_us - age_us, 0),
            self.identity,
            self.policy_number,
            self.revision,
            self.degraded,
            self.message,
            self.invalid_request,
        )


NOT_ASKED = Verdict(common.DECISION_ALLOW)
"""For endpoints that need no check: allowed, and the service finds out the rest from the event."""

INVALID_REQUEST = Verdict(common.DECISION_DENY, invalid_request=True)
"""For requests whose path cannot be understood."""


def failed(
    fail_mode: common.FailMode.ValueType,
    why: common.DegradedReason.ValueType,
    *,
    wait_s: float = 0.0,
    revision: int = 0,
) -> Verdict:
    """Returns what a fail mode decides.

    `fail_mode` is OPEN (allow), CLOSED (deny) or LOCAL: then `wait_s` is 0.0 where the local bucket had room, else the
    seconds until it will; a bucket without room is a limit that is exceeded, as it is at the service.
    """
    denies = fail_mode == common.FAIL_MODE_CLOSED or wait_s > 0
    return Verdict(
        common.DECISION_DENY if denies else common.DECISION_ALLOW,
        common.REASON_LIMIT_EXCEEDED if wait_s > 0 else common.REASON_FAIL_MODE,
        retry_after_us=int(wait_s * 1e6),
        revision=revision,
        degraded=common.Degraded(reason=why, fail_mode=fail_mode),
    )
