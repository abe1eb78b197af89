from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from admin.handler import unpack
from usageflow.domain.calendars import Alignment, Calendar
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.policies import Algorithm, FailMode, Mode, OnMissing, Scope, Trigger
from usageflow.v1 import admin_pb2, common_pb2, policies_pb2


def message(**fields: object) -> admin_pb2.ApplyRequest:
    request = admin_pb2.ApplyRequest(application="demo")
    good = policies_pb2.Policy(name="p", match=policies_pb2.Match(path="/a"), **fields)  # type: ignore[arg-type]
    request.policies.append(good)
    return request


DAY = policies_pb2.WINDOW_ALIGNMENT_DAY


def limit(**fields: object) -> policies_pb2.Limit:
    return policies_pb2.Limit(**{"limit": 5, "window": Duration(seconds=60), **fields})  # type: ignore[arg-type]


def fields_of(request: admin_pb2.ApplyRequest) -> list[str]:
    with pytest.raises(InvalidArgument) as error:
        unpack.wanted(request)
    assert all(fault.message and fault.fix for fault in error.value.faults)
    return [fault.field for fault in error.value.faults]


@pytest.mark.parametrize(("window", "life_us"), [(None, 60_000_000), (Duration(seconds=5), 5_000_000)])
def test_a_limit_at_once_needs_no_window(window: Duration | None, life_us: int) -> None:
    at_once = limit(algorithm=common_pb2.ALGORITHM_CONCURRENCY, window=window)
    (policy,) = unpack.wanted(message(limits=[at_once])).policies.policies
    assert (policy.limits[0].algorithm, policy.limits[0].window_us) == (Algorithm.CONCURRENCY, life_us)


def test_what_is_not_set_gets_its_default() -> None:
    request = message(limits=[limit()], metering=policies_pb2.Metering(price="price_1"))
    source = policies_pb2.Source(location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="X-User")
    request.strategies.add(name="s", sources=[source])
    request.blocks.add(path="/x")
    wanted = unpack.wanted(request)
    (policy,) = wanted.policies.policies
    assert (policy.mode, policy.fail_mode, policy.cost, policy.match.methods) == (
        Mode.ENFORCE,
        FailMode.OPEN,
        1,
        ("*",),
    )
    assert (
        policy.limits[0].name,
        policy.limits[0].algorithm,
        policy.limits[0].scope,
        policy.limits[0].window_us,
    ) == (
        "default",
        Algorithm.FIXED_WINDOW,
        Scope.IDENTITY,
        60_000_000,
    )
    assert policy.metering is not None
    assert (policy.metering.expression, policy.metering.trigger) == (
        "usage_record.quantity",
        Trigger.STRIPE_USAGE,
    )
    assert wanted.policies.strategies[0].on_missing is OnMissing.ANONYMOUS_PER_IP
    assert (wanted.blocks[0].methods, wanted.prune, wanted.validate_only) == (("*",), False, False)


def test_what_is_set_is_kept() -> None:
    request = message(
        limits=[
            limit(
                name="l",
                algorithm=common_pb2.ALGORITHM_TOKEN_BUCKET,
                burst=9,
                scope=policies_pb2.LIMIT_SCOPE_SHARED,
            )
        ],
        mode=common_pb2.POLICY_MODE_SHADOW,
        fail_mode=common_pb2.FAIL_MODE_LOCAL,
        priority=-3,
        cost=2,
        stop=True,
        message="No",
    )
    request.prune = request.validate_only = True
    wanted = unpack.wanted(request)
    (policy,) = wanted.policies.policies
    assert (policy.mode, policy.fail_mode, policy.priority, policy.cost, policy.stop, policy.message) == (
        Mode.SHADOW,
        FailMode.LOCAL,
        -3,
        2,
        True,
        "No",
    )
    assert (policy.limits[0].algorithm, policy.limits[0].burst, policy.limits[0].scope) == (
        Algorithm.TOKEN_BUCKET,
        9,
        Scope.SHARED,
    )
    assert wanted.prune
    assert wanted.validate_only


def test_an_aligned_limit_is_kept() -> None:
    aligned = limit(
        window=None,
        align=policies_pb2.WINDOW_ALIGNMENT_BILLING,
        time_zone="Europe/Berlin",
        anchor=Timestamp(seconds=1_769_814_000),
        charge_denied=True,
    )
    request = message(limits=[aligned, limit(name="l")], enforce_percent=0)
    (policy,) = unpack.wanted(request).policies.policies
    anchored = Calendar(Alignment.BILLING, "Europe/Berlin", 1_769_814_000_000_000)
    assert [each.calendar for each in policy.limits] == [anchored, None]
    assert [each.charge_denied for each in policy.limits] == [True, False]
    assert policy.enforce_percent == 0


def test_faults_of_shape_carry_paths_all_at_once() -> None:
    request = message()
    request.policies.add(name="Bad Name", match=policies_pb2.Match(path="/a"))
    request.policies.add(
        name="q",
        match=policies_pb2.Match(path="/a"),
        limits=[limit(), policies_pb2.Limit(limit=5), limit(limit=0)],
    )
    request.strategies.add(name="s")
    request.strategies.add(name="t", sources=[policies_pb2.Source(name="x")])
    request.blocks.add()
    assert fields_of(request) == [
        "strategies[0].sources",
        "strategies[1].sources[0].in",
        "policies[1].name",
        "policies[2].limits[1].window",
        "policies[2].limits[2].limit",
        "blocks[0].path",
    ]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"limits": [limit(window=Duration(nanos=1))]}, "limits[0].window"),
        ({"limits": [limit(window=Duration(seconds=1, nanos=500_000_000))]}, "limits[0].window"),
        ({"limits": [limit(window=Duration(seconds=367 * 86_400))]}, "limits[0].window"),
        ({"limits": [limit(algorithm=99)]}, "limits[0].algorithm"),
        ({"limits": [limit(window=None)]}, "limits[0].window"),
        ({"limits": [limit(window=None, align=99)]}, "limits[0].align"),
        ({"limits": [limit(window=None, align=DAY, time_zone="Berlin")]}, "limits[0].time_zone"),
        ({"limits": [limit(window=None, align=DAY, anchor=Timestamp(nanos=1000))]}, "limits[0].anchor"),
        ({"enforce_percent": 101}, "enforce_percent"),
        ({"limits": [limit()] * 21}, "limits"),
        ({"mode": 99}, "mode"),
        ({"cost": -1}, "cost"),
        ({"priority": 1001}, "priority"),
        ({"message": "x" * 501}, "message"),
        ({"metering": policies_pb2.Metering(price="123")}, "metering.price"),
        ({"metering": policies_pb2.Metering(price="price_1", trigger="other")}, "metering.trigger"),
    ],
)
def test_what_the_model_refuses_is_named(fields: dict[str, object], field: str) -> None:
    assert fields_of(message(**fields)) == [f"policies[0].{field}"]
