"""Answers that are written by hand are the bytes' meaning of those that protobuf writes."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.batching import Batching
from decision.checking import Checking
from decision.engine import Engine
from decision.handler import pack, unpack
from decision.handler.frames import BatchCheckFrames, BatchResultFrames, varint
from decision.handler.slim import response_frame, result_frame
from decision.memo import Memo, Ready
from decision.plan import Plan, build_plan
from decision.snapshots import SnapshotRegistry
from tests.unit.decision.benches import USER, Bench
from tests.unit.fakes import (
    KEY_OF,
    FakeControl,
    customer,
    limit,
    policy,
    resilient,
    snapshot,
    steady,
    strategy,
)
from usageflow.domain.credentials import CredentialKind
from usageflow.domain.decisions import Answer
from usageflow.domain.errors import InvalidArgument, PermissionDenied
from usageflow.domain.policies import Algorithm, Mode
from usageflow.rpc.principal import Principal
from usageflow.runtime.telemetry import set_up_metrics
from usageflow.storage.notices import LocalNotices
from usageflow.v1 import common_pb2, decision_pb2, usage_pb2


def plan() -> Plan:
    state = snapshot(
        policy("two", "/a/*", limits=[limit(3, name="x"), limit(9, name="y")], message="slow down", **USER),
        policy("none", "/free"),
        policy("shaded", "/s", limits=[limit(3)], **USER),
        policy("shade", "/s", limits=[limit(1)], mode=Mode.SHADOW, **USER),
        policy("many", "/c", limits=[limit(1, algorithm=Algorithm.CONCURRENCY)], **USER),
        endpoints=[("GET", "/a/{id}")],
    )
    return build_plan(state)


def named(path: str, user: str = "u", **fields: object) -> bytes:
    item = decision_pb2.CheckItem(**fields)  # type: ignore[arg-type]
    item.request.method, item.request.path = "GET", path
    item.request.attributes.add(location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="X-User", value=user)
    return item.SerializeToString()


CALLER = Principal(CredentialKind.API_KEY, "app-1", "uf_test_abcd")


def batching(bench: Bench, asked: Plan | None = None) -> Batching:
    snapshots = SnapshotRegistry(FakeControl(), LocalNotices(), KEY_OF)
    if asked is not None:
        snapshots._plans["app-1"] = asked
    metrics = set_up_metrics()
    return Batching(Checking(snapshots, bench.engine, bench.clock, metrics.decisions), bench.engine)


async def frames(bench: Bench, asked: Plan, *items: bytes) -> list[decision_pb2.CheckResult]:
    decided = await batching(bench).decide(asked, items, unpack.check_frame, None)
    return [decision_pb2.CheckResult.FromString(result_frame(item)) for item in decided]


async def test_a_frame_says_what_protobuf_says(bench: Bench) -> None:
    asked, twin = plan(), Bench()
    items = [named("/a/1"), named("/a/1"), named("/free"), named("/nowhere"), named("/a/2", "v"), named("/s")]
    for _ in range(3):
        written = await frames(bench, asked, *items)
        for item, result in zip(items, written, strict=True):
            question = Checking.question(None, asked, unpack.check_frame(item))  # type: ignore[arg-type]
            (answer,) = await twin.engine.decide(asked.snapshot, [question])
            assert result == pack.check_result(answer, by_name=True)
        bench.clock.advance(seconds=7)
        twin.clock.advance(seconds=7)


async def test_a_response_says_what_protobuf_says(bench: Bench) -> None:
    asked, twin = plan(), Bench()
    using = batching(bench, asked)
    for path in ("/a/1", "/a/1", "/free", "/a/1", "/s", "/a/1"):
        request = decision_pb2.CheckRequest(request=decision_pb2.CheckItem.FromString(named(path)).request)
        decided = await using.decide_one(
            CALLER, request.SerializeToString(), unpack.check_request_frame, None
        )
        question = Checking.question(None, asked, unpack.check_request(request))  # type: ignore[arg-type]
        (answer,) = await twin.engine.decide(asked.snapshot, [question])
        found = decision_pb2.CheckResponse.FromString(response_frame(decided))
        assert found == pack.check_response(answer)


async def test_another_application_is_refused_however_often_it_is_named(bench: Bench) -> None:
    using = batching(bench, plan())
    request = decision_pb2.CheckRequest(application="other")
    request.request.method, request.request.path = "GET", "/free"
    for _ in range(3):
        with pytest.raises(PermissionDenied):
            await using.decide_one(CALLER, request.SerializeToString(), unpack.check_request_frame, None)
    with pytest.raises(InvalidArgument):
        await using.decide_one(CALLER, b"\xff", unpack.check_request_frame, None)


async def test_failed_expressions_are_counted_each_time(bench: Bench) -> None:
    counted: dict[str, int] = {}
    asked = build_plan(snapshot(policy(condition="1 / 0 == 1", limits=[limit(10)])))
    snapshots = SnapshotRegistry(FakeControl(), LocalNotices(), KEY_OF)
    snapshots._plans["app-1"] = asked
    checking = Checking(snapshots, bench.engine, bench.clock, {}, counted)
    using, item = Batching(checking, bench.engine), named("/a/1")
    for _ in range(2):
        await using.decide(asked, [item], unpack.check_frame, None)
        whole = decision_pb2.CheckRequest(request=decision_pb2.CheckItem.FromString(item).request)
        await using.decide_one(CALLER, whole.SerializeToString(), unpack.check_request_frame, None)
    assert counted == {"condition": 4}
    assert asked.memo.find(item) is None


async def test_what_is_remembered_is_asked_of_the_counters_each_time(bench: Bench) -> None:
    asked = plan()
    results = [(await frames(bench, asked, named("/a/1")))[0] for _ in range(5)]
    assert [result.decision for result in results] == [1, 1, 1, 2, 2]
    assert asked.memo.find(named("/a/1")) is not None
    assert results[3].retry_after_us > 0


async def test_overrides_and_guards_are_written_as_protobuf_says(bench: Bench) -> None:
    ends = bench.clock.now_us() + 10_000_000
    overrides = [{"policy": "p", "limit": 5}, {"policy": "p", "limit": 9, "identity": "v", "expires": ends}]
    policies = [policy("p", "/a", limits=[limit(1)], **USER), policy("g", "/g", strategy="guarded")]
    guarded = strategy("guarded", guard={"limit": 1, "window": "1m"})
    customers = [customer("acme", "u", "v", overrides=overrides)]
    asked = build_plan(snapshot(*policies, strategies=[strategy(), guarded], customers=customers))
    users = [named("/a", user) for user in "uuvvx"]
    states = [result.limits[0] for result in await frames(bench, asked, *users)]
    assert [(state.limit, state.remaining) for state in states] == [(5, 4), (5, 3), (9, 8), (9, 7), (0, 0)]
    bench.clock.advance(seconds=10)
    (ended,) = await frames(bench, asked, named("/a", "v"))
    assert (ended.limits[0].limit, ended.limits[0].remaining) == (5, 2)
    results = await frames(bench, asked, named("/g"), named("/g"))
    assert [len(result.limits) for result in results] == [0, 1]
    assert results[1].message == "too many requests from this address"


async def test_slots_are_new_each_time(bench: Bench) -> None:
    ids = count(1)
    bench.engine = Engine(resilient(bench.store), bench.local, bench.clock, lambda: f"{next(ids):032x}")
    first, second = await frames(bench, plan(), named("/c", "u"), named("/c", "v"))
    assert [first.slot_id.hex(), second.slot_id.hex()] == [f"{number:032x}" for number in (1, 2)]
    denied = (await frames(bench, plan(), named("/c", "u")))[0]
    assert denied.reason == common_pb2.REASON_CONCURRENCY_EXCEEDED
    assert not denied.cacheable


async def test_bad_items_and_items_with_ids_are_each_their_own(bench: Bench) -> None:
    items = [b"\xff", named("/a/1", request_id=b"r"), named("/a/1", request_id=b"r"), named("/a/1")]
    results = await frames(bench, plan(), *items)
    assert results[0].status.code == common_pb2.ITEM_CODE_INVALID_ARGUMENT
    assert [result.limits[0].remaining for result in results[1:]] == [1, 1, 2] or [
        result.limits[0].remaining for result in results[1:]
    ] == [2, 2, 1]


def test_frames_are_the_contracts_messages() -> None:
    request = decision_pb2.BatchCheckRequest(
        plan_version=3,
        items=[decision_pb2.CheckItem(endpoint_number=4)] * 2,
        releases=[usage_pb2.Release(slot_id=b"x")],
    )
    read = BatchCheckFrames.FromString(request.SerializeToString())
    assert [decision_pb2.CheckItem.FromString(item) for item in read.items] == list(request.items)
    assert (read.plan_version, read.releases[0].slot_id) == (3, b"x")
    written = BatchResultFrames(
        results=[decision_pb2.CheckResult(decision=common_pb2.DECISION_ALLOW).SerializeToString()], revision=7
    )
    response = decision_pb2.BatchCheckResponse.FromString(written.SerializeToString())
    assert (response.results[0].decision, response.revision) == (common_pb2.DECISION_ALLOW, 7)


@steady
@given(st.integers(0, 2**63 - 1))
def test_a_varint_is_protobufs(number: int) -> None:
    expected = decision_pb2.LimitState(remaining=number).SerializeToString()
    assert (b"\x18" + varint(number) if number else b"") == expected


def test_a_memo_forgets_what_is_not_asked_again() -> None:
    memo, ready = Memo(), Ready(Answer(True, None, 1), lasting=True)  # type: ignore[arg-type]
    memo.keep(b"rare", ready)
    memo.keep(b"often", ready)
    for number in range(50_000):
        memo.keep(str(number).encode(), ready)
        assert memo.find(b"often") is ready
    assert memo.find(b"rare") is None
