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

from usageflow.domain.hashing import display, keyed_hash
from usageflow.domain.policies import Location, OnMissing, Source, Strategy

MAX_VALUE_BYTES = 256
"""A longer plain value counts as missing."""

MAX_SENSITIVE_BYTES = 8192
"""The same for values that are kept as hashes: tokens may be long."""

_SENSITIVE = re.compile(r"authorization|cookie|api[-_]?key|token|secret|password|credential", re.IGNORECASE)

AttributeKey = tuple[str, str]
"""Location (``header``, ``query``, ``path_parameter``) and name; names of headers are in lower case."""


def attribute_key(location: Location, name: str) -> AttributeKey:
    """Returns the key under which an attribute is found: header names are case-insensitive."""
    return (location, name.lower() if location is Location.HEADER else name)


def is_sensitive(source: Source) -> bool:
    """Tells whether a source's values are kept as keyed hashes only: credentials always are."""
    return source.sensitive or _SENSITIVE.search(source.name) is not None


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of one request: every value that was sent under a key, plain or already hashed by the client."""

    values: Mapping[AttributeKey, Sequence[str | bytes]] = field(default_factory=dict)
    client_ip: str = ""

    @classmethod
    def of(cls, pairs: Iterable[tuple[AttributeKey, str | bytes]], client_ip: str = "") -> Attributes:
        """Returns attributes of (key, value) pairs; a key may come more than once."""
        values: dict[AttributeKey, list[str | bytes]] = {}
        for key, value in pairs:
            values.setdefault(key, []).append(value)
        return cls(values, client_ip)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who, where it was found (``header X-User-Id``), and whether nobody was."""

    key: str
    source: str
    anonymous: bool = False

    @property
    def title(self) -> str:
        """Returns what people see: the plain value, ``hash:`` and 12 hex digits, or ``anonymous:`` and an address."""
        return title_of(self.key)


def title_of(key: str) -> str:
    """Returns what people see of an identity's key."""
    kind, _, rest = key.partition(":")
    if kind == "h":
        return display(bytes.fromhex(rest))
    return f"anonymous:{rest}" if kind == "a" else rest


@dataclass(frozen=True, slots=True)
class CompiledStrategy:
    """A strategy, ready to be applied: (key, source name, sensitive) per source."""

    name: str
    sources: tuple[tuple[AttributeKey, str, bool], ...]
    on_missing: OnMissing

    @classmethod
    def of(cls, strategy: Strategy) -> CompiledStrategy:
        """Compiles a strategy."""
        sources = tuple(
            (
                attribute_key(source.location, source.name),
                f"{source.location} {source.name}",
                is_sensitive(source),
            )
            for source in strategy.sources
        )
        return cls(strategy.name, sources, strategy.on_missing)

    @property
    def reads_secrets(self) -> bool:
        """Tells whether some identities that it finds are kept as hashes."""
        return any(sensitive for _, _, sensitive in self.sources)

    def resolve(self, attributes: Attributes, hash_key: bytes) -> Identity | None:
        """Returns the identity, an anonymous one as ``on_missing`` says, or None for DENY and SKIP without a value.

        Missing, empty, duplicated and over-long values are all "missing".
        """
        for key, source, sensitive in self.sources:
            most = MAX_SENSITIVE_BYTES if sensitive else MAX_VALUE_BYTES
            value = _single(attributes.values.get(key, ()), most)
            if value is not None:
                return Identity(_key_of(value, sensitive, hash_key), source)
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
    kind, _, rest = key.partition(":")
    return rest if kind == "h" else keyed_hash(hash_key, rest).hex()
