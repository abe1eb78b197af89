from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from usageflow.domain.alerts import (
    MINUTE_US,
    AlertDestination,
    AlertRule,
    destination_faults,
    masked_url,
    rule_faults,
)

steady = settings(derandomize=True, deadline=None, max_examples=200)


def rule(kind: str = "ERROR_RATE", **fields: Any) -> AlertRule:
    usual = {} if kind in ("SILENCE", "QUOTA") else {"threshold": 5}
    return AlertRule.model_validate({"name": "r", "kind": kind, **usual, **fields})


def test_a_rule_is_what_was_written() -> None:
    made = rule(window="10m", pending_for="2m")
    assert (made.window_us, made.pending_for_us, made.keep_firing_for_us) == (
        10 * MINUTE_US,
        2 * MINUTE_US,
        MINUTE_US,
    )
    again = AlertRule.model_validate_json(made.model_dump_json(by_alias=True, exclude_defaults=True))
    assert again == made
    assert made.clears_below(5) == 4.5
    assert rule(clear_threshold=2).clears_below(5) == 2
    assert rule("QUOTA").thresholds == (50, 80, 100)
    assert rule("SILENCE", window="15m").thresholds == (900,)


@pytest.mark.parametrize("kind", ["ERROR_RATE", "P95", "SILENCE", "DENIALS", "QUOTA"])
def test_every_kind_can_be_declared(kind: str) -> None:
    assert list(rule_faults(rule(kind))) == []


@pytest.mark.parametrize(
    ("kind", "fields", "faulty"),
    [
        ("ERROR_RATE", {"threshold": 0}, "threshold"),
        ("ERROR_RATE", {"threshold": 101}, "threshold"),
        ("ERROR_RATE", {"clear_threshold": 6}, "clear_threshold"),
        ("ERROR_RATE", {"customer": "acme"}, "customer"),
        ("ERROR_RATE", {"levels": [50]}, "levels"),
        ("P95", {"measure": "COUNT"}, "measure"),
        ("P95", {"endpoint": "get /users"}, "endpoint"),
        ("P95", {"endpoint": "nothing"}, "endpoint"),
        ("SILENCE", {"threshold": 1}, "threshold"),
        ("QUOTA", {"threshold": 80}, "threshold"),
        ("QUOTA", {"limit_name": "hourly"}, "limit_name"),
        ("QUOTA", {"endpoint": "GET /users"}, "endpoint"),
        ("DENIALS", {"destinations": ["a", "a"]}, "destinations"),
    ],
)
def test_what_does_not_fit_is_told(kind: str, fields: dict[str, Any], faulty: str) -> None:
    assert faulty in [fault.field for fault in rule_faults(rule(kind, **fields))]


@pytest.mark.parametrize(
    "fields",
    [
        {"window": "30s"},
        {"window": "25h"},
        {"pending_for": "soon"},
        {"threshold": float("nan")},
        {"levels": [0]},
    ],
)
def test_bounds_are_kept(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rule(**fields)


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://example.com/hook?key=1", True),
        ("env:USAGEFLOW_ALERT_SLACK", True),
        ("env:USAGEFLOW_HASH_KEY", False),
        ("env:HOME", False),
        ("http://example.com/hook", False),
        ("https://user:pass@example.com", False),
        ("https://", False),
        ("https://exa mple.com/", False),
        ("https://[::1", False),
        ("https://example.com:99999/", False),
    ],
)
def test_addresses_are_judged(url: str, *, good: bool) -> None:
    faults = list(destination_faults(AlertDestination(name="d", url=url)))
    assert (not faults) is good
    assert all("pass" not in str(fault) for fault in faults)


@given(st.text(min_size=1, max_size=60))
@steady
def test_any_address_is_judged_and_a_good_one_is_masked(text: str) -> None:
    for url in (text, f"https://{text}", f"env:{text}"):
        if not list(destination_faults(AlertDestination(name="d", url=url))):
            assert masked_url(url)


def test_answers_hide_what_may_be_secret() -> None:
    assert masked_url("https://hooks.slack.com/services/T1/B2/secret") == "https://hooks.slack.com/..."
    assert masked_url("https://example.com/?token=secret") == "https://example.com/..."
    assert masked_url("env:USAGEFLOW_ALERT_SLACK") == "env:USAGEFLOW_ALERT_SLACK"
