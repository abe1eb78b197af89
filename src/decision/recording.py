"""What the decision log keeps of a request: only what policies read, and no secret. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from decision.resolving import found, matching
from usageflow.domain.decision_log import CLAIM, LoggedDecision
from usageflow.domain.decisions import Answer, Question
from usageflow.domain.extraction import text_of
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.identity import (
    PATH_PARAMETER,
    AttributeKey,
    Attributes,
    CompiledPart,
    CompiledSource,
    CompiledStrategy,
    network_of,
)
from usageflow.domain.masking import is_secret, mask_path
from usageflow.domain.snapshot import CompiledPolicy, Snapshot
from usageflow.domain.sources import Location
from usageflow.domain.templates import UNMATCHED

_ADDRESS: AttributeKey = (str(Location.CLIENT_IP), "")


def record_of(snapshot: Snapshot, question: Question, answer: Answer, now_us: int) -> LoggedDecision:
    """Returns what is kept of a decided request."""
    matched = until_stop(matching(snapshot, question))
    asked = dict.fromkeys(keys_read(snapshot, question, matched))
    attributes = question.attributes
    secret = _secret_keys(snapshot) | _secret_looking(attributes)
    hidden = tuple(sorted(name for location, name in secret if location == PATH_PARAMETER))
    path = _path(question, hidden)
    return LoggedDecision(
        at_us=now_us,
        revision=snapshot.revision,
        endpoint=question.endpoint,
        path=path,
        parameters={} if path else dict(_parameters(attributes, hidden)),
        hidden=hidden,
        asked=tuple(asked),
        values=tuple(_values(asked, attributes, secret, snapshot.hash_key)),
        client_ip="" if _ADDRESS in secret else _address(attributes.client_ip),
        cost=question.cost,
        percent=snapshot.decision_log_percent,
        leased=answer.lease.tokens if answer.lease else 0,
        allowed=answer.allowed,
        reason=str(answer.reason),
        identity=answer.identity.title if answer.identity else "",
        policies=tuple(policy.name for policy in answer.policies),
        decided_by=answer.decided_by.name if answer.decided_by else "",
        degraded=answer.degraded is not None,
    )


def until_stop(policies: Sequence[CompiledPolicy]) -> Sequence[CompiledPolicy]:
    """Returns the policies that may have a say: none behind one that says stop, whoever asks."""
    stop = next((index for index, policy in enumerate(policies) if policy.stops), len(policies))
    return policies[: stop + 1]


def strategies_asked(
    snapshot: Snapshot, question: Question, policies: Iterable[CompiledPolicy]
) -> list[CompiledStrategy]:
    """Returns the strategies that are applied to a request: of these policies, or all where a block may name an identity."""
    blocks = () if snapshot.blocks.is_empty else found(snapshot.blocks, question)
    if any(block.identity_hash for block in blocks):
        return list(snapshot.strategies)
    named = {policy.strategy.name: policy.strategy for policy in policies if policy.strategy is not None}
    return list(named.values())


def keys_read(
    snapshot: Snapshot, question: Question, policies: Sequence[CompiledPolicy]
) -> Iterator[AttributeKey]:
    """Yields what is read of a request; claims under keys of their own. Keys may repeat."""
    for strategy in strategies_asked(snapshot, question, policies):
        yield from map(part_key, strategy.parts)
    for policy in policies:
        for term in policy.terms:
            yield from term.reads.attributes


def part_key(part: CompiledPart) -> AttributeKey:
    """Returns under which key a field of a source is kept."""
    return part.key if part.rules is None else (CLAIM, f"{part.rules.rules_id} {part.name}")


def _secret_keys(snapshot: Snapshot) -> frozenset[AttributeKey]:
    """Returns what some strategy calls sensitive. A join that is sensitive as a whole makes all of its fields so."""
    return frozenset(
        part_key(part)
        for strategy in snapshot.strategies
        for source in strategy.sources
        for part in source.parts
        if part.sensitive or sensitive_join(source)
    )


def sensitive_join(source: CompiledSource) -> bool:
    """Tells whether a source is kept as a hash though none of its fields is by itself."""
    return source.sensitive and not any(part.sensitive for part in source.parts)


def _secret_looking(attributes: Attributes) -> frozenset[AttributeKey]:
    """Returns the parameters of a path that hold a secret by their name or by what it looks like, whatever strategies say."""
    return frozenset(
        key
        for key, values in attributes.values.items()
        if key[0] == PATH_PARAMETER and (is_secret(key[1]) or any(map(_looks_secret, values)))
    )


def _looks_secret(value: str | bytes) -> bool:
    return isinstance(value, str) and mask_path(value) != value


def _path(question: Question, hidden: Sequence[str]) -> str:
    """Returns what is kept of a raw path."""
    if not isinstance(question.target, str):
        return ""
    raw = question.target.partition("?")[0].partition("#")[0]
    masked = mask_path(raw)
    if question.endpoint.template == UNMATCHED:
        return masked
    # What is secret in a path cannot be cut out of it: such a request is kept by its route.
    return "" if hidden or masked != raw else raw


def _parameters(attributes: Attributes, hidden: Sequence[str]) -> Iterator[tuple[str, str]]:
    for (location, name), values in attributes.values.items():
        if (
            location == PATH_PARAMETER
            and name not in hidden
            and len(values) == 1
            and isinstance(values[0], str)
        ):
            yield name, values[0]


def _values(
    asked: Iterable[AttributeKey], attributes: Attributes, secret: frozenset[AttributeKey], hash_key: bytes
) -> Iterator[tuple[AttributeKey, str | bytes]]:
    for key in asked:
        for value in _raw_values(key, attributes):
            hide = key in secret and isinstance(value, str) and value.strip()
            yield key, keyed_hash(hash_key, value) if hide and isinstance(value, str) else value


def _raw_values(key: AttributeKey, attributes: Attributes) -> Sequence[str | bytes]:
    if key == _ADDRESS:
        return ()  # it stands beside the attributes
    if key[0] != CLAIM:
        return attributes.values.get(key, ())
    rules_id, _, name = key[1].partition(" ")
    text = text_of(attributes.claims.get(rules_id, {}).get(name))
    return () if text is None else (text,)


@lru_cache(maxsize=10_000)
def _address(client_ip: str) -> str:
    """Returns an address of the same network: all that tells callers apart."""
    return network_of(client_ip).partition("/")[0]
