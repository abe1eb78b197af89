"""From reported usage to records of the store: clocks, endpoints, money. Pure.

Every refusal is an InvalidArgument whose faults name the field of the item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from decision.bounds import (
    check_count,
    check_event,
    check_identity,
    check_status,
    check_verdict,
    day,
    histogram_of,
    quantity_of,
    second_in_range,
    units_of,
)
from decision.plan import Plan
from decision.questions import endpoint_of
from decision.reported import EndpointRef, ReportedBatch, ReportedCount, ReportedEvent, Verdict
from decision.terms import held
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.latency import bucket_of
from usageflow.domain.routes import parameters_of
from usageflow.domain.snapshot import CompiledPolicy, Snapshot
from usageflow.domain.templates import UNMATCHED, canonical_template
from usageflow.domain.units import units_of_quantity
from usageflow.domain.usage import EndpointName, MeteringDelta, StoredEvent, UsageDelta, UsageRecord

CLOCK_TOLERANCE_US = 30_000_000


@dataclass(frozen=True, slots=True)
class Desk:
    """What reports of one call are read with. ``offset_us`` is added to the reporter's clock; ``revisions`` holds the
    snapshot of each older revision that the call names, ``boundaries`` the latency buckets (spec/vectors/latency).
    """

    plan: Plan
    now_us: int
    offset_us: int
    revisions: Mapping[int, Snapshot]
    boundaries: Sequence[int]

    @property
    def snapshot(self) -> Snapshot:
        """Returns the snapshot in force."""
        return self.plan.snapshot

    def deciding(self, revision: int) -> Snapshot:
        """Returns the snapshot of the revision that decided."""
        return self.revisions.get(revision, self.snapshot)


def clock_offset(now_us: int, sent_at_us: int | None) -> int:
    """Returns what to add to a reporter's times: offsets of 30 s and less are left alone."""
    if sent_at_us is None or abs(now_us - sent_at_us) <= CLOCK_TOLERANCE_US:
        return 0
    return now_us - sent_at_us


def record_of_event(event: ReportedEvent, desk: Desk) -> UsageRecord:
    """Returns the record of an event. Raises InvalidArgument."""
    id_day = day("event_id", event.event_id, desk.now_us)
    time_us = desk.now_us if event.time_us is None else event.time_us + desk.offset_us
    second = second_in_range("time", time_us // 1_000_000, desk.now_us)
    check_event(event)
    quantity = quantity_of(event.quantity)
    latency = ((bucket_of(event.latency_us, desk.boundaries), 1),)
    usage, matched = _delta(event, desk, event.path, second, 1, units_of_quantity(quantity), latency)
    stored = StoredEvent(
        event_id=event.event_id,
        time_us=time_us,
        endpoint=usage.endpoint,
        path=event.path,
        identity=usage.identity,
        status=event.status,
        latency_us=event.latency_us,
        quantity=quantity,
        denied=usage.denied,
        reason=event.verdict.reason,
        detail_json=event.detail_json,
    )
    if event.counted:  # a count batch holds this request already
        return UsageRecord(event.event_id, id_day, event.payload_hash, (), (), stored)
    metering = tuple(_metering(matched, usage))
    return UsageRecord(event.event_id, id_day, event.payload_hash, (usage,), metering, stored)


def record_of_batch(batch: ReportedBatch, desk: Desk) -> UsageRecord:
    """Returns the record of a count batch. Raises InvalidArgument with the count's index in the field."""
    id_day = day("batch_id", batch.batch_id, desk.now_us)
    usage: list[UsageDelta] = []
    metering: list[MeteringDelta] = []
    for index, count in enumerate(batch.counts):
        try:
            delta, matched = _delta_of_count(count, desk)
        except InvalidArgument as error:
            raise InvalidArgument([fault.under(f"counts[{index}]") for fault in error.faults]) from None
        usage.append(delta)
        metering += _metering(matched, delta)
    return UsageRecord(batch.batch_id, id_day, batch.payload_hash, tuple(usage), tuple(metering))


def _delta_of_count(count: ReportedCount, desk: Desk) -> tuple[UsageDelta, Sequence[CompiledPolicy]]:
    second = second_in_range("second", count.second + desk.offset_us // 1_000_000, desk.now_us)
    check_count(count)
    return _delta(count, desk, "", second, count.requests, units_of(count), histogram_of(count))


def _delta(
    item: ReportedEvent | ReportedCount,
    desk: Desk,
    path: str,
    second: int,
    requests: int,
    units: Decimal,
    latency: tuple[tuple[int, int], ...],
) -> tuple[UsageDelta, Sequence[CompiledPolicy]]:
    """Returns what an event or a count adds, and the policies that it matched and that are enforced for this identity."""
    check_status(item.status)
    endpoint = _endpoint(item.endpoint, path, desk)
    check_verdict(item.verdict)
    check_identity(item.identity)
    route = endpoint.template if isinstance(item.endpoint, int) else item.endpoint[1]
    matched = _matched(endpoint.method, route, path, desk.deciding(item.verdict.revision))
    denied = _denied(item.verdict, item.status)
    identity = _kept_identity(item.identity, matched, desk.snapshot.hash_key)
    named = desk.snapshot.policy_numbers.get(item.verdict.policy_number)
    matched = held(matched, endpoint, path, routed=bool(route), named=named.name if named else "")
    delta = UsageDelta(
        endpoint=endpoint,
        identity=identity,
        status=item.status,
        denied=denied,
        reason=item.verdict.reason,
        degraded=item.verdict.degraded,
        policy=_policy_name(item.verdict, matched, desk),
        revision=item.verdict.revision or desk.snapshot.revision,
        second=second,
        requests=requests,
        units=Decimal(0) if denied else units,
        request_bytes=item.request_bytes,
        response_bytes=item.response_bytes,
        latency=latency,
    )
    return delta, [policy for policy in matched if _enforced_for(policy, identity)]


def _enforced_for(policy: CompiledPolicy, identity: str) -> bool:
    """Tells whether a policy counts for a reported identity; without a strategy all callers are one."""
    return policy.side(identity if policy.strategy is not None else "").enforced


def _endpoint(ref: EndpointRef, path: str, desk: Desk) -> EndpointName:
    if isinstance(ref, int):
        found = desk.snapshot.endpoints.get(ref)
        if found is None:
            raise InvalidArgument.of(
                "endpoint_number", f"there is no endpoint {ref}", "send the endpoint by name"
            )
        return found
    method, template = ref
    if template:
        return endpoint_of(method, template)
    endpoint_of(method, UNMATCHED)
    if not path:
        raise InvalidArgument.of("endpoint.template", "is empty and there is no path", "send one of them")
    return desk.snapshot.name_of_path(method.upper(), path)


def _denied(verdict: Verdict, status: int) -> bool:
    return status == 429 if verdict.denied is None else verdict.denied


def _matched(method: str, route: str, path: str, snapshot: Snapshot) -> Sequence[CompiledPolicy]:
    """Returns the enforced policies that match what was decided on: the route with its values, else the raw path."""
    # `*` and `http://...` are targets too, which no pattern takes apart.
    raw = path if path.startswith("/") else ""
    template = canonical_template(route) if route else UNMATCHED
    matched = snapshot.policies_of_route(EndpointName(method, template))
    if matched is None:
        parameters = parameters_of(template, raw) if template != UNMATCHED else {}
        matched = snapshot.trie.lookup_request(method, template, parameters, raw)
    return [policy for policy in matched if policy.enforced]


def _kept_identity(identity: str, matched: Sequence[CompiledPolicy], hash_key: bytes) -> str:
    """Returns the identity's key as it is stored: where a strategy reads credentials too, a raw value may be one.

    Customers and blocks are found by hash as well, so hashing a plain name there costs its display only.
    """
    secret = any(policy.strategy.reads_secrets for policy in _may_have_resolved(matched) if policy.strategy)
    if not secret or not identity.startswith("v:"):
        return identity
    return f"h:{keyed_hash(hash_key, identity.removeprefix('v:')).hex()}"


def _may_have_resolved(matched: Sequence[CompiledPolicy]) -> Iterator[CompiledPolicy]:
    """Yields the policies whose strategy may have found the identity: the first with one, and those with conditions before."""
    for policy in matched:
        if policy.strategy is not None:
            yield policy
            if policy.condition is None:
                return


def _policy_name(verdict: Verdict, matched: Sequence[CompiledPolicy], desk: Desk) -> str:
    named = desk.snapshot.policy_numbers.get(verdict.policy_number)
    if named is not None:
        return named.name
    return matched[0].name if matched else ""


def _metering(matched: Sequence[CompiledPolicy], usage: UsageDelta) -> Iterable[MeteringDelta]:
    """Yields one delta per billing target: the most specific policy that meters to it counts. Denials bill nothing."""
    if usage.denied:
        return
    billed: set[str] = set()
    for policy in matched:
        metering = policy.policy.metering
        if metering is None or metering.price in billed:
            continue
        billed.add(metering.price)
        yield MeteringDelta(
            endpoint=usage.endpoint,
            identity=usage.identity,
            policy=policy.name,
            price=metering.price,
            revision=usage.revision,
            second=usage.second,
            requests=usage.requests,
            units=usage.units,
        )
