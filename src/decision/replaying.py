"""From a logged request back to a question for another revision, or why that one cannot tell. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from decision.recording import part_key, strategies_asked, until_stop
from decision.resolving import matching, sides
from usageflow.domain.decision_log import CLAIM, LoggedDecision
from usageflow.domain.decisions import Question
from usageflow.domain.identity import (
    PATH_PARAMETER,
    AttributeKey,
    Attributes,
    CompiledPart,
    CompiledStrategy,
)
from usageflow.domain.matching import target_of_route
from usageflow.domain.routes import parameters_of
from usageflow.domain.snapshot import CompiledPolicy, Snapshot
from usageflow.domain.sources import Location
from usageflow.domain.templates import UNMATCHED

DEGRADED = "the counters did not answer then, and a fail mode decided"
_ADDRESS: AttributeKey = (str(Location.CLIENT_IP), "")


def question_of(snapshot: Snapshot, logged: LoggedDecision) -> Question:
    """Returns what a logged request asks of a snapshot. Raises InvalidArgument for a path that is none."""
    endpoint, parameters = logged.endpoint, dict(logged.parameters)
    if logged.path:
        endpoint = snapshot.name_of_path(endpoint.method, logged.path)
        known = endpoint.template != UNMATCHED
        parameters = parameters_of(endpoint.template, logged.path) if known else {}
    target = logged.path or target_of_route(endpoint.template, parameters)
    return Question(endpoint, target, _attributes(logged, parameters), logged.cost)


def _attributes(logged: LoggedDecision, parameters: Mapping[str, str]) -> Attributes:
    pairs: list[tuple[AttributeKey, str | bytes]] = [
        ((PATH_PARAMETER, name), value) for name, value in parameters.items()
    ]
    claims: dict[str, dict[str, str | bytes]] = {}
    for key, value in logged.values:
        if key[0] == CLAIM:
            rules_id, _, name = key[1].partition(" ")
            claims.setdefault(rules_id, {})[name] = value
        elif key[0] != PATH_PARAMETER or isinstance(value, bytes):  # plain ones stand among the parameters
            pairs.append((key, value))
    plain = Attributes.of(pairs, logged.client_ip)
    return Attributes(plain.values, plain.client_ip, claims)


def undecidable(snapshot: Snapshot, question: Question, logged: LoggedDecision) -> str:
    """Returns why a snapshot cannot decide a logged request as it would have decided the request itself, "" where it can."""
    return next(_reasons(snapshot, question, logged), "")


def _reasons(snapshot: Snapshot, question: Question, logged: LoggedDecision) -> Iterator[str]:
    if logged.degraded:
        yield DEGRADED
    if logged.hidden and not logged.path:
        method, template = question.endpoint.method, question.endpoint.template
        telling = snapshot.trie.distinguishing_parameters(method, template)
        telling |= snapshot.blocks.distinguishing_parameters(method, template)
        yield from (
            f"path parameter {name} is sensitive: its value was not kept"
            for name in logged.hidden
            if name in telling
        )
    policies = until_stop(matching(snapshot, question))
    for strategy in strategies_asked(snapshot, question, ()):  # a block may name whom any of them finds
        yield from _of_strategy(snapshot, strategy, question, logged)
    terms, _ = sides(snapshot, question, logged.at_us)
    for policy in policies:
        yield from _of_terms(policy, question, logged)
        known_false = policy.condition is not None and not policy.condition.reads.identity
        if known_false and terms.condition(policy) is False:
            continue
        if policy.strategy is not None:
            yield from _of_strategy(snapshot, policy.strategy, question, logged)


def _of_strategy(
    snapshot: Snapshot, strategy: CompiledStrategy, question: Question, logged: LoggedDecision
) -> Iterator[str]:
    for source in strategy.sources:
        for part in source.parts:
            yield from _of_part(part, logged)
        if source.key(question.attributes, snapshot.hash_key) is not None:
            return  # the first source that yields a value wins


def _of_part(part: CompiledPart, logged: LoggedDecision) -> Iterator[str]:
    key = part_key(part)
    if key in logged.asked or key == _ADDRESS or (key[0] == PATH_PARAMETER and key[1] not in logged.hidden):
        return
    if part.rules is not None:
        yield f"claim {part.name}: tokens are not kept, and no policy read it"
    else:
        yield _not_kept(key)


def _of_terms(policy: CompiledPolicy, question: Question, logged: LoggedDecision) -> Iterator[str]:
    for key in dict.fromkeys(key for term in policy.terms for key in term.reads.attributes):
        values = question.attributes.values.get(key, ())
        if any(isinstance(value, bytes) for value in values) or (
            key[0] == PATH_PARAMETER and key[1] in logged.hidden
        ):
            yield f"{_title(key)} is kept as a hash, which no expression can read"
        elif key[0] != PATH_PARAMETER and key != _ADDRESS and key not in logged.asked:
            yield _not_kept(key)


def _not_kept(key: AttributeKey) -> str:
    return f"{_title(key)} was not kept: no policy read it"


def _title(key: AttributeKey) -> str:
    return f"{key[0].replace('body_json', 'body').replace('_', ' ')} {key[1]}".strip()
