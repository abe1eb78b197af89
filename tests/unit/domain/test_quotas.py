from __future__ import annotations

from usageflow.domain.alerts import AlertRule
from usageflow.domain.policies import Policy
from usageflow.domain.quotas import QuotaKey, quota_key, watched_limits
from usageflow.domain.usage import EndpointName


def policy(name: str = "p", mode: str = "ENFORCE", **limit: object) -> Policy:
    usual = {"name": "hourly", "limit": 10, "window": "1h"}
    fields = {
        "name": name,
        "match": {"methods": ["GET"], "path": "/x"},
        "strategy": "s",
        "mode": mode,
        "limits": [{**usual, **limit}],
    }
    return Policy.model_validate(fields)


def watched(made: Policy, **fields: object) -> list[str]:
    rule = AlertRule.model_validate({"name": "r", "kind": "QUOTA", **fields})
    return [limit.name for limit in watched_limits("app", [made], rule)]


def test_only_what_is_on_disk_is_watched() -> None:
    assert watched(policy()) == ["hourly"]
    assert watched(policy(window=None, align="month")) == ["hourly"]
    assert watched(policy(window="59m")) == []
    assert watched(policy(window=None, align="minute")) == []
    assert watched(policy(algorithm="TOKEN_BUCKET")) == []
    assert watched(policy(mode="SHADOW")) == []


def test_a_rule_may_name_policy_and_limit() -> None:
    assert watched(policy(), policy="p", limit_name="hourly") == ["hourly"]
    assert watched(policy(), policy="q") == []
    assert watched(policy(), policy="p", limit_name="daily") == []


def test_keys_tell_whose_counter_they_are() -> None:
    rule = AlertRule.model_validate({"name": "r", "kind": "QUOTA"})
    endpoint = EndpointName("GET", "/x")
    for scope, expected in (
        ("IDENTITY", QuotaKey("v:a|b")),
        ("IDENTITY_AND_ENDPOINT", QuotaKey("v:a|b", "GET /x")),
        ("SHARED", QuotaKey("")),
    ):
        (limit,) = watched_limits("app", [policy(scope=scope)], rule)
        assert quota_key(limit, limit.key("v:a|b", endpoint)) == expected
        assert quota_key(limit, f"{limit.prefix}x") is None
