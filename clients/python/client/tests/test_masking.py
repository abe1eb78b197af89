from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, Parse
from hypothesis import given
from hypothesis import strategies as st

from usageflow.client._core.capturing import captured, masked_metadata, wants_body
from usageflow.client._core.hooks import RequestData
from usageflow.client._core.masking import (
    BODY_CAPS,
    MASK,
    Caps,
    is_secret,
    mask_headers,
    mask_json,
    mask_path,
    mask_query,
    mask_text,
)
from usageflow.client._core.request import RequestView
from usageflow.v1 import plan_pb2
from usageflow.vectors.v1.masking_pb2 import MaskCase, MaskFile

ROOT = Path(__file__).parents[4] / "spec" / "vectors"
FULL, STANDARD, MINIMAL = (
    plan_pb2.CAPTURE_LEVEL_FULL,
    plan_pb2.CAPTURE_LEVEL_STANDARD,
    plan_pb2.CAPTURE_LEVEL_MINIMAL,
)
CASES = [
    case
    for file in sorted((ROOT / "masking").glob("*.json"))
    for case in Parse(file.read_text(), MaskFile()).cases
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_the_golden_cases(case: MaskCase) -> None:
    also, kind = frozenset(case.also_secret), str(case.WhichOneof("kind"))
    if kind == "secret_name":
        assert is_secret(case.secret_name.name, also) == case.secret_name.want
    elif kind == "headers":
        fields = [(each.name, each.value) for each in case.headers.given]
        assert mask_headers(fields, also) == dict(case.headers.want)
    elif kind == "json":
        caps = Caps(case.json.depth, case.json.members, case.json.text_bytes)
        assert mask_json(MessageToDict(case.json.given), caps, also) == MessageToDict(case.json.want)
    else:
        body = getattr(case, kind)
        masked = (
            mask_query(body.given, also)
            if kind == "query"
            else {"text": mask_text, "path": mask_path}[kind](body.given)
        )
        assert masked == body.want


PIECES = st.sampled_from(
    [
        "Bearer ",
        "basic ",
        "sk_live_",
        "eyJhbGciOiJIUzI1NiJ9.",
        "4111 1111 ",
        "password=",
        "token: ",
        '"',
        "://u:",
        "@",
        "***",
        "&",
        "\n",
    ]
)


@given(st.lists(PIECES | st.text(max_size=12), max_size=12).map("".join))
def test_masking_twice_is_masking_once_and_nothing_raises(text: str) -> None:
    for mask in (mask_text, mask_query, mask_path):
        assert mask(mask(text)) == mask(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | PIECES, inner, max_size=4),
)


@given(JSON)
def test_any_json_is_masked_within_its_caps(value: Any) -> None:
    masked = mask_json(value, BODY_CAPS)
    assert mask_json(masked, BODY_CAPS) == masked
    json.dumps(masked, allow_nan=False)


SECRETS = [
    "sk_live_4eC39HqLyjWDplant",
    "Bearer plantedplanted12",
    "4111111111111111",
    "eyJhbGciOiJub25lIn0.eyJwbGFudGVk.x",
]


@given(st.sampled_from(SECRETS), st.text(max_size=30), st.text(max_size=30))
def test_a_planted_secret_never_comes_through(secret: str, before: str, after: str) -> None:
    planted = f"{before} {secret} {after}"
    assert secret not in mask_text(planted)
    assert secret not in json.dumps(mask_json({"note": [planted], planted: 1}, BODY_CAPS))
    assert secret not in str(mask_headers([("x-note", planted)]))


def view(method: str = "POST", body: bytes | None = None, media: bytes = b"application/json") -> RequestView:
    headers = [
        (b"content-type", media),
        (b"authorization", b"Bearer planted"),
        (b"x-no", b"7"),
        (b"user-agent", b"a"),
    ]
    return RequestView(
        method, "/x", "/x", headers, b"q=1&token=planted", body=body, body_complete=body is not None
    )


def kept(request: RequestView, level: Any, also: frozenset[str] = frozenset()) -> dict[str, Any]:
    struct = captured(request, level, also)
    return MessageToDict(struct) if struct is not None else {}


def test_levels_say_what_is_kept() -> None:
    assert kept(view(body=b"{}"), MINIMAL) == {}
    standard = kept(view(body=b'{"a": 1}'), STANDARD, frozenset({"xno"}))
    headers = {"content-type": "application/json", "authorization": MASK, "x-no": MASK}
    assert standard == {"headers": headers, "query": "q=1&token=***"}
    full = kept(view(body=b'{"a": 1, "password": "planted"}'), FULL)
    assert (full["body"], full["body_type"]) == ({"a": 1, "password": MASK}, "application/json")


@pytest.mark.parametrize(
    ("body", "media", "why"),
    [
        (b"{", b"application/json", "MALFORMED"),
        (b"\xff", b"text/plain", "MALFORMED"),
        (b"[" * 8_000, b"application/json", "MALFORMED"),
        (b'"%s"' % (b"x" * 8_192), b"application/json", "TOO_LARGE"),
    ],
)
def test_a_body_that_cannot_be_kept_says_why(body: bytes, media: bytes, why: str) -> None:
    assert kept(view(body=body, media=media), FULL)["body_omitted"] == why


def test_forms_and_texts_are_kept_masked_and_other_bodies_are_not() -> None:
    form = view(body=b"a=1&pwd=planted", media=b"application/x-www-form-urlencoded; charset=utf-8")
    assert kept(form, FULL)["body"] == "a=1&pwd=***"
    assert kept(view(body=b"secret: planted", media=b"text/plain"), FULL)["body"] == "secret: ***"
    assert not wants_body(view(media=b"multipart/form-data"), FULL)
    assert not wants_body(view("GET"), FULL)
    assert not wants_body(view(), STANDARD)
    unread = view(body=b"{")
    unread.body_complete = False
    assert kept(unread, FULL)["body_omitted"] == "UNREAD"


def test_metadata_is_masked_and_counts_of_tokens_stay() -> None:
    data = RequestData()
    data.add_metadata({"api_key": "planted", "total_tokens": 12, "plan": "pro"})
    masked = masked_metadata(data.metadata, ())
    assert masked is not None
    assert MessageToDict(masked) == {"api_key": MASK, "total_tokens": 12, "plan": "pro"}
