"""Which numbers a limit has for whom: overrides by identity, by customer and by plan. Pure; immutable.

The order is: override for the identity, override for its customer, the customer's plan, the policy's own limit. Only limit
and burst differ, never the counter's key, so a raised or cut limit acts at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from usageflow.domain.customers import Customer, CustomerOverride
from usageflow.domain.layered import Layered
from usageflow.domain.limits import Rule
from usageflow.domain.policies import CustomerPlan, Scope

if TYPE_CHECKING:  # snapshots hold a directory
    from usageflow.domain.snapshot import CompiledLimit

EVERY = b""
"""Stands for all identities of a customer."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What an override makes of a limit; ``burst`` None leaves the limit's own. They count before ``until_us``."""

    limit: int
    burst: int | None
    until_us: int | None = None

    def of(self, rule: Rule) -> Rule:
        """Returns a limit's rule with these numbers."""
        return replace(rule, limit=self.limit, burst=rule.burst if self.burst is None else self.burst)


PlanRules = Mapping[str, Mapping[tuple[str, str], Numbers]]
"""Plan to (policy, limit) to its numbers there."""

CustomerRules = Mapping[tuple[str, str, bytes], Numbers]
"""(policy, limit, identity's hash or EVERY) to its numbers there."""


@dataclass(frozen=True, slots=True)
class Effective:
    """A limit's rule for an identity, until when (None: nothing ends by itself), and where its numbers came from."""

    rule: Rule
    until_us: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What decisions need of a customer; ``identities`` are hashes of 32 bytes."""

    customer: str
    plan: str
    identities: tuple[bytes, ...]
    overrides: CustomerRules = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Customer) -> Entry:
        """Returns the entry of a customer as it is stored, by hash."""
        identities = tuple(bytes.fromhex(each) for each in stored.identities)
        return cls(stored.name, stored.plan, identities, rules_of(stored.overrides))

    @property
    def matters(self) -> bool:
        """Tells whether any limit may differ for this customer."""
        return bool(self.plan or self.overrides)


def rules_of(overrides: Iterable[CustomerOverride]) -> CustomerRules:
    """Returns stored overrides, whose identities are hashes, as they are looked up."""
    return {
        (item.policy, item.limit_name, bytes.fromhex(item.identity)): Numbers(
            item.limit, item.burst, item.expires_us
        )
        for item in overrides
    }


def plan_rules(plans: Iterable[CustomerPlan]) -> PlanRules:
    """Returns a revision's plans as they are looked up."""
    return {
        plan.name: {
            (item.policy, item.limit_name): Numbers(item.limit, item.burst) for item in plan.overrides
        }
        for plan in plans
    }


@dataclass(frozen=True, slots=True)
class Directory:
    """The customers of an application for whom some limit may differ, at one version of its change log."""

    version: int = 0
    plans: PlanRules = field(default_factory=dict, repr=False)
    _customers: Layered[str, Entry] = field(default_factory=Layered[str, Entry], repr=False)
    _entries: Layered[bytes, Entry] = field(default_factory=Layered[bytes, Entry], repr=False)
    empty: bool = True

    def under(self, plans: PlanRules) -> Directory:
        """Returns the same customers under a revision's plans."""
        return replace(self, plans=plans)

    def changed(self, version: int, entries: Iterable[Entry], deleted: Iterable[str] = ()) -> Directory:
        """Returns the directory with these customers as they are now, and others gone. O(what changed), mostly."""
        present = {entry.customer: entry for entry in entries}
        customers: dict[str, Entry | None] = dict.fromkeys(deleted)
        customers |= {name: entry if entry.matters else None for name, entry in present.items()}
        identities: dict[bytes, Entry | None] = {}
        for name in customers:
            before = self._customers.get(name)
            identities |= dict.fromkeys(before.identities if before else ())
        for entry in customers.values():
            identities |= dict.fromkeys(entry.identities, entry) if entry else {}
        kept = self._customers.changed(customers)
        return Directory(version, self.plans, kept, self._entries.changed(identities), not kept)

    def lowest(self, limit: CompiledLimit) -> int:
        """Returns the lowest number that a limit has for anybody, expired overrides too. O(customers)."""
        found = [limit.rule.limit]
        key = (limit.policy, limit.name)
        found += [plan[key].limit for plan in self.plans.values() if key in plan]
        for entry in self._customers.values():
            found += [numbers.limit for of, numbers in entry.overrides.items() if of[:2] == key]
        return min(found)

    def effective(self, limit: CompiledLimit, identity: bytes, now_us: int) -> Effective:
        """Returns the rule of a limit for an identity (its keyed hash) at an instant of Unix time."""
        entry = None if limit.scope is Scope.SHARED else self._entries.get(identity)
        if entry is None:
            return Effective(limit.rule, None, limit.source)
        for whose in (identity, EVERY):
            numbers = entry.overrides.get((limit.policy, limit.name, whose))
            if numbers is not None and (numbers.until_us is None or now_us < numbers.until_us):
                source = f"override of customer {entry.customer}{' for this identity' if whose else ''}"
                return Effective(numbers.of(limit.rule), numbers.until_us, source)
        planned = self.plans.get(entry.plan, {}).get((limit.policy, limit.name))
        if planned is None:
            return Effective(limit.rule, None, limit.source)
        return Effective(planned.of(limit.rule), None, f"plan {entry.plan}")
