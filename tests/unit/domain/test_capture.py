from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usageflow.domain.applications import Capture
from usageflow.domain.capture import MAX_CAPTURED_BYTES, CaptureRules, kept_detail, kept_path
from usageflow.domain.masking import BODY_CAPS, mask_headers, mask_json, mask_path, mask_query, mask_text

DETAIL = {
    "metadata": {"api_key": "planted", "n": 1},
    "client_ip": "1.2.3.4",
    "user_agent": "a/1",
    "reservation_id": "r",
}
CAPTURED = {
    "headers": {"x-api-key": "planted", "host": "h"},
    "query": "token=planted&a=1",
    "body": {"password": "planted", "a": 1},
    "body_type": "application/json",
    "something": "else",
}


def kept(level: Capture, detail: Any = DETAIL, captured: Any = CAPTURED) -> Any:
    return json.loads(kept_detail(json.dumps(detail), json.dumps(captured), CaptureRules(level)))


def test_nothing_stays_nothing() -> None:
    assert kept_detail("", "", CaptureRules()) == ""
    assert kept_detail("", json.dumps(CAPTURED), CaptureRules(Capture.MINIMAL)) == ""


def test_each_level_keeps_what_it_says() -> None:
    metadata = {"api_key": "***", "n": 1}
    minimal = {"metadata": metadata, "reservation_id": "r"}
    assert kept(Capture.MINIMAL) == minimal
    standard = {"headers": {"host": "h", "x-api-key": "***"}, "query": "token=***&a=1"}
    caller = {"client_ip": "1.2.3.4", "user_agent": "a/1"}
    assert kept(Capture.STANDARD) == {**minimal, **caller, "captured": standard}
    body = {"body": {"password": "***", "a": 1}, "body_type": "application/json"}
    assert kept(Capture.FULL) == {**minimal, **caller, "captured": {**standard, **body}}


def test_what_strategies_call_sensitive_is_not_kept() -> None:
    sensitive = [("header", "X-No"), ("body", "user.number"), ("client_ip", ""), ("path_parameter", "id")]
    rules = CaptureRules.of(Capture.FULL, sensitive)
    sent = {"headers": {"x-no": "7", "a": "b"}, "body": {"user": {"number": 7}}}
    told = json.loads(kept_detail(json.dumps(DETAIL), json.dumps(sent), rules))
    assert "client_ip" not in told
    assert told["captured"] == {"headers": {"x-no": "***", "a": "b"}, "body": {"user": {"number": "***"}}}
    assert kept_path("/users/7", rules) == ""


def test_an_address_that_is_none_and_a_body_that_is_too_large_are_left_out() -> None:
    assert kept_detail(json.dumps({"client_ip": "sk_live_planted12"}), "", CaptureRules()) == ""
    told = kept(Capture.FULL, {}, {"body": ["x" * 1_000] * 30})
    assert told == {"captured": {"body_omitted": "TOO_LARGE"}}
    assert kept_detail("", json.dumps({"query": "x" * 70_000}), CaptureRules()) == ""


def test_paths_lose_query_and_secrets() -> None:
    assert kept_path("/a/sk_live_planted12?token=x#y", CaptureRules()) == "/a/***"
    assert kept_path("/a", CaptureRules(Capture.MINIMAL)) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@pytest.mark.parametrize("level", list(Capture))
@given(st.dictionaries(st.sampled_from(list(CAPTURED)), JSON))
def test_whatever_is_sent_is_kept_within_bounds(level: Capture, sent: Any) -> None:
    told = kept_detail("", json.dumps(sent), CaptureRules(level))
    assert len(told.encode()) <= MAX_CAPTURED_BYTES + 64
    again = json.dumps(json.loads(told)["captured"]) if told else ""
    assert kept_detail("", again, CaptureRules(level)) == told


@given(st.text())
def test_masking_twice_is_masking_once(text: str) -> None:
    for mask in (mask_text, mask_query, mask_path):
        assert mask(mask(text)) == mask(text)
    masked = mask_json({text: [text]}, BODY_CAPS)
    assert mask_json(masked, BODY_CAPS) == masked
    headers = mask_headers([(text, text)])
    assert mask_headers(headers.items()) == headers
