"""Who a request is from: strategies applied to the attributes of a request.

An identity has a *key*, which counters and usage are kept under: ``v:`` and the plain value, ``h:`` and 64 hex digits of the keyed
hash of a sensitive value, ``a:`` and the address of an anonymous caller (``a:`` alone where all of them share). The
kinds cannot be mistaken for one another, whatever a caller sends.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from usageflow.domain.extraction import joined, text_of
from usageflow.domain.guards import Guard
from usageflow.domain.hashing import display, keyed_hash
from usageflow.domain.policies import OnMissing, Strategy
from usageflow.domain.sources import VERIFIED, Location, Source
from usageflow.domain.tokens import BEARER, COOKIE_PREFIX, TokenRules

MAX_VALUE_BYTES = 256
"""A longer plain value counts as missing."""

MAX_SENSITIVE_BYTES = 8192
"""The same for values that are kept as hashes: tokens may be long."""

_SENSITIVE = re.compile(r"authorization|cookie|api[-_]?key|token|secret|password|credential", re.IGNORECASE)

AttributeKey = tuple[str, str]
"""Location and name; names of headers are in lower case. The parameters of routes are at ``path_parameter``; at ``jwt`` stand
whole tokens, named for where they were: ``bearer`` or ``cookie:NAME``.
"""

PATH_PARAMETER = "path_parameter"
"""Location of a route's parameter among attributes."""

BODY_JSON = "body_json"
"""Location of what expressions read of a body: a dot path as in ``body``, the value as JSON text, so that its type is known."""

_RAW = frozenset({PATH_PARAMETER, str(Location.JWT), str(Location.CLIENT_IP)})
"""Never hashed by clients: routes are matched by their values, tokens are verified, addresses are cut to networks."""


def attribute_key(location: Location, name: str) -> AttributeKey:
    """Returns the key under which an attribute is found: header names are case-insensitive, the client has one address,
    and what is not in a cookie is the bearer token.
    """
    if location is Location.HEADER:
        return (location, name.lower())
    if location is Location.PATH:
        return (PATH_PARAMETER, name)
    if location is Location.JWT:
        return (location, name if name.startswith(COOKIE_PREFIX) else BEARER)
    return (location, "" if location is Location.CLIENT_IP else name)


def source_keys(source: Source) -> tuple[AttributeKey, ...]:
    """Returns the attributes that a source reads, in the order of its parts."""
    return tuple(_key(part) for part in source.parts)


def _key(part: Source) -> AttributeKey:
    location = part.location or Location.HEADER  # validated: every part has one
    return attribute_key(location, part.token if location is Location.JWT else part.name)


def is_sensitive(source: Source) -> bool:
    """Tells whether a source's values are kept as keyed hashes only: credentials always are, and whatever is joined
    with them.
    """
    return any(
        part.sensitive or part.location is Location.COOKIE or _SENSITIVE.search(part.name) is not None
        for part in (*source.parts, source)
    )


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of one request: every value that was sent under a key, plain or already hashed by the client."""

    values: Mapping[AttributeKey, Sequence[str | bytes]] = field(default_factory=dict)
    client_ip: str = ""
    claims: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Claims of the request's tokens by ``rules_id``: only of those that keep these rules."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[AttributeKey, str | bytes]], client_ip: str = "") -> Attributes:
        """Returns attributes of (key, value) pairs; a key may come more than once."""
        values: dict[AttributeKey, list[str | bytes]] = {}
        for key, value in pairs:
            values.setdefault(key, []).append(value)
        return cls(values, client_ip)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who, where it was found (``header X-User-Id``), whether nobody was, and whether somebody vouches for it: the signer
    of a token, or the application. What callers merely claim is not verified.
    """

    key: str
    source: str
    anonymous: bool = False
    verified: bool = False

    @property
    def title(self) -> str:
        """Returns what people see: the plain value, ``hash:`` and 12 hex digits, or ``anonymous:`` and an address."""
        return title_of(self.key)


def title_of(key: str) -> str:
    """Returns what people see of an identity's key; ``e:`` and a number is one that was erased."""
    kind, _, rest = key.partition(":")
    if kind == "h":
        return display(bytes.fromhex(rest))
    if kind == "e":
        return f"erased:{rest}"
    return f"anonymous:{rest}" if kind == "a" else rest


@dataclass(frozen=True, slots=True)
class CompiledPart:
    """One field of a source. ``hashed`` tells whether clients send its hash; ``rules`` are those of a token."""

    key: AttributeKey
    name: str
    sensitive: bool
    rules: TokenRules | None = None

    @classmethod
    def of(cls, part: Source) -> CompiledPart:
        """Compiles a field."""
        rules = TokenRules.of(part) if part.location is Location.JWT else None
        return cls(_key(part), part.name, is_sensitive(part), rules)

    @property
    def hashed(self) -> bool:
        """Tells whether clients send a keyed hash instead of the value."""
        return self.sensitive and self.key[0] not in _RAW

    def value(self, attributes: Attributes) -> str | bytes | None:
        """Returns the field's value, None where it is missing."""
        most = MAX_SENSITIVE_BYTES if self.sensitive else MAX_VALUE_BYTES
        if self.rules is not None:
            claim = attributes.claims.get(self.rules.rules_id, {}).get(self.name)
            # No token holds bytes: that is a claim's hash, out of the decision log.
            return claim if isinstance(claim, bytes) else _single([text_of(claim) or ""], most)
        if self.key[0] == Location.CLIENT_IP:
            return network_of(attributes.client_ip) or None
        return _single(attributes.values.get(self.key, ()), most)


@dataclass(frozen=True, slots=True)
class CompiledSource:
    """A source, ready to be applied; ``title`` names it to people."""

    parts: tuple[CompiledPart, ...]
    title: str
    sensitive: bool
    verified: bool

    @classmethod
    def of(cls, source: Source) -> CompiledSource:
        """Compiles a source. It is verified where all of its fields are."""
        return cls(
            parts=tuple(CompiledPart.of(part) for part in source.parts),
            title=" + ".join(f"{part.location} {part.name}".strip() for part in source.parts),
            sensitive=is_sensitive(source),
            verified=all(part.location in VERIFIED and not part.allow_unverified for part in source.parts),
        )

    def key(self, attributes: Attributes, hash_key: bytes) -> str | None:
        """Returns the identity's key, None where a field is missing."""
        values = []
        for part in self.parts:
            value = part.value(attributes)
            if value is None:
                return None
            values.append(value)
        if len(values) == 1:
            return _key_of(values[0], self.sensitive, hash_key)
        return self._joined(values, hash_key)

    def _joined(self, values: Sequence[str | bytes], hash_key: bytes) -> str | None:
        # Hashed field by field first: the same whether the client hashed it or the value arrived raw.
        hashed = [
            keyed_hash(hash_key, value) if part.sensitive and isinstance(value, str) else value
            for part, value in zip(self.parts, values, strict=True)
        ]
        text = joined(hashed)
        if self.sensitive or any(isinstance(value, bytes) for value in hashed):
            return _key_of(text, sensitive=True, hash_key=hash_key)
        return _key_of(text, sensitive=False, hash_key=hash_key) if size_of(text) <= MAX_VALUE_BYTES else None


@dataclass(frozen=True, slots=True)
class CompiledStrategy:
    """A strategy, ready to be applied."""

    name: str
    sources: tuple[CompiledSource, ...]
    on_missing: OnMissing
    guard: Guard | None
    declared: Strategy = field(repr=False)

    @classmethod
    def of(cls, strategy: Strategy) -> CompiledStrategy:
        """Compiles a strategy."""
        sources = tuple(CompiledSource.of(source) for source in strategy.sources)
        return cls(strategy.name, sources, strategy.on_missing, strategy.guard, strategy)

    @property
    def parts(self) -> tuple[CompiledPart, ...]:
        """Returns every field that it reads."""
        return tuple(part for source in self.sources for part in source.parts)

    @property
    def reads_secrets(self) -> bool:
        """Tells whether some identities that it finds are kept as hashes."""
        return any(source.sensitive for source in self.sources)

    def resolve(self, attributes: Attributes, hash_key: bytes) -> Identity | None:
        """Returns the identity, an anonymous one as ``on_missing`` says, or None for DENY and SKIP without a value.

        Missing, empty, duplicated and over-long values are all "missing", and so is a token that does not verify.
        """
        for source in self.sources:
            key = source.key(attributes, hash_key)
            if key is not None:
                return Identity(key, source.title, verified=source.verified)
        if self.on_missing is OnMissing.ANONYMOUS_PER_IP:
            return Identity(f"a:{network_of(attributes.client_ip)}", "client address", anonymous=True)
        if self.on_missing is OnMissing.ANONYMOUS_SHARED:
            return Identity("a:", "all anonymous callers", anonymous=True)
        return None


def _single(values: Sequence[str | bytes], most: int) -> str | bytes | None:
    if len(values) != 1:
        return None
    value = values[0]
    if isinstance(value, str) and (not value.strip() or size_of(value) > most):
        return None
    return value


def size_of(text: str) -> int:
    """Returns the bytes of a text's UTF-8; lone surrogates, which some servers put in headers, count three each."""
    return len(text.encode("utf-8", "surrogatepass"))


def _key_of(value: str | bytes, sensitive: bool, hash_key: bytes) -> str:
    if isinstance(value, bytes):
        return f"h:{value.hex()}"
    return f"h:{keyed_hash(hash_key, value).hex()}" if sensitive else f"v:{value}"


def network_of(address: str) -> str:
    """Returns what tells anonymous callers apart: an IPv4 address, an IPv6 /64, or "" for what is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def block_key(key: str, hash_key: bytes) -> str:
    """Returns under which hash a block of this identity is kept: raw values of blocks are never stored."""
    return identity_hash(key, hash_key).hex()


def identity_hash(key: str, hash_key: bytes) -> bytes:
    """Returns under which hash, 32 bytes, an identity is entered: that of its raw value, which is never stored."""
    kind, _, rest = key.partition(":")
    return bytes.fromhex(rest) if kind == "h" else keyed_hash(hash_key, rest)
