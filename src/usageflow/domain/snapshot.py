"""A compiled revision: what decisions of one application look up. Immutable; a new one replaces it in one assignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from hashlib import blake2b
from urllib.parse import quote, unquote

from usageflow.domain.applications import Capture
from usageflow.domain.capture import CaptureRules
from usageflow.domain.declared import Declared
from usageflow.domain.directory import Directory
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.expressions import Term
from usageflow.domain.identity import AttributeKey, CompiledStrategy
from usageflow.domain.limits import Rule
from usageflow.domain.matching import PatternTrie, target_of_route
from usageflow.domain.patterns import Kind, Pattern
from usageflow.domain.policies import Block, FailMode, Metering, Mode, Policy, Scope
from usageflow.domain.rollout import picked
from usageflow.domain.templates import UNMATCHED, canonical_template
from usageflow.domain.tokens import TokenRules
from usageflow.domain.usage import EndpointName

Numbers = Mapping[tuple[str, str], int]
"""(kind, name) to number; kinds are ENDPOINT, POLICY and ATTRIBUTE."""


def attribute_name(key: AttributeKey) -> str:
    """Returns the name under which an attribute has a number."""
    return f"{key[0]} {key[1]}"


GUARD_INDEX = 2**31 - 1
"""The index of a guard's limits: no policy has as many, so clients that look it up in a plan find nothing to show."""

TOO_MANY = "too many requests from this address"
TOO_NEW = "too many new callers from this address"

OWN = "policy"
"""The source of a limit's numbers where nothing overrides them."""


@dataclass(frozen=True, slots=True)
class CompiledLimit:
    """A limit, ready to be taken from. ``index`` is its place in the policy; ``source`` tells people where the numbers of
    its rule came from. ``guard`` is what a guard says where it denies, "" for a policy's own limits.
    """

    policy: str
    name: str
    index: int
    rule: Rule
    scope: Scope
    prefix: str
    source: str = OWN
    guard: str = ""

    def key(self, identity: str, endpoint: EndpointName) -> str:
        """Returns the counter's key: policy, limit, rule and scope; another rule or scope starts a new counter."""
        if self.scope is Scope.SHARED:
            return self.prefix
        if self.scope is Scope.IDENTITY:
            return f"{self.prefix}|{identity}"
        # No template holds a control character: where it ends cannot be mistaken.
        return f"{self.prefix}|{endpoint.method} {endpoint.template}\x1f{identity}"


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """What decisions need of a declared policy: a tenth of what the declaration takes. ``digest`` names the definition."""

    name: str
    path: str
    mode: Mode
    stop: bool
    cost: int
    message: str
    fail_mode: FailMode
    enforce_percent: int
    metering: Metering | None
    digest: bytes

    @classmethod
    def of(cls, policy: Policy) -> PolicyFacts:
        """Returns the facts of a declared policy."""
        return cls(
            name=policy.name,
            path=policy.match.path,
            mode=policy.mode,
            stop=policy.stop,
            cost=policy.cost,
            message=policy.message,
            fail_mode=policy.fail_mode,
            enforce_percent=policy.enforce_percent,
            metering=policy.metering,
            digest=digest_of("policy", policy),
        )


def digest_of(kind: str, declared: Declared) -> bytes:
    """Returns 16 bytes that name a definition, on every replica alike; fields that say their defaults are left out."""
    text = f"{kind}\n{declared.model_dump_json(by_alias=True, exclude_defaults=True)}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True)
class CompiledPolicy:
    """A policy, ready to be applied. ``shadow`` is the same policy for the identities that ``enforce_percent`` leaves out."""

    number: int
    policy: PolicyFacts
    strategy: CompiledStrategy | None
    limits: tuple[CompiledLimit, ...]
    shadow: CompiledPolicy | None = None
    guards: tuple[CompiledLimit, ...] = ()
    condition: Term | None = None
    cost: Term | None = None
    metering: Term | None = None
    """None as well where the quantity itself is metered."""

    @property
    def name(self) -> str:
        """Returns the policy's name."""
        return self.policy.name

    @cached_property
    def enforced(self) -> bool:
        """Tells whether it can deny and meter, if need be some identities only."""
        return self.policy.mode is Mode.ENFORCE

    @cached_property
    def stops(self) -> bool:
        """Tells whether it leaves out less specific policies, whoever asks."""
        return self.enforced and self.policy.stop and self.shadow is None and self.condition is None

    @cached_property
    def not_stopping(self) -> CompiledPolicy:
        """Returns the same policy without its ``stop``: how it applies where its condition cannot be evaluated."""
        shadow = self.shadow.not_stopping if self.shadow is not None else None
        return replace(self, policy=replace(self.policy, stop=False), shadow=shadow)

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """Returns the expressions that decisions need."""
        return tuple(term for term in (self.condition, self.cost) if term is not None)

    @cached_property
    def leasable_terms(self) -> bool:
        """Tells whether its expressions leave room for leases: no cost to be worked out, and nothing that changes from
        request to request in the condition.
        """
        reads = self.condition.reads if self.condition is not None else None
        return self.cost is None and not (reads and (reads.time or reads.body))

    def side(self, identity_key: str) -> CompiledPolicy:
        """Returns the policy as it holds for an identity ("" for all callers as one): itself, or its shadow."""
        if self.shadow is None or picked(self.name, identity_key, self.policy.enforce_percent):
            return self
        return self.shadow

    @cached_property
    def asks(self) -> bool:
        """Tells whether a request that it matches must be checked before it runs: for its limits, or to learn who is
        asking, which usage is accounted to, or whether its condition holds, which reports cannot tell.
        """
        asked = self.condition is not None and not self.condition.reads.route_only
        return bool(self.limits) or self.strategy is not None or asked


@dataclass(frozen=True, slots=True)
class CompiledBlock:
    """A block; ``identity_hash`` is 64 hex digits, or "" for everybody."""

    identity_hash: str
    reason: str
    declared: Block


@dataclass(frozen=True)
class Snapshot:
    """Everything that decides for one application at one plan version."""

    application_id: str
    application: str
    revision: int
    plan_version: int
    hash_key: bytes
    policies: tuple[CompiledPolicy, ...]
    trie: PatternTrie[CompiledPolicy]
    blocks: PatternTrie[CompiledBlock]
    strategies: tuple[CompiledStrategy, ...]
    endpoints: Mapping[int, EndpointName]
    templates: PatternTrie[EndpointName]
    attributes: Mapping[int, AttributeKey]
    policy_numbers: Mapping[int, CompiledPolicy] = field(repr=False)
    directory: Directory = field(default_factory=Directory)
    decision_log_percent: int = 0
    """Of how many of 100 callers decisions are logged."""
    capture: Capture = Capture.STANDARD
    _of_routes: dict[EndpointName, tuple[CompiledPolicy, ...] | None] = field(
        default_factory=dict, repr=False, compare=False
    )

    def with_directory(self, directory: Directory) -> Snapshot:
        """Returns the same snapshot over another state of the directory: nothing is compiled, not even what was worked
        out on demand.
        """
        made = copy(self)
        object.__setattr__(made, "directory", directory.under(self.directory.plans))
        return made

    @cached_property
    def endpoint_numbers(self) -> Mapping[EndpointName, int]:
        """Returns the number of each known endpoint."""
        return {name: number for number, name in self.endpoints.items()}

    @cached_property
    def attribute_numbers(self) -> Mapping[AttributeKey, int]:
        """Returns the number of each attribute."""
        return {key: number for number, key in self.attributes.items()}

    @cached_property
    def capture_rules(self) -> CaptureRules:
        """Returns what is kept of reported requests."""
        parts = (
            part
            for strategy in self.strategies
            for source in strategy.sources
            for part in source.parts
            if part.sensitive or source.sensitive
        )
        return CaptureRules.of(self.capture, (part.key for part in parts))

    @cached_property
    def token_rules(self) -> tuple[TokenRules, ...]:
        """Returns the rules for tokens that strategies set, each once."""
        rules = (part.rules for strategy in self.strategies for part in strategy.parts)
        return tuple({item.rules_id: item for item in rules if item is not None}.values())

    def policies_of_route(self, endpoint: EndpointName) -> tuple[CompiledPolicy, ...] | None:
        """Returns what matches a registered route, None where values of its parameters tell policies apart, or for another."""
        if endpoint not in self._of_routes:
            if endpoint not in self.endpoint_numbers or endpoint.template == UNMATCHED:
                return None
            told_apart = self.trie.distinguishing_parameters(endpoint.method, endpoint.template)
            target = target_of_route(endpoint.template, {})
            found = None if told_apart else self.trie.lookup(endpoint.method, target)
            self._of_routes[endpoint] = found
        return self._of_routes[endpoint]

    def name_of_path(self, method: str, path: str) -> EndpointName:
        """Returns the endpoint that a raw path without a route is counted under: the most specific registered
        template, else the most specific policy's pattern, else ``{unmatched}``. A raw path never becomes a name.
        """
        for template in self.templates.lookup_paths(method, path):
            return EndpointName(method, template.template)
        for found in self.trie.lookup_paths(method, path):
            return EndpointName(method, template_of_pattern(found.policy.path))
        return EndpointName(method, UNMATCHED)


@lru_cache(maxsize=100_000)
def template_of_pattern(path: str) -> str:
    """Returns the template that a policy's pattern stands for; ``*`` alone is ``{unmatched}``, and so is what no
    template can say (longer than one may be).
    """
    pattern = Pattern.parse(path)
    if pattern.takes_everything:
        return UNMATCHED
    texts = path.removesuffix("/").split("/")[1:]
    named: list[str] = []
    for index, (segment, text) in enumerate(zip(pattern.segments, texts, strict=True), start=1):
        named.append(_template_segment(segment.kind, text, index, named))
    return _canonical("/" + "/".join(named)) or UNMATCHED


def _template_segment(kind: Kind, text: str, index: int, taken: Sequence[str]) -> str:
    """Returns a pattern's segment as templates spell it; a name that is none, or is taken, becomes ``{any2}``."""
    if kind is Kind.REST:
        return "{rest*}"
    if kind is Kind.LITERAL:
        return (
            text
            if _canonical(f"/{text}") == f"/{text}"
            else quote(unquote(text, errors="surrogateescape"), safe="", errors="surrogateescape")
        )
    named = "{" + text.strip(":{}") + "}"
    return named if named not in taken and _canonical(f"/{named}") == f"/{named}" else f"{{any{index}}}"


def _canonical(template: str) -> str:
    """Returns the canonical template, "" for what is none."""
    try:
        return canonical_template(template)
    except InvalidArgument:
        return ""


def blocking(blocks: Sequence[CompiledBlock], hashes: frozenset[str]) -> CompiledBlock | None:
    """Returns the first block that holds for one of these identity hashes, or for everybody."""
    return next((block for block in blocks if not block.identity_hash or block.identity_hash in hashes), None)
