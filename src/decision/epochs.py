"""What names everything that decides for an endpoint, so that a change voids the leases of the endpoints that it concerns and of no
others. Pure, and the same on every replica.

Customers are not part of it: their overrides change without a plan, and count from the next lease on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from usageflow.domain.identity import AttributeKey, CompiledStrategy
from usageflow.domain.snapshot import CompiledBlock, CompiledPolicy, Snapshot, digest_of

_DIGEST_BYTES = 16


class Epochs:
    """The epochs of one snapshot's endpoints. What several endpoints share is digested once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._plans = _plan_overrides(snapshot)
        self._policies: dict[str, bytes] = {}
        self._strategies = {each.name: digest_of("strategy", each.declared) for each in snapshot.strategies}

    def of(
        self,
        policies: Sequence[CompiledPolicy],
        strategies: Iterable[CompiledStrategy],
        blocks: Iterable[CompiledBlock],
        attributes: Sequence[AttributeKey],
    ) -> int:
        """Returns the epoch, from 1 to 2^63 - 1, of an endpoint that these decide for. O(policies + strategies + blocks)."""
        made = blake2b(repr([tuple(map(str, key)) for key in attributes]).encode(), digest_size=8)
        made.update(b"".join([self._policies.get(each.name) or self._policy(each) for each in policies]))
        made.update(
            b"".join([self._strategies[name] for name in dict.fromkeys(each.name for each in strategies)])
        )
        made.update(b"".join(sorted(digest_of("block", block.declared) for block in blocks)))
        return (int.from_bytes(made.digest(), "big") >> 1) or 1

    def _policy(self, policy: CompiledPolicy) -> bytes:
        planned = repr(self._plans.get(policy.name, ())).encode()
        made = blake2b(policy.policy.digest + planned, digest_size=_DIGEST_BYTES).digest()
        self._policies[policy.name] = made
        return made


def _plan_overrides(snapshot: Snapshot) -> dict[str, list[tuple[object, ...]]]:
    """Returns what customers' plans make of each policy's limits, in one order."""
    found: defaultdict[str, list[tuple[object, ...]]] = defaultdict(list)
    for plan, rules in sorted(snapshot.directory.plans.items()):
        for (policy, limit), numbers in sorted(rules.items()):
            found[policy].append((plan, limit, numbers.limit, numbers.burst))
    return dict(found)
