"""Which quotas are how full: the windows on disk beside the numbers that hold for whoever they belong to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from usageflow.domain.alerting import QUIET, Verdict, judge_value
from usageflow.domain.alerts import AlertRule
from usageflow.domain.directory import Directory, plan_rules
from usageflow.domain.hashing import KeyOf, display
from usageflow.domain.identity import identity_hash
from usageflow.domain.policies import PolicySet
from usageflow.domain.quotas import QuotaKey, quota_key, watched_limits
from usageflow.domain.snapshot import CompiledLimit
from usageflow.storage.alerts import AlertReadings, StoredAlert, WatchedApplication
from usageflow.storage.ports import ControlStore, WindowState

MOST = 1000
"""Of each limit the fullest so many counters are looked at."""

Look = tuple[StoredAlert, Verdict, float]


@dataclass(frozen=True, slots=True)
class _Owned:
    """A counter with whose it is: ``hashed`` is the identity's hash, empty where all callers share it."""

    limit: CompiledLimit
    window: WindowState
    key: QuotaKey
    hashed: bytes


class Quotas:
    """Reads how full quotas are. Policies and customers are remembered by their versions."""

    def __init__(self, control: ControlStore, readings: AlertReadings, key_of: KeyOf) -> None:
        self._control = control
        self._readings = readings
        self._key_of = key_of
        self._policies: dict[str, tuple[int, PolicySet]] = {}
        self._directories: dict[str, Directory] = {}

    async def look(
        self, application: WatchedApplication, rule_id: str, rule: AlertRule, now_us: int
    ) -> list[Look]:
        """Returns an alert per level and counter that is near it, and what it means."""
        policies = await self._policies_of(application.application_id)
        directory = await self._directory_of(application.application_id, policies)
        limits = list(watched_limits(application.application_id, policies.policies, rule))
        owned = await self._owned(application, rule, limits, directory, now_us)
        owners = await self._control.identity_owners(
            application.application_id, sorted({each.hashed.hex() for each in owned if each.hashed})
        )
        return [
            look
            for each in owned
            if not rule.customer or owners.get(each.hashed.hex()) == rule.customer
            for look in _looks(rule_id, rule, each, directory, owners, now_us)
        ]

    async def _owned(
        self,
        application: WatchedApplication,
        rule: AlertRule,
        limits: Sequence[CompiledLimit],
        directory: Directory,
        now_us: int,
    ) -> list[_Owned]:
        near = rule.clears_below(min(rule.thresholds)) / 100
        prefixes = [(limit.prefix, math.floor(directory.lowest(limit) * near)) for limit in limits]
        hash_key = self._key_of(application.name)
        found: list[_Owned] = []
        for limit, prefix in zip(limits, prefixes, strict=True):
            for window in await self._readings.windows([prefix], now_us=now_us, limit=MOST):
                key = quota_key(limit, window.key)
                if key is not None:
                    hashed = identity_hash(key.identity, hash_key) if key.identity else b""
                    found.append(_Owned(limit, window, key, hashed))
        return found

    async def _policies_of(self, application_id: str) -> PolicySet:
        versions = await self._control.plan_versions()
        version = versions.get(application_id, 0)
        known = self._policies.get(application_id)
        if known is None or known[0] != version:
            state = await self._control.load(application_id)
            known = self._policies[application_id] = (state.application.plan_version, state.policies)
        return known[1]

    async def _directory_of(self, application_id: str, policies: PolicySet) -> Directory:
        changes = await self._control.directory_changes(
            {each: directory.version for each, directory in self._directories.items()}
        )
        for each, change in changes.items():
            before = Directory() if change.whole else self._directories.get(each, Directory())
            self._directories[each] = before.changed(change.version, change.entries, change.deleted)
        return self._directories.get(application_id, Directory()).under(plan_rules(policies.plans))


def _looks(
    rule_id: str,
    rule: AlertRule,
    owned: _Owned,
    directory: Directory,
    owners: Mapping[str, str],
    now_us: int,
) -> Iterator[Look]:
    limit = directory.effective(owned.limit, owned.hashed, now_us).rule.limit
    percent = 100 * owned.window.used / limit if limit else 100.0
    about = _about(owned, owners)
    for level in rule.thresholds:
        verdict, value = judge_value(rule, level, percent)
        subject = f"{level:g}|{owned.window.start_us}|{owned.limit.prefix}|{owned.key.endpoint}|{owned.hashed.hex()}"
        yield StoredAlert(rule_id, subject, QUIET, level, about), verdict, value


def _about(owned: _Owned, owners: Mapping[str, str]) -> Mapping[str, str]:
    """Returns whose quota it is, never by a raw value: those who are told are many."""
    about = {"policy": owned.limit.policy, "limit": owned.limit.name}
    if owned.key.endpoint:
        about["endpoint"] = owned.key.endpoint
    if owned.hashed:
        about["identity"] = display(owned.hashed)
        about |= {"customer": owners[owned.hashed.hex()]} if owned.hashed.hex() in owners else {}
    return about
