"""Which policies have a say in a request, and for whom: what matches, whose condition holds, up to which ``stop``. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from decision.terms import PolicyTerms
from usageflow.domain.decisions import Question
from usageflow.domain.identity import CompiledStrategy, Identity, block_key
from usageflow.domain.matching import PatternTrie
from usageflow.domain.snapshot import CompiledPolicy, Snapshot

T = TypeVar("T")


class Resolver:
    """Resolves each strategy at most once per request."""

    def __init__(self, snapshot: Snapshot, question: Question, now_us: int = 0) -> None:
        self._snapshot = snapshot
        self._question = question
        self.terms = PolicyTerms(question, now_us, self.identity)
        self._known: dict[str, Identity | None] = {}

    def identity(self, strategy: CompiledStrategy) -> Identity | None:
        if strategy.name not in self._known:
            self._known[strategy.name] = strategy.resolve(self._question.attributes, self._snapshot.hash_key)
        return self._known[strategy.name]

    def side(self, policy: CompiledPolicy) -> CompiledPolicy:
        if policy.shadow is None:
            return policy
        identity = self.identity(policy.strategy) if policy.strategy is not None else None
        return policy.side(identity.key if identity else "")

    def hashes(self) -> frozenset[str]:
        """Returns the hashes of all identities that the application's strategies find, anonymous ones aside."""
        found = (self.identity(strategy) for strategy in self._snapshot.strategies)
        return frozenset(
            block_key(item.key, self._snapshot.hash_key)
            for item in found
            if item is not None and not item.anonymous
        )


def matching(snapshot: Snapshot, question: Question) -> tuple[CompiledPolicy, ...]:
    """Returns the policies that match, most specific first, limits of what `stop` leaves out still among them."""
    if not isinstance(question.target, str):
        known = snapshot.policies_of_route(question.endpoint)
        if known is not None:
            return known
    return found(snapshot.trie, question)


def found(trie: PatternTrie[T], question: Question) -> tuple[T, ...]:
    """Returns what a trie holds for a question: by its route with values, else by its raw path."""
    if isinstance(question.target, str):
        return trie.lookup_paths(question.endpoint.method, question.target)
    return trie.lookup(question.endpoint.method, question.target)


def sides(
    snapshot: Snapshot, question: Question, now_us: int
) -> tuple[PolicyTerms, Callable[[CompiledPolicy], CompiledPolicy]]:
    """Returns what the expressions of policies come to, and what tells of a policy how it holds for who is asking:
    enforced, or as its shadow.
    """
    resolver = Resolver(snapshot, question, now_us)
    return resolver.terms, resolver.side


def applying(
    matched: Iterable[CompiledPolicy], side: Callable[[CompiledPolicy], CompiledPolicy]
) -> tuple[tuple[CompiledPolicy, ...], tuple[CompiledPolicy, ...]]:
    """Returns (enforced, shadow) policies up to the first enforced one that says stop."""
    enforced: list[CompiledPolicy] = []
    shadows: list[CompiledPolicy] = []
    for policy in map(side, matched):
        (enforced if policy.enforced else shadows).append(policy)
        if policy.enforced and policy.policy.stop:
            break
    return tuple(enforced), tuple(shadows)
