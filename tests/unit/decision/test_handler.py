from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from decision.handler import pack, unpack
from decision.plan import build_plan
from decision.questions import Terms, question_by_name
from decision.records import record_of_event
from decision.watching import Sent
from tests.unit.decision.benches import Bench
from tests.unit.decision.reported_items import desk
from tests.unit.fakes import hashed_block, limit, policy, request, snapshot, strategy
from usageflow.domain.policies import Mode
from usageflow.v1 import common_pb2, decision_pb2, plan_pb2, usage_pb2


def test_a_described_request_is_unpacked_as_it_is() -> None:
    message = decision_pb2.HttpRequest(method="GET", path="/a", route="/{x}", client_ip="::1")
    message.path_parameters["x"] = "a"
    message.attributes.add(location=common_pb2.ATTRIBUTE_LOCATION_QUERY, name="n", value="v")
    message.attributes.add(location=common_pb2.ATTRIBUTE_LOCATION_COOKIE, name="n", value="v")
    found = unpack.http_request(message)
    assert (found.method, found.path, found.route, found.parameters, found.client_ip) == (
        "GET",
        "/a",
        "/{x}",
        {"x": "a"},
        "::1",
    )
    assert found.attributes[0] == ("query", "n", "v")
    assert found.attributes[1][0] not in {"header", "query"}


def test_terms_default_to_a_minute_and_zero_is_out_of_bounds() -> None:
    message = decision_pb2.CheckRequest(cost=3)
    assert unpack.terms(3, message) == Terms(3)
    message.reserve.SetInParent()
    assert unpack.terms(3, message) == Terms(3, 60_000_000)
    message.reserve.on_expiry = decision_pb2.RESERVATION_EXPIRY_REFUND
    message.reserve.hold.CopyFrom(Duration())
    terms = unpack.terms(3, message)
    assert terms.hold_us < 0
    assert terms.refund_on_expiry


def test_values_by_position_may_be_text_hash_or_absent() -> None:
    item = decision_pb2.CheckItem(endpoint_number=4, deadline_ms=1500)
    item.values.add(text="")
    item.values.add(hash=b"h" * 32)
    item.values.add()
    found = unpack.check_item(item)
    assert (found.endpoint, list(found.values), found.deadline_s) == (4, ["", b"h" * 32, None], 1.5)


def test_request_ids_of_64_bytes_are_taken_and_longer_ones_stay_too_long() -> None:
    fits = unpack.check_item(decision_pb2.CheckItem(request_id=b"x" * 64)).request_id
    other = unpack.check_item(decision_pb2.CheckItem(request_id=b"y" * 64)).request_id
    assert 0 < len(fits) <= 64
    assert fits != other
    assert len(unpack.check_item(decision_pb2.CheckItem(request_id=b"x" * 65)).request_id) > 64


def test_an_event_is_unpacked_and_its_payload_hashed() -> None:
    message = usage_pb2.UsageEvent(event_id="e", status=429, quantity=0)
    message.endpoint.method, message.endpoint.template = "GET", "/a"
    message.identity.value = "alice"
    message.metadata["k"] = "v"
    (event,) = unpack.report(usage_pb2.ReportRequest(events=[message])).events
    assert (event.endpoint, event.identity, event.quantity, event.time_us) == (
        ("GET", "/a"),
        "v:alice",
        0.0,
        None,
    )
    assert event.verdict.denied is None
    assert event.detail_json == '{"metadata":{"k":"v"}}'
    message.status = 200
    (other,) = unpack.report(usage_pb2.ReportRequest(events=[message])).events
    assert other.payload_hash != event.payload_hash


def test_an_unset_quantity_is_not_zero() -> None:
    (event,) = unpack.report(usage_pb2.ReportRequest(events=[usage_pb2.UsageEvent(event_id="e")])).events
    assert event.quantity is None


def test_a_count_whose_histogram_does_not_go_together_does_not_sink_the_report() -> None:
    good, bad = usage_pb2.CountBatch(batch_id="good"), usage_pb2.CountBatch(batch_id="bad")
    good.counts.add(requests=1, latency_buckets=[3], latency_counts=[1])
    bad.counts.add(requests=1, latency_buckets=[3, 4], latency_counts=[1])
    report = unpack.report(usage_pb2.ReportRequest(batches=[good, bad]))
    assert report.batches[0].counts[0].latency == ((3, 1),)
    assert report.batches[1].counts[0].latency is None


def test_events_are_made_while_they_are_read_and_their_revisions_known_before() -> None:
    message = usage_pb2.ReportRequest(
        events=[usage_pb2.UsageEvent(event_id=f"e{n}", revision=n) for n in range(3)]
    )
    message.batches.add().counts.add(revision=7)
    report = unpack.report(message)
    assert report.revisions == {0, 1, 2, 7}
    assert len(report.events) == 3
    assert [event.event_id for event in report.events] == ["e0", "e1", "e2"]
    assert next(iter(report.events)) in report.events


def test_enums_of_a_later_version_are_not_said() -> None:
    message = usage_pb2.UsageEvent(event_id="e")
    message.reason = 999  # type: ignore[assignment]
    message.decision = common_pb2.DECISION_DENY
    (event,) = unpack.report(usage_pb2.ReportRequest(events=[message])).events
    assert (event.verdict.reason, event.verdict.denied) == ("", True)


def test_an_identity_in_an_answer_comes_back_as_the_same_identity() -> None:
    for name, value in (("value", "v:a:b"), ("hash", bytes(range(32))), ("anonymous", "2001:db8::/64")):
        message = usage_pb2.UsageEvent(event_id="e", path="/plain", status=200)
        message.endpoint.method, message.endpoint.template = "GET", "/plain"
        setattr(message.identity, name, value)
        (event,) = unpack.report(usage_pb2.ReportRequest(events=[message])).events
        record = record_of_event(event, desk())
        kind = record.usage[0].identity[:2]
        assert kind == {"value": "v:", "hash": "h:", "anonymous": "a:"}[name]


async def test_a_check_is_answered_by_name() -> None:
    bench = Bench()
    state = snapshot(
        policy("p", limits=[limit(1, name="one")], message="No", strategy="s"),
        policy("trial", limits=[limit(1)], mode=Mode.SHADOW),
        strategies=[strategy("s", "X-User", on_missing="DENY")],
    )
    terms = Terms(1, 60_000_000)
    allowed = pack.check_response(await bench.one(state, request(user="u"), terms))
    assert allowed.decision == common_pb2.DECISION_ALLOW
    assert allowed.reservation.amount == 1
    assert (allowed.shadow[0].policy, allowed.shadow[0].would_deny) == ("trial", False)
    denied = pack.check_response(await bench.one(state, request(user="u")))
    assert (denied.decision, denied.reason) == (common_pb2.DECISION_DENY, common_pb2.REASON_LIMIT_EXCEEDED)
    assert denied.retry_after.seconds == 3600
    assert (denied.message, list(denied.policies), denied.identity) == ("No", ["p"], "u")
    assert (denied.limits[0].limit_name, denied.limits[0].remaining, denied.limits[0].exceeded) == (
        "one",
        0,
        True,
    )


async def test_a_check_is_answered_by_number() -> None:
    bench = Bench()
    state = snapshot(
        policy("p", limits=[limit(1)], message="No"),
        policy("trial", limits=[limit(1)], mode=Mode.SHADOW),
        blocks=[hashed_block("/blocked", reason="closed")],
    )
    numbers = {item.name: number for number, item in state.policy_numbers.items()}
    first, denied, blocked = await bench.ask(state, request(), request(), request("/blocked"))
    assert pack.check_result(first, by_name=False).policy_number == numbers["p"]
    result = pack.check_result(denied, by_name=False)
    assert (result.retry_after_us, result.message, result.cacheable) == (3_600_000_000, "", True)
    assert pack.check_result(denied, by_name=True).message == "No"
    refused = pack.check_result(blocked, by_name=False)
    assert (refused.message, refused.cacheable, refused.reason) == (
        "closed",
        False,
        common_pb2.REASON_BLOCKED,
    )


async def test_every_status_of_an_explanation_fits_the_contract() -> None:
    bench = Bench()
    state = snapshot(policy(limits=[limit(2, algorithm="TOKEN_BUCKET", burst=5)]))
    explained = await bench.engine.explain(state, question_by_name(state, request(), Terms()))
    status = pack.limit_status(explained.answer.limits[0])
    assert (status.limit, status.remaining, status.algorithm) == (5, 4, common_pb2.ALGORITHM_TOKEN_BUCKET)
    assert status.reset.seconds == 1800


def test_a_plan_is_packed_whole() -> None:
    state = snapshot(
        policy("p", "/a/b", limits=[limit(4, "1m")], fail_mode="LOCAL", strategy="by-user", message="No"),
        endpoints=[("GET", "/a/{x}"), ("GET", "/free")],
    )
    message = pack.plan_response(Sent(build_plan(state), 250_000))
    assert (message.plan_version, message.revision, message.full) == (11, 7, True)
    actions = {item.endpoint.template: item.action for item in message.endpoints}
    assert actions == {"/a/{x}": plan_pb2.PLAN_ACTION_CHECK, "/free": plan_pb2.PLAN_ACTION_REPORT}
    (checked,) = (item for item in message.endpoints if item.attributes)
    assert (checked.local.limit, checked.local.window.seconds, checked.local.share_ppm) == (4, 60, 250_000)
    assert {item.name for item in message.attributes} == {"x", "x-user"}
    assert message.policies[0].message == "No"
