"""From a declared state to a Snapshot: patterns, limits, guards and expressions, compiled once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from usageflow.domain.applications import Capture
from usageflow.domain.calendars import LONGEST_US
from usageflow.domain.directory import Directory, plan_rules
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.expressions import CompileTerm, ResultType, compile_nothing
from usageflow.domain.guards import NEW_IDENTITIES_US
from usageflow.domain.identity import AttributeKey, CompiledStrategy
from usageflow.domain.limits import Rule
from usageflow.domain.matching import Entry, PatternTrie
from usageflow.domain.patterns import Methods, Pattern
from usageflow.domain.policies import (
    DEFAULT_EXPRESSION,
    Algorithm,
    Block,
    Limit,
    Mode,
    Policy,
    PolicySet,
    Scope,
)
from usageflow.domain.snapshot import (
    GUARD_INDEX,
    TOO_MANY,
    TOO_NEW,
    CompiledBlock,
    CompiledLimit,
    CompiledPolicy,
    Numbers,
    PolicyFacts,
    Snapshot,
)
from usageflow.domain.templates import UNMATCHED, TemplateSegment, segments_of
from usageflow.domain.usage import EndpointName


def compile_snapshot(
    *,
    application_id: str,
    application: str,
    revision: int,
    plan_version: int,
    hash_key: bytes,
    policies: PolicySet,
    blocks: Sequence[Block],
    numbers: Numbers,
    endpoints: Iterable[EndpointName],
    directory: Directory | None = None,
    compile_term: CompileTerm = compile_nothing,
    decision_log_percent: int = 0,
    capture: Capture = Capture.STANDARD,
) -> Snapshot:
    """Compiles a state. ``hash_key`` is the application's own. Blocks carry hashed identities (64 hex digits).

    Raises InvalidArgument where a pattern or an expression does not parse: such a set is refused when it is saved.
    """
    strategies = {strategy.name: CompiledStrategy.of(strategy) for strategy in policies.strategies}
    enabled = [policy for policy in policies.policies if policy.mode is not Mode.DISABLED]
    compiled = tuple(
        _with_terms(
            _compile_policy(application_id, policy, strategies.get(policy.strategy), numbers),
            policy,
            compile_term,
        )
        for policy in enabled
    )
    known = {
        numbers[("ENDPOINT", f"{name.method} {name.template}")]: name
        for name in endpoints
        if ("ENDPOINT", f"{name.method} {name.template}") in numbers
    }
    return Snapshot(
        application_id=application_id,
        application=application,
        revision=revision,
        plan_version=plan_version,
        hash_key=hash_key,
        policies=compiled,
        trie=PatternTrie(map(_entry, enabled, compiled)),
        blocks=PatternTrie(_block_entry(block) for block in blocks),
        strategies=tuple(strategies.values()),
        endpoints=known,
        templates=PatternTrie(_template_entries(known.values())),
        attributes=_attributes(numbers),
        policy_numbers={item.number: item for item in compiled if item.number},
        directory=(directory or Directory()).under(plan_rules(policies.plans)),
        decision_log_percent=decision_log_percent,
        capture=capture,
    )


def _entry(policy: Policy, item: CompiledPolicy) -> Entry[CompiledPolicy]:
    methods, pattern = Methods.parse(policy.match.methods), Pattern.parse(policy.match.path)
    return Entry(methods, pattern, policy.priority, policy.name, item)


def _block_entry(block: Block) -> Entry[CompiledBlock]:
    value = CompiledBlock(block.identity, block.reason, block)
    return Entry(Methods.parse(block.methods), Pattern.parse(block.path), 0, block.identity, value)


def _template_entries(names: Iterable[EndpointName]) -> Iterator[Entry[EndpointName]]:
    """Yields the routes that a raw path may be counted under; one that no path can have (``/a/../b``) is left out."""
    for name in names:
        if name.template == UNMATCHED:
            continue
        text = "/" + "/".join(_pattern_segment(segment) for segment in segments_of(name.template))
        try:
            methods, pattern = Methods.parse((name.method,)), Pattern.parse(text)
        except InvalidArgument:
            continue
        yield Entry(methods, pattern, 0, name.template, name)


def _pattern_segment(segment: TemplateSegment) -> str:
    """Returns the pattern of a template's segment; one that mixes text and parameters takes any single segment."""
    if not segment.parameters:
        return str(segment.parts[0])
    return "*" if segment.parameters[-1].rest else "{any}"


def limits_of(application_id: str, policy: Policy) -> tuple[CompiledLimit, ...]:
    """Returns the limits of a policy as its counters are kept."""
    return tuple(
        _compile_limit(application_id, policy, limit, index) for index, limit in enumerate(policy.limits)
    )


def _compile_policy(
    application_id: str, policy: Policy, strategy: CompiledStrategy | None, numbers: Numbers
) -> CompiledPolicy:
    limits = limits_of(application_id, policy)
    shadow = None
    if policy.mode is Mode.ENFORCE and policy.enforce_percent < 100:
        left_out = policy.model_copy(update={"mode": Mode.SHADOW})
        shadow = _compile_policy(application_id, left_out, strategy, numbers)
    guards = tuple(_compile_guard(application_id, policy, strategy)) if strategy is not None else ()
    number, facts = numbers.get(("POLICY", policy.name), 0), PolicyFacts.of(policy)
    return CompiledPolicy(number, facts, strategy, limits, shadow, guards)


def _with_terms(compiled: CompiledPolicy, policy: Policy, compile_term: CompileTerm) -> CompiledPolicy:
    metering = policy.metering.expression if policy.metering is not None else DEFAULT_EXPRESSION
    if not policy.condition and not policy.cost_expression and metering == DEFAULT_EXPRESSION:
        return compiled
    return replace(
        compiled,
        condition=compile_term(policy.condition, ResultType.BOOL) if policy.condition else None,
        cost=compile_term(policy.cost_expression, ResultType.NUMBER) if policy.cost_expression else None,
        metering=compile_term(metering, ResultType.UNITS) if metering != DEFAULT_EXPRESSION else None,
        shadow=_with_terms(compiled.shadow, policy, compile_term) if compiled.shadow is not None else None,
    )


def _compile_limit(application_id: str, policy: Policy, limit: Limit, index: int) -> CompiledLimit:
    shadow = "shadow|" if policy.mode is Mode.SHADOW else ""
    # A limit of a policy without a strategy counts all callers as one.
    scope = limit.scope if policy.strategy else Scope.SHARED
    calendar = limit.calendar
    window = calendar or limit.window_us
    prefix = f"{application_id}|{shadow}{policy.name}|{limit.name}|{limit.algorithm}|{window}|{scope}"
    window_us = LONGEST_US[calendar.alignment] if calendar else limit.window_us
    rule = Rule(limit.algorithm, limit.limit, window_us, limit.burst, calendar, limit.charge_denied)
    return CompiledLimit(policy.name, limit.name, index, rule, scope, prefix)


def _compile_guard(
    application_id: str, policy: Policy, strategy: CompiledStrategy
) -> Iterator[CompiledLimit]:
    """Yields the limits of a strategy's guard; no policy has a name with a colon."""
    guard = strategy.guard
    if guard is None:
        return
    prefix = f"{application_id}|guard:{strategy.name}"
    rule = Rule(Algorithm.FIXED_WINDOW, guard.limit, guard.window_us)
    yield CompiledLimit(
        policy.name, "guard", GUARD_INDEX, rule, Scope.SHARED, f"{prefix}|{guard.window_us}", guard=TOO_MANY
    )
    if guard.new_identities:
        rule = Rule(Algorithm.CONCURRENCY, guard.new_identities, NEW_IDENTITIES_US)
        yield CompiledLimit(
            policy.name, "new-identities", GUARD_INDEX, rule, Scope.SHARED, f"{prefix}|new", guard=TOO_NEW
        )


def _attributes(numbers: Numbers) -> dict[int, AttributeKey]:
    keys = {number: name.partition(" ") for (kind, name), number in numbers.items() if kind == "ATTRIBUTE"}
    return {number: (location, name) for number, (location, _, name) in keys.items()}
