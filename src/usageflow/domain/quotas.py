"""How much of a long quota was used, by whom: from the windows that counters leave on disk. Pure.

Covered are limits of FIXED_WINDOW whose windows last an hour or more, aligned ones too, of enforced policies: only these are
on disk. Token buckets, sliding windows, slots, shorter windows and edge replicas' own counters are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from usageflow.domain.alerts import AlertRule
from usageflow.domain.compiling import limits_of
from usageflow.domain.policies import Algorithm, Mode, Policy, Scope
from usageflow.domain.snapshot import CompiledLimit

_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class QuotaKey:
    """Whose counter a key is; both are empty for a limit that all callers share."""

    identity: str
    endpoint: str = ""


def watched_limits(
    application_id: str, policies: Iterable[Policy], rule: AlertRule
) -> Iterator[CompiledLimit]:
    """Yields the limits that a rule of kind QUOTA is about and that can be watched."""
    for policy in policies:
        if policy.mode is not Mode.ENFORCE or rule.policy not in ("", policy.name):
            continue
        for limit in limits_of(application_id, policy):
            if rule.limit_name in ("", limit.name) and is_watched(limit):
                yield limit


def is_watched(limit: CompiledLimit) -> bool:
    """Tells whether a limit's windows are on disk."""
    return limit.rule.algorithm is Algorithm.FIXED_WINDOW and limit.rule.window_us >= _HOUR_US


def quota_key(limit: CompiledLimit, key: str) -> QuotaKey | None:
    """Returns whose counter a stored key is; None for a key of another limit."""
    if limit.scope is Scope.SHARED:
        return QuotaKey("") if key == limit.prefix else None
    if not key.startswith(f"{limit.prefix}|"):
        return None
    rest = key[len(limit.prefix) + 1 :]
    if limit.scope is Scope.IDENTITY:
        return QuotaKey(rest)
    endpoint, _, identity = rest.partition("\x1f")
    return QuotaKey(identity, endpoint)
