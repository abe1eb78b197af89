from __future__ import annotations

import contextlib
import json
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import (
    APPLICATION_KEY,
    hashed_block,
    limit,
    metering,
    numbers_of,
    policy,
    steady,
    strategy,
)
from usageflow.domain.compiling import compile_snapshot
from usageflow.domain.credentials import ALL_SCOPES, Credential, CredentialKind
from usageflow.domain.credentials import Scope as KeyScope
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.policies import (
    Algorithm,
    Block,
    FailMode,
    Limit,
    Match,
    Metering,
    Mode,
    OnMissing,
    Policy,
    PolicySet,
    Scope,
    Strategy,
    Trigger,
)
from usageflow.domain.usage import EndpointName
from usageflow.domain.validation import validate
from usageflow.expressions import check, compile_term
from usageflow.storage.file import FORMAT, Exported, decode, encode
from usageflow.storage.ports import Application, ApplicationState

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
TEXT = st.text(max_size=20)
UNITS = st.integers(1, 10**12)
PATHS = st.sampled_from(["*", "/a", "/a/{id}", "/users/*", "/ü", "/x/{id}/y"])
METHODS = st.sampled_from([("*",), ("GET",), ("POST", "PUT")])
HASHES = st.binary(min_size=32, max_size=32)

SOURCES = st.one_of(
    st.fixed_dictionaries(
        {
            "in": st.sampled_from(["header", "query", "cookie"]),
            "name": st.text(string.ascii_letters, min_size=1),
        },
        optional={"sensitive": st.booleans()},
    ),
    st.just({"in": "client_ip"}),
    st.just({"in": "jwt", "name": "sub", "allow_unverified": True, "from": "cookie:token"}),
    st.just({"join": [{"in": "header", "name": "X-Tenant"}, {"in": "body", "name": "user.id"}]}),
)
STRATEGIES = st.builds(
    lambda **fields: Strategy.model_validate(fields),
    name=NAMES,
    sources=st.lists(SOURCES, min_size=1, max_size=3),
    on_missing=st.sampled_from(OnMissing),
    allow_unlimited=st.just(True),
)
WINDOWS = st.one_of(
    st.fixed_dictionaries(
        {
            "window": st.integers(1, 366 * 86_400).map(lambda s: s * 1_000_000),
            "algorithm": st.sampled_from(Algorithm),
        }
    ),
    st.fixed_dictionaries(
        {
            "align": st.sampled_from(["minute", "day", "month"]),
            "time_zone": st.sampled_from(["UTC", "Asia/Tokyo"]),
        }
    ),
    st.just({"align": "billing", "anchor": "2026-01-31T00:00:00Z"}),
)
LIMITS = st.builds(
    lambda window, **fields: Limit.model_validate({**fields, **window}),
    window=WINDOWS,
    name=NAMES,
    limit=UNITS,
    scope=st.just(Scope.SHARED),
    charge_denied=st.booleans(),
)
POLICIES = st.builds(
    Policy,
    name=NAMES,
    match=st.builds(Match, methods=METHODS, path=PATHS),
    limits=st.lists(LIMITS, max_size=3, unique_by=lambda item: item.name).map(tuple),
    metering=st.none()
    | st.builds(Metering, price=st.just("price_1"), trigger=st.sampled_from(Trigger), event_name=TEXT),
    mode=st.sampled_from(Mode),
    enforce_percent=st.integers(0, 100),
    fail_mode=st.sampled_from(FailMode),
    priority=st.integers(-1000, 1000),
    condition=st.sampled_from(["", "request.method == 'GET'", "request.body.n > 1"]),
    cost_expression=st.sampled_from(["", "size(request.path)"]),
    stop=st.booleans(),
    message=TEXT,
)
BLOCKS = st.builds(
    Block, methods=METHODS, path=PATHS, identity=st.just("") | HASHES.map(bytes.hex), reason=TEXT
)
ENDPOINTS = st.builds(
    EndpointName,
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["/a", "/a/{id}", "/files/{rest*}", "/ü", "{unmatched}"]),
)


@st.composite
def policy_sets(draw: st.DrawFn) -> PolicySet:
    strategies = draw(st.lists(STRATEGIES, max_size=3, unique_by=lambda item: item.name))
    policies = draw(st.lists(POLICIES, max_size=5, unique_by=lambda item: item.name))
    names = st.sampled_from(["", *(item.name for item in strategies)])
    chosen = (item.model_copy(update={"strategy": draw(names)}) for item in policies)
    return PolicySet(strategies=tuple(strategies), policies=tuple(chosen))


@st.composite
def exports(draw: st.DrawFn) -> Exported:
    policies = draw(policy_sets())
    endpoints = draw(st.lists(ENDPOINTS, max_size=4, unique=True))
    blocks = draw(st.lists(BLOCKS, max_size=3, unique_by=lambda item: (item.path, item.identity)))
    application = Application(
        draw(st.uuids().map(str)), draw(NAMES), draw(st.integers(0, 2**40)), draw(st.integers(1, 2**40))
    )
    keys = draw(st.lists(HASHES, max_size=2, unique=True))
    return Exported(
        state=ApplicationState(
            application, policies, tuple(blocks), numbers_of(policies, endpoints), tuple(endpoints)
        ),
        hash_key=draw(HASHES),
        api_keys=tuple(
            Credential(
                f"c-{key.hex()}",
                CredentialKind.API_KEY,
                application.application_id,
                "uf_test_abcd",
                key,
                name=draw(NAMES),
                scopes=draw(st.frozensets(st.sampled_from(KeyScope))),
                expires_us=draw(st.none() | st.integers(0, 2**50)),
                application=application.name,
            )
            for key in keys
        ),
    )


EXPORTED = Exported(
    ApplicationState(
        Application("app-1", "demo", 7, 11),
        PolicySet(
            strategies=(strategy(),),
            policies=(policy("p", "/a/*", ["POST"], [limit(5)], strategy="by-user", metering=metering()),),
        ),
        (hashed_block("/internal/*", "user-9"),),
        {},
        (EndpointName("GET", "/a/{id}"),),
    ),
    APPLICATION_KEY,
    (Credential("c-1", CredentialKind.API_KEY, "app-1", "uf_test_abcd", bytes(32), scopes=ALL_SCOPES),),
)


def _faults(item: Exported) -> list[Fault]:
    return validate(item.state.policies, item.state.blocks, check=check)


@steady
@given(st.lists(exports(), min_size=1, max_size=2, unique_by=lambda item: item.state.application.name))
def test_nothing_is_lost(exported: list[Exported]) -> None:
    faulty = [fault for item in exported for fault in _faults(item)]
    if not faulty:
        assert list(decode(encode(exported), check)) == exported


@steady
@given(exports())
def test_what_is_read_compiles(exported: Exported) -> None:
    try:
        (read,) = decode(encode([exported]), check)
    except InvalidArgument:
        return  # a set that no service would have saved
    state, application = read.state, read.state.application
    compile_snapshot(
        application_id=application.application_id,
        application=application.name,
        revision=application.revision,
        plan_version=application.plan_version,
        hash_key=read.hash_key,
        policies=state.policies,
        blocks=state.blocks,
        numbers={(str(kind), name): number for (kind, name), number in state.numbers.items()},
        endpoints=state.endpoints,
        compile_term=compile_term,
    )


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument) as error:
        decode(data)
    assert all(fault.message and fault.fix for fault in error.value.faults)


@steady
@given(st.data())
def test_a_good_file_with_a_piece_replaced(data: st.DataObject) -> None:
    good = encode([EXPORTED])
    start = data.draw(st.integers(0, len(good)))
    piece = data.draw(st.sampled_from([b"", b"0", b"null", b"[]", b'"', b"}", b"-1", b"1e999", b"\xff"]))
    with contextlib.suppress(InvalidArgument):
        decode(good[:start] + piece + good[start + data.draw(st.integers(0, 20)) :])


def test_a_file_is_plain_json_with_its_format_and_no_secret() -> None:
    document = json.loads(encode([EXPORTED]))
    (application,) = document["applications"]
    assert document["format"] == FORMAT
    assert application["hash_key"] == APPLICATION_KEY.hex()
    assert application["policies"][0]["limits"] == [{"limit": 5, "window": "1h"}]
    assert application["api_keys"] == [
        {"credential_id": "c-1", "prefix": "uf_test_abcd", "sha256": "00" * 32}
    ]


def test_its_repr_shows_no_key() -> None:
    assert APPLICATION_KEY.hex() not in repr(EXPORTED)
    assert repr(APPLICATION_KEY) not in repr(EXPORTED)


def changed(path: str, value: Any) -> bytes:
    """The good file with one value changed; ``path`` has dots between keys and indices."""
    document = json.loads(encode([EXPORTED]))
    *steps, last = path.split(".")
    place = document
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value", "field", "words"),
    [
        ("format", 2, "format", "1"),
        ("applications", [], "applications", "at least 1"),
        ("more", 1, "more", "not permitted"),
        ("applications.0.hash_key", "short", "applications[0].hash_key", "pattern"),
        ("applications.0.hash_key", "00" * 32 + "\n", "applications[0].hash_key", "pattern"),
        ("applications.0.plan_version", 0, "applications[0].plan_version", "greater"),
        ("applications.0.plan_version", "7", "applications[0].plan_version", "integer"),
        (
            "applications.0.policies.0.limits.0.window",
            "1y",
            "applications[0].policies[0].limits[0].window",
            "1y",
        ),
        ("applications.0.policies.0.match.path", "a", "applications[0].policies[0].match.path", ""),
        ("applications.0.policies.0.strategy", "gone", "applications[0].policies[0].strategy", "gone"),
        ("applications.0.policies.0.later", 1, "applications[0].policies[0].later", "not permitted"),
        ("applications.0.blocks.0.identity", "alice", "applications[0].blocks[0].identity", "hash"),
        ("applications.0.endpoints.0.template", "a/:id", "applications[0].endpoints[0]", ""),
        ("applications.0.endpoints.0.template", "/a/:id", "applications[0].endpoints[0]", "canonical"),
        ("applications.0.api_keys.0.sha256", "uf_live_x", "applications[0].api_keys[0].sha256", "pattern"),
        ("applications.0.numbers", {"OTHER": {"a": 1}}, "applications[0].numbers.OTHER.[key]", "ENDPOINT"),
        ("applications.0.numbers", {"POLICY": {"a": 0}}, "applications[0].numbers.POLICY.a", "greater"),
        ("applications.0.numbers", {"POLICY": {"a": 1, "b": 1}}, "applications[0].numbers.POLICY", "2 times"),
    ],
)
def test_a_fault_is_told_with_its_place(path: str, value: Any, field: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        decode(changed(path, value))
    fault = error.value.faults[0]
    assert fault.field == field
    assert words in fault.message
    assert fault.fix


def test_broken_json_is_told_with_line_and_column() -> None:
    with pytest.raises(InvalidArgument, match="line 1 column 12"):
        decode(b'{"format": ?}')


def test_two_applications_of_one_name_are_refused() -> None:
    state = replace(EXPORTED.state, application=Application("app-2", "demo", 1, 1))
    other = Exported(state, APPLICATION_KEY, ())
    with pytest.raises(InvalidArgument) as error:
        decode(encode([EXPORTED, other]))
    assert [(fault.field, fault.reason) for fault in error.value.faults] == [("applications", "DUPLICATE")]


def test_keys_of_older_files_may_do_everything() -> None:
    """They were written before there were scopes, when every key could."""
    older = json.loads(encode([EXPORTED]))
    (key,) = older["applications"][0]["api_keys"]
    assert not {"name", "scopes", "expires_us"} & set(key)
    (read,) = decode(json.dumps(older).encode(), check)
    assert (read.api_keys[0].scopes, read.api_keys[0].expires_us) == (ALL_SCOPES, None)
