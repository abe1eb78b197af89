from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usageflow.client._core.check import build_item
from usageflow.client._core.plan import apply
from usageflow.client._core.request import (
    AttributeSpec,
    RequestView,
    client_address,
    extract,
    keyed_hash,
    network_of,
)
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import plan_pb2

HEADER = common.ATTRIBUTE_LOCATION_HEADER
QUERY = common.ATTRIBUTE_LOCATION_QUERY
COOKIE = common.ATTRIBUTE_LOCATION_COOKIE
PATH = common.ATTRIBUTE_LOCATION_PATH_PARAMETER
IP = common.ATTRIBUTE_LOCATION_CLIENT_IP
CONTEXT = common.ATTRIBUTE_LOCATION_APP_CONTEXT
BODY = common.ATTRIBUTE_LOCATION_BODY
TOKEN = common.ATTRIBUTE_LOCATION_JWT_CLAIM


def value(location: int, name: str, **fields: object) -> str | None:
    request = RequestView("GET", "/x", "/x", **fields)  # type: ignore[arg-type]
    return extract(AttributeSpec.of(location, name, sensitive=False), request)


def test_each_location() -> None:
    assert value(HEADER, "X-User-Id", headers=[(b"x-user-id", b"alice")]) == "alice"
    assert value(QUERY, "user", query_string=b"a=1&user=al%20ice") == "al ice"
    assert value(COOKIE, "sid", headers=[(b"cookie", b'a=b; sid="s 1"; c')]) == "s 1"
    assert value(PATH, "id", path_parameters={"id": 7}) == "7"
    assert value(CONTEXT, "user", app_context={"user": "bob"}) == "bob"
    assert value(CONTEXT, "user", app_context={"user": ["bob"]}) is None
    assert value(IP, "", client_ip="2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64"
    assert value(BODY, "user.id") is None


def test_missing_empty_duplicate_and_over_long_are_absent() -> None:
    assert value(HEADER, "x") is None
    assert value(HEADER, "x", headers=[(b"x", b"")]) is None
    assert value(HEADER, "x", headers=[(b"x", b"  ")]) is None
    assert value(HEADER, "x", headers=[(b"x", b"a"), (b"x", b"a")]) is None
    assert value(QUERY, "x", query_string=b"x=a&x=b") is None
    assert value(QUERY, "x", query_string=b"x=&y=1") is None
    assert value(COOKIE, "x", headers=[(b"cookie", b"x=a"), (b"cookie", b"x=b")]) is None
    assert value(HEADER, "x", headers=[(b"x", b"a" * 8_192)]) == "a" * 8_192
    assert value(HEADER, "x", headers=[(b"x", b"a" * 8_193)]) is None
    assert value(HEADER, "x", headers=[(b"x", b"\xe9" * 4_097)]) is None, "bytes of UTF-8 count"
    assert value(PATH, "x", path_parameters={"x": "\ud800"}) is None


def test_a_token_is_the_bearers_or_a_cookies_and_nothing_else() -> None:
    headers = [(b"authorization", b"bearer  a.b.c "), (b"cookie", b"sid=d.e.f; other=x")]
    assert value(TOKEN, "bearer", headers=headers) == "a.b.c"
    assert value(TOKEN, "cookie:sid", headers=headers) == "d.e.f"
    assert value(TOKEN, "cookie:none", headers=headers) is None
    assert value(TOKEN, "bearer", headers=[(b"authorization", b"Basic dXNlcjpwYXNz")]) is None
    assert value(TOKEN, "bearer", headers=[(b"authorization", b"Bearer a")] * 2) is None
    assert value(TOKEN, "bearer", headers=[(b"authorization", b"Bearer")]) is None


@pytest.mark.parametrize("by_name", [True, False])
def test_tokens_and_route_parameters_are_sent_raw_whatever_the_plan_says(*, by_name: bool) -> None:
    plan = apply(
        None,
        plan_pb2.WatchPlanResponse(
            full=True,
            hash_key=b"k" * 32,
            attributes=[
                plan_pb2.PlanAttribute(number=1, location=TOKEN, name="bearer", sensitive=True),
                plan_pb2.PlanAttribute(number=2, location=PATH, name="id", sensitive=True),
                plan_pb2.PlanAttribute(number=3, location=BODY, name="user.id", sensitive=True),
            ],
            endpoints=[
                plan_pb2.EndpointPlan(
                    number=5, endpoint=common.Endpoint(method="GET", template="/x/{id}"), attributes=[1, 2, 3]
                )
            ],
        ),
    )
    request = RequestView(
        "GET", "/x/{id}", "/x/7", headers=[(b"authorization", b"Bearer a.b.c")], path_parameters={"id": "7"}
    )
    item = build_item(plan, plan.rule(("GET", "/x/{id}")), request, 50, by_name=by_name)
    if by_name:
        assert [(each.location, each.value) for each in item.request.attributes] == [
            (TOKEN, "a.b.c"),
            (PATH, "7"),
        ]
    else:
        assert [each.text for each in item.values] == ["a.b.c", "7", ""]
        assert item.values[2].WhichOneof("kind") is None


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_input_breaks_extraction(header: bytes, query: bytes) -> None:
    for location in (HEADER, QUERY, COOKIE, PATH, IP, CONTEXT, BODY, TOKEN, 99):
        found = value(location, "x", headers=[(b"cookie", header), (b"x", header)], query_string=query)
        assert found is None or found.encode()


def test_only_what_the_plan_names_is_sent_and_secrets_are_hashed() -> None:
    plan = apply(
        None,
        plan_pb2.WatchPlanResponse(
            plan_version=1,
            full=True,
            hash_key=b"k" * 32,
            attributes=[
                plan_pb2.PlanAttribute(number=1, location=HEADER, name="X-Api-Key", sensitive=True),
                plan_pb2.PlanAttribute(number=2, location=HEADER, name="X-User-Id"),
                plan_pb2.PlanAttribute(number=3, location=HEADER, name="Authorization"),
            ],
            endpoints=[
                plan_pb2.EndpointPlan(
                    number=5, endpoint=common.Endpoint(method="GET", template="/x"), attributes=[1, 2, 3, 4]
                )
            ],
        ),
    )
    secrets = [(b"x-api-key", b"sk_1"), (b"authorization", b"Bearer sk_2"), (b"cookie", b"sid=sk_3")]
    request = RequestView(
        "GET", "/x", "/x", headers=[*secrets, (b"x-user-id", b"alice")], query_string=b"token=sk_4"
    )
    rule = plan.rule(("GET", "/x"))
    by_number = build_item(plan, rule, request, 50, by_name=False)
    assert by_number.endpoint_number == 5
    assert by_number.values[0].hash == hmac.digest(b"k" * 32, b"sk_1", hashlib.sha256)
    assert by_number.values[1].text == "alice"
    assert len(by_number.values[2].hash) == 32, "credentials are hashed whatever the plan says"
    assert by_number.values[3].WhichOneof("kind") is None
    by_name = build_item(plan, rule, request, 50, by_name=True)
    named = {a.name: a for a in by_name.request.attributes}
    assert named["X-User-Id"].value == "alice"
    hashed = {name for name, a in named.items() if a.WhichOneof("content") == "hash"}
    assert hashed == {"X-Api-Key", "Authorization"}
    assert named["X-Api-Key"].hash == by_number.values[0].hash
    for item in (by_number, by_name):
        assert b"sk_" not in item.SerializeToString()


def test_without_a_key_a_secret_is_absent() -> None:
    change = plan_pb2.WatchPlanResponse(plan_version=1, full=True)
    change.attributes.add(number=1, location=HEADER, name="x", sensitive=True)
    change.endpoints.add(number=5, endpoint=common.Endpoint(method="GET", template="/x"), attributes=[1])
    plan = apply(None, change)
    request = RequestView("GET", "/x", "/x", headers=[(b"x", b"secret")])
    item = build_item(plan, plan.rule(("GET", "/x")), request, 50, by_name=False)
    assert item.values[0].WhichOneof("kind") is None
    by_name = build_item(plan, plan.rule(("GET", "/x")), request, 50, by_name=True)
    assert not by_name.request.attributes


def test_a_request_without_a_route_goes_by_name_with_its_path() -> None:
    change = plan_pb2.WatchPlanResponse(plan_version=1, full=True)
    change.endpoints.add(number=5, endpoint=common.Endpoint(method="GET", template="{unmatched}"))
    plan = apply(None, change)
    request = RequestView("GET", "", "/a/" + "x" * 9_000)
    item = build_item(plan, plan.rule(("GET", "{unmatched}")), request, 50, by_name=False)
    assert item.request.route == ""
    assert len(item.request.path) == 8_193, "too long stays too long: the service refuses it"


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "want"),
    [
        ("10.0.0.1", ["6.6.6.6"], 0, "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], 1, "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4", "10.0.0.2"], 2, "1.2.3.4"),
        ("10.0.0.1", ["1.2.3.4"], 3, "1.2.3.4"),
        ("10.0.0.1", ["1.2.3.4:5678"], 1, "1.2.3.4"),
        ("10.0.0.1", ["[2001:db8::1]:5678"], 1, "2001:db8::1"),
        ("10.0.0.1", ["unknown"], 1, "10.0.0.1"),
        ("10.0.0.1", [], 1, "10.0.0.1"),
        ("", [], 0, ""),
    ],
)
def test_client_addresses(peer: str, forwarded: list[str], trusted: int, want: str) -> None:
    assert client_address(peer, forwarded, trusted) == want


def test_networks() -> None:
    assert network_of("::ffff:1.2.3.4") == "1.2.3.4"
    assert network_of("testclient") == ""


def test_a_hash_is_hmac_sha256_of_utf8() -> None:
    assert keyed_hash(b"key", "é") == hmac.digest(b"key", "é".encode(), hashlib.sha256)


@pytest.mark.parametrize("peer", ["foo", "unknown", "testclient", "1.2.3.4:80", ""])
def test_a_peer_that_is_no_address_is_unknown(peer: str) -> None:
    """A proxy-aware server puts there whatever a header said; sent on, it would make the check malformed."""
    assert client_address(peer, ["9.9.9.9"], 0) == ""
    assert client_address(peer, ["9.9.9.9"], 1) == "9.9.9.9"
