"""From answers to messages."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from decision.amending import ItemFault
from decision.explaining import Explanation
from decision.plan import EndpointInstruction
from decision.registering import Registered
from decision.reporting import ReportResult
from decision.watching import Sent
from usageflow.domain.decisions import Answer, Degraded, LimitOutcome, ReservationGrant, ShadowOutcome
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.identity import Identity
from usageflow.domain.policies import Mode
from usageflow.domain.snapshot import OWN, CompiledLimit, CompiledPolicy
from usageflow.v1 import common_pb2, decision_pb2, plan_pb2, usage_pb2

_WIRE_NAMES = {"jwt": "JWT_CLAIM", "context": "APP_CONTEXT"}
_ITEM_CODES = {
    "TIME_TOO_OLD": common_pb2.ITEM_CODE_OUT_OF_RANGE,
    "TIME_IN_FUTURE": common_pb2.ITEM_CODE_OUT_OF_RANGE,
    "ID_OUT_OF_RANGE": common_pb2.ITEM_CODE_OUT_OF_RANGE,
    "ID_REUSED": common_pb2.ITEM_CODE_ALREADY_EXISTS,
    "NOT_FOUND": common_pb2.ITEM_CODE_NOT_FOUND,
    "UNAVAILABLE": common_pb2.ITEM_CODE_UNAVAILABLE,
    "DEADLINE_EXCEEDED": common_pb2.ITEM_CODE_DEADLINE_EXCEEDED,
}


def check_response(answer: Answer) -> decision_pb2.CheckResponse:
    """Returns the answer by names."""
    response = decision_pb2.CheckResponse(
        decision=_decision(answer),
        reason=_reason(answer),
        identity=answer.identity.title if answer.identity else "",
        policies=[policy.name for policy in answer.policies],
        limits=[limit_status(outcome) for outcome in answer.limits],
        shadow=[_shadow(outcome) for outcome in answer.shadow],
        revision=answer.revision,
        message=answer.message,
    )
    if answer.retry_after_us is not None:
        response.retry_after.CopyFrom(_duration(answer.retry_after_us))
    if answer.degraded is not None:
        response.degraded.CopyFrom(_degraded(answer.degraded))
    if answer.reservation is not None:
        response.reservation.CopyFrom(_reservation(answer.reservation))
    response.slot_id = bytes.fromhex(answer.slot_id)
    return response


def check_result(answer: Answer, *, by_name: bool) -> decision_pb2.CheckResult:
    """Returns the answer by numbers. A policy that has none is named by its message only."""
    result = decision_pb2.CheckResult(
        decision=_decision(answer),
        reason=_reason(answer),
        policy_number=answer.decided_by.number if answer.decided_by else 0,
        limits=[_limit_state(outcome, answer.policies) for outcome in answer.limits],
        retry_after_us=answer.retry_after_us or 0,
        shadow_denials=[item.policy.number for item in answer.shadow if item.would_deny],
        message=answer.message if by_name or _own_words(answer) else "",
        cacheable=answer.repeatable,
    )
    if answer.identity is not None:
        result.identity.CopyFrom(_identity(answer.identity))
    if answer.degraded is not None:
        result.degraded.CopyFrom(_degraded(answer.degraded))
    if answer.reservation is not None:
        result.reservation.CopyFrom(_reservation(answer.reservation))
    if answer.lease is not None:
        result.lease.lease_id = bytes.fromhex(answer.lease.lease_id)
        result.lease.tokens, result.lease.life_us = answer.lease.tokens, answer.lease.life_us
    if answer.slot_id:
        result.slot_id = bytes.fromhex(answer.slot_id)
    return result


def failed_item(error: InvalidArgument) -> decision_pb2.CheckResult:
    """Returns the result of an item that was not decided."""
    return decision_pb2.CheckResult(status=item_status(error.faults[0]))


def item_status(fault: Fault) -> common_pb2.ItemStatus:
    """Returns why an item was not carried out."""
    return common_pb2.ItemStatus(
        code=_ITEM_CODES.get(fault.reason, common_pb2.ITEM_CODE_INVALID_ARGUMENT),
        reason=fault.reason,
        field=fault.field,
        message=fault.message,
        fix=fault.fix,
    )


def report_response(result: ReportResult) -> usage_pb2.ReportResponse:
    """Returns what became of a report."""
    return usage_pb2.ReportResponse(
        accepted=result.accepted,
        duplicates=result.duplicates,
        errors=[item_error(item) for item in result.faults],
    )


def item_error(item: ItemFault) -> usage_pb2.ItemError:
    """Returns why an item was not carried out."""
    kind = usage_pb2.ReportItemKind.Value(f"REPORT_ITEM_KIND_{item.kind}")
    return usage_pb2.ItemError(
        kind=kind, index=item.index, id=item.item_id[:128], status=item_status(item.fault)
    )


def register_response(results: Iterable[Registered]) -> plan_pb2.RegisterEndpointsResponse:
    """Returns the numbers of routes."""
    response = plan_pb2.RegisterEndpointsResponse()
    for item in results:
        added = response.endpoints.add(number=item.number)
        if item.endpoint is not None:
            added.endpoint.method, added.endpoint.template = item.endpoint.method, item.endpoint.template
        if item.fault is not None:
            added.status.CopyFrom(item_status(item.fault))
    return response


def plan_response(sent: Sent) -> plan_pb2.WatchPlanResponse:
    """Returns the whole plan."""
    plan, snapshot = sent.plan, sent.plan.snapshot
    return plan_pb2.WatchPlanResponse(
        plan_version=snapshot.plan_version,
        revision=snapshot.revision,
        full=True,
        endpoints=[_endpoint_plan(item, sent.share_ppm) for item in plan.instructions.values()],
        attributes=[
            plan_pb2.PlanAttribute(
                number=item.number,
                location=common_pb2.AttributeLocation.Value(
                    f"ATTRIBUTE_LOCATION_{_WIRE_NAMES.get(item.key[0], item.key[0].upper())}"
                ),
                name=item.key[1],
                sensitive=item.sensitive,
            )
            for item in plan.attributes
        ],
        policies=[_plan_policy(policy) for policy in snapshot.policies],
        hash_key=snapshot.hash_key,
        hash_key_version=1,
        capture=plan_pb2.CaptureLevel.Value(f"CAPTURE_LEVEL_{snapshot.capture}"),
    )


def _endpoint_plan(item: EndpointInstruction, share_ppm: int) -> plan_pb2.EndpointPlan:
    message = plan_pb2.EndpointPlan(
        number=item.number,
        endpoint=common_pb2.Endpoint(method=item.endpoint.method, template=item.endpoint.template),
        action=plan_pb2.PLAN_ACTION_CHECK if item.check else plan_pb2.PLAN_ACTION_REPORT,
        attributes=item.attributes,
        fail_mode=common_pb2.FailMode.Value(f"FAIL_MODE_{item.fail_mode}"),
        capture_fields=[plan_pb2.CaptureField(path=path) for path in item.capture_fields],
        event_required=item.event_required,
        lease_life_ms=item.lease_life_us // 1_000,
        lease_epoch=item.lease_epoch,
    )
    if item.local is not None:
        message.local.CopyFrom(
            plan_pb2.LocalFallback(limit=item.local[0], window=_duration(item.local[1]), share_ppm=share_ppm)
        )
    return message


def _plan_policy(policy: CompiledPolicy) -> plan_pb2.PlanPolicy:
    return plan_pb2.PlanPolicy(
        number=policy.number,
        name=policy.name,
        limits=[_plan_limit(limit) for limit in policy.limits],
        message=policy.policy.message,
    )


def _plan_limit(limit: CompiledLimit) -> plan_pb2.PlanLimit:
    return plan_pb2.PlanLimit(
        name=limit.name,
        algorithm=common_pb2.Algorithm.Value(f"ALGORITHM_{limit.rule.algorithm}"),
        limit=limit.rule.capacity,
        window=_duration(limit.rule.window_us),
    )


def status_head(limit: CompiledLimit, cost: int) -> common_pb2.LimitStatus:
    """Returns which limit a status is about, and nothing of where it stands. Its window has one length."""
    return common_pb2.LimitStatus(
        policy=limit.policy,
        limit_name=limit.name,
        algorithm=common_pb2.Algorithm.Value(f"ALGORITHM_{limit.rule.algorithm}"),
        limit=limit.rule.capacity,
        window=_duration(limit.rule.window_us),
        cost=cost,
    )


def limit_status(outcome: LimitOutcome) -> common_pb2.LimitStatus:
    """Returns where a limit stands."""
    status = status_head(outcome.limit, outcome.cost)
    status.window.CopyFrom(_duration(outcome.window_us))
    status.remaining = outcome.standing.remaining
    status.reset.CopyFrom(_duration(outcome.reset_us))
    status.exceeded = outcome.exceeded
    return status


def explain_response(explanation: Explanation) -> decision_pb2.ExplainResponse:
    """Returns how a request would be decided."""
    explained = explanation.explained
    answer = check_response(explained.answer)
    del answer.limits[:]
    return decision_pb2.ExplainResponse(
        answer=answer,
        policies=[
            decision_pb2.PolicyExplanation(
                policy=item.name, applies=item.applies, because=item.because, mode=_mode(item.mode)
            )
            for item in explanation.policies
        ],
        identity_source=explanation.identity_source,
        limits=[
            decision_pb2.LimitExplanation(
                after=limit_status(outcome), remaining_before=before, source=outcome.limit.source
            )
            for outcome, before in zip(explained.answer.limits, explained.before, strict=True)
        ],
        matched_path=explanation.matched_path,
    )


def _mode(mode: Mode) -> common_pb2.PolicyMode.ValueType:
    return common_pb2.PolicyMode.Value(f"POLICY_MODE_{mode}")


def _decision(answer: Answer) -> common_pb2.Decision.ValueType:
    return common_pb2.DECISION_ALLOW if answer.allowed else common_pb2.DECISION_DENY


def _reason(answer: Answer) -> common_pb2.Reason.ValueType:
    return common_pb2.Reason.Value(f"REASON_{answer.reason}")


def _own_words(answer: Answer) -> bool:
    """Tells whether the message is not the one that a plan names for the deciding policy."""
    return answer.decided_by is None or answer.message != answer.decided_by.policy.message


def limit_head(limit: CompiledLimit, policies: Iterable[CompiledPolicy]) -> decision_pb2.LimitState:
    """Returns which limit a state is about, and how high it is where that is not the plan's; nothing of the state."""
    number = next((policy.number for policy in policies if policy.name == limit.policy), 0)
    shown = limit.rule.capacity if limit.source != OWN else 0
    return decision_pb2.LimitState(policy_number=number, limit_index=limit.index, limit=shown)


def _limit_state(outcome: LimitOutcome, policies: Iterable[CompiledPolicy]) -> decision_pb2.LimitState:
    state = limit_head(outcome.limit, policies)
    state.remaining = outcome.standing.remaining
    state.reset_us = outcome.reset_us
    state.exceeded = outcome.exceeded
    state.window_us = outcome.standing.window_us
    return state


def _identity(identity: Identity) -> common_pb2.Identity:
    kind, _, rest = identity.key.partition(":")
    if kind == "h":
        return common_pb2.Identity(hash=bytes.fromhex(rest))
    return common_pb2.Identity(value=rest) if kind == "v" else common_pb2.Identity(anonymous=rest)


def _shadow(outcome: ShadowOutcome) -> common_pb2.ShadowVerdict:
    return common_pb2.ShadowVerdict(
        policy=outcome.policy.name, would_deny=outcome.would_deny, limit_names=outcome.limits
    )


def _degraded(degraded: Degraded) -> common_pb2.Degraded:
    return common_pb2.Degraded(
        reason=common_pb2.DegradedReason.Value(f"DEGRADED_REASON_{degraded.reason}"),
        fail_mode=common_pb2.FailMode.Value(f"FAIL_MODE_{degraded.fail_mode}"),
    )


def _reservation(grant: ReservationGrant) -> decision_pb2.Reservation:
    expire_time = Timestamp()
    expire_time.FromMicroseconds(grant.expires_us)
    return decision_pb2.Reservation(
        reservation_id=grant.reservation_id, amount=grant.amount, expire_time=expire_time
    )


def _duration(microseconds: int) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(microseconds)
    return duration
