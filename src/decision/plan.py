"""The plan: what a client must do for each registered endpoint, made from a snapshot. Pure.

Property (tests/unit/decision/test_plan.py): where the plan says REPORT, no policy with a limit, block or DENY strategy matches, for
any values of the route's parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from decision.accounts import Accounts
from decision.epochs import Epochs
from decision.leasing import longest_life_us
from decision.memo import Memo
from usageflow.domain.directory import Directory
from usageflow.domain.identity import PATH_PARAMETER, AttributeKey, CompiledStrategy
from usageflow.domain.policies import FailMode, strictest
from usageflow.domain.snapshot import CompiledPolicy, Snapshot, attribute_name
from usageflow.domain.templates import UNMATCHED, segments_of
from usageflow.domain.usage import EndpointName
from usageflow.storage.ports import NumberKind


@dataclass(frozen=True, slots=True)
class EndpointInstruction:
    """What to do for one endpoint; ``attributes`` are numbers in the order of a check's values.

    ``local`` is the tightest (limit, window_us) for fail mode LOCAL. Tokens may live ``lease_life_us`` (0: none may be
    leased), unless ``lease_epoch`` changes before.
    """

    number: int
    endpoint: EndpointName
    check: bool
    attributes: tuple[int, ...]
    fail_mode: FailMode
    local: tuple[int, int] | None
    lease_life_us: int = 0
    lease_epoch: int = 0
    capture_fields: tuple[str, ...] = ()
    """Dot paths that metering expressions read."""
    event_required: bool = False
    """Counts would not tell what is billed."""


@dataclass(frozen=True, slots=True)
class PlanAttribute:
    """An attribute that some endpoint needs."""

    number: int
    key: AttributeKey
    sensitive: bool


@dataclass(frozen=True)
class Plan:
    """All instructions of a plan version."""

    snapshot: Snapshot
    instructions: Mapping[int, EndpointInstruction]
    attributes: tuple[PlanAttribute, ...]
    memo: Memo = field(default_factory=Memo, compare=False, repr=False)
    """Items of batches."""
    requests: Memo = field(default_factory=Memo, compare=False, repr=False)
    """Whole requests of Check."""

    def with_directory(self, directory: Directory) -> Plan:
        """Returns the same plan over another state of the directory, with nothing remembered of what was asked before."""
        return Plan(self.snapshot.with_directory(directory), self.instructions, self.attributes)

    @cached_property
    def accounts(self) -> Accounts:
        """Under what reported requests are accounted for."""
        return Accounts(self.snapshot)

    @cached_property
    def has_local_fallback(self) -> bool:
        """Tells whether clients share a rate among them where nobody answers."""
        return any(item.fail_mode is FailMode.LOCAL for item in self.instructions.values())


def build_plan(snapshot: Snapshot) -> Plan:
    """Returns the plan of a snapshot. O(endpoints x policies that match).

    An endpoint whose attributes have no number yet (it is just being registered) is left out: what a plan does not know
    is checked by name.
    """
    epochs = Epochs(snapshot)
    made = (_instruction(snapshot, epochs, number, name) for number, name in snapshot.endpoints.items())
    instructions = {item.number: item for item in made if item is not None}
    used = {number for item in instructions.values() for number in item.attributes}
    sensitive = {part.key for strategy in snapshot.strategies for part in strategy.parts if part.hashed}
    attributes = tuple(
        PlanAttribute(number, key, key in sensitive)
        for number, key in sorted(snapshot.attributes.items())
        if number in used
    )
    return Plan(snapshot, instructions, attributes)


def _instruction(
    snapshot: Snapshot, epochs: Epochs, number: int, endpoint: EndpointName
) -> EndpointInstruction | None:
    parameters = snapshot.trie.distinguishing_parameters(endpoint.method, endpoint.template)
    parameters |= snapshot.blocks.distinguishing_parameters(endpoint.method, endpoint.template)
    policies = snapshot.trie.could_match(endpoint.method, endpoint.template)
    if not parameters:
        policies = _until_stop(policies)
    blocks = snapshot.blocks.could_match(endpoint.method, endpoint.template)
    check = bool(blocks) or any(policy.asks for policy in policies)
    keys = [(PATH_PARAMETER, name) for name in sorted(parameters)]
    strategies = _strategies(snapshot, policies, every=any(block.identity_hash for block in blocks))
    keys += [part.key for strategy in strategies for part in strategy.parts]
    keys += _term_keys(policies, endpoint)
    keys = list(dict.fromkeys(keys))  # a parameter may tell both policies and callers apart
    if not all(key in snapshot.attribute_numbers for key in keys):
        return None
    numbers = tuple(snapshot.attribute_numbers[key] for key in keys) if check else ()
    # What no route matched is asked by its raw path, which no lease's key holds.
    life_us = longest_life_us(policies) if check and endpoint.template != UNMATCHED else 0
    epoch = epochs.of(policies, strategies, blocks, keys) if life_us else 0
    metering = [policy.metering for policy in policies if policy.enforced and policy.metering is not None]
    return EndpointInstruction(
        number,
        endpoint,
        check,
        numbers,
        _fail_mode(policies),
        _local(policies),
        life_us,
        epoch,
        capture_fields=tuple(sorted({path for term in metering for path in term.reads.fields})),
        event_required=any(term.reads.linear is None for term in metering),
    )


def _until_stop(policies: Sequence[CompiledPolicy]) -> tuple[CompiledPolicy, ...]:
    """Leaves out what a policy that says stop leaves out; only where all of these match whatever the values are."""
    for index, policy in enumerate(policies):
        if policy.stops:
            return tuple(policies[: index + 1])
    return tuple(policies)


def _strategies(
    snapshot: Snapshot, policies: Iterable[CompiledPolicy], *, every: bool
) -> list[CompiledStrategy]:
    """Returns the strategies of these policies, and all where a block may name an identity; they may repeat."""
    strategies = [policy.strategy for policy in policies if policy.strategy is not None]
    return [*strategies, *snapshot.strategies] if every else strategies


def _term_keys(policies: Iterable[CompiledPolicy], endpoint: EndpointName) -> Iterator[AttributeKey]:
    """Yields what the conditions and costs of these policies read, as far as the endpoint has it; keys may repeat."""
    parameters = [name for segment in segments_of(endpoint.template) for name in sorted(segment.names)]
    for reads in (term.reads for policy in policies for term in policy.terms):
        if reads.path:
            yield from ((PATH_PARAMETER, name) for name in parameters)
        for key in reads.attributes:
            if key[0] != PATH_PARAMETER or key[1] in parameters:
                yield key


def _fail_mode(policies: Iterable[CompiledPolicy]) -> FailMode:
    return strictest(policy.policy.fail_mode for policy in policies if policy.enforced and policy.limits)


def _local(policies: Iterable[CompiledPolicy]) -> tuple[int, int] | None:
    rules = [limit.rule for policy in policies if policy.enforced for limit in policy.limits]
    tightest = min(rules, key=lambda rule: rule.limit / rule.window_us, default=None)
    return (tightest.limit, tightest.window_us) if tightest is not None else None


def missing_parameters(numbers: Mapping[tuple[NumberKind, str], int], templates: Iterable[str]) -> list[str]:
    """Returns names of parameters of these templates that have no attribute number yet."""
    names = {
        parameter.name
        for template in templates
        for segment in segments_of(template)
        for parameter in segment.parameters
    }
    return sorted(
        name
        for name in names
        if (NumberKind.ATTRIBUTE, attribute_name((PATH_PARAMETER, name))) not in numbers
    )
