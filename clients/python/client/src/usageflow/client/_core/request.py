"""What the core knows of a request, and where it finds attributes in it."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

from usageflow.v1 import common_pb2 as common

MAX_VALUE_BYTES: Final = 8_192
_ALWAYS_SECRET: Final = frozenset({b"authorization", b"proxy-authorization", b"cookie"})
_NEVER_HASHED: Final = frozenset(
    {common.ATTRIBUTE_LOCATION_JWT_CLAIM, common.ATTRIBUTE_LOCATION_PATH_PARAMETER}
)
"""The service verifies tokens and matches parameters: neither can be done with a hash."""
_COOKIE_PREFIX: Final = "cookie:"


@dataclass(slots=True)
class RequestView:
    """A request as an adapter hands it over; nothing is copied or parsed before a plan asks for it."""

    method: str
    """Upper case; a websocket handshake is GET."""
    route: str
    """The framework's template in its own spelling; "" where no route matched."""
    path: str
    """Raw path without query."""
    headers: Sequence[tuple[bytes, bytes]] = ()
    """Names in lower case."""
    query_string: bytes = b""
    path_parameters: Mapping[str, object] = field(default_factory=dict)
    client_ip: str = ""
    """Textual address; "" where unknown."""
    app_context: Mapping[str, object] = field(default_factory=dict)
    """What the application says about the caller after its own authentication."""
    body: bytes | None = None
    """The beginning of the body as far as the application read it; None where nobody keeps it."""
    body_complete: bool = False
    """Whether it was read to its end, or beyond what is kept."""

    def header(self, name: bytes) -> str:
        """Returns the only value of a header (lower-case name), or "" where it is missing or comes twice."""
        return _single([value.decode("latin-1") for key, value in self.headers if key == name])


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """An attribute that a plan names."""

    location: int
    name: str
    sensitive: bool
    wire_name: bytes
    """The header's name in lower case; for other locations unused."""

    @classmethod
    def of(cls, location: int, name: str, *, sensitive: bool) -> AttributeSpec:
        """Builds one; credentials are sensitive whatever the plan says, and tokens travel as they are."""
        wire_name = name.lower().encode("latin-1", "replace")
        is_header = location == common.ATTRIBUTE_LOCATION_HEADER
        secret = sensitive or (is_header and wire_name in _ALWAYS_SECRET)
        return cls(location, name, secret and location not in _NEVER_HASHED, wire_name)


def extract(spec: AttributeSpec, request: RequestView) -> str | None:
    """Returns an attribute's value; None where it is absent.

    Missing, empty, duplicate and over-long (8,192 bytes) values are all absent. Bodies are not read.
    """
    reader = _READERS.get(spec.location)
    value = reader(spec, request) if reader else ""
    if not value or value.isspace():
        return None
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return None
    return value if size <= MAX_VALUE_BYTES else None


def keyed_hash(key: bytes, value: str) -> bytes:
    """Returns HMAC-SHA256(key, value as UTF-8): 32 bytes."""
    return hmac.digest(key, value.encode(), "sha256")


def _single(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else ""


def _header(spec: AttributeSpec, request: RequestView) -> str:
    return request.header(spec.wire_name)


def _query(spec: AttributeSpec, request: RequestView) -> str:
    if not request.query_string:
        return ""
    pairs = parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True, errors="replace")
    return _single([value for name, value in pairs if name == spec.name])


def _path_parameter(spec: AttributeSpec, request: RequestView) -> str:
    return str(request.path_parameters.get(spec.name, ""))


def _cookie(spec: AttributeSpec, request: RequestView) -> str:
    return _cookie_named(spec.name, request)


def _cookie_named(wanted: str, request: RequestView) -> str:
    values: list[str] = []
    for key, raw in request.headers:
        if key == b"cookie":
            for part in raw.decode("latin-1").split(";"):
                name, _, value = part.partition("=")
                if name.strip() == wanted:
                    values.append(_unquote(value.strip()))
    return _single(values)


def _unquote(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] == '"'
    return value[1:-1] if quoted else value


def _client_ip(_: AttributeSpec, request: RequestView) -> str:
    return network_of(request.client_ip)


def _app_context(spec: AttributeSpec, request: RequestView) -> str:
    value = request.app_context.get(spec.name, "")
    return str(value) if isinstance(value, str | int) else ""


def _token(spec: AttributeSpec, request: RequestView) -> str:
    """Returns the token raw: of a cookie where the plan names one, else the bearer token; never anything else."""
    if spec.name.startswith(_COOKIE_PREFIX):
        return _cookie_named(spec.name.removeprefix(_COOKIE_PREFIX), request)
    scheme, _, token = request.header(b"authorization").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


_READERS: Final[Mapping[int, Callable[[AttributeSpec, RequestView], str]]] = {
    common.ATTRIBUTE_LOCATION_HEADER: _header,
    common.ATTRIBUTE_LOCATION_QUERY: _query,
    common.ATTRIBUTE_LOCATION_PATH_PARAMETER: _path_parameter,
    common.ATTRIBUTE_LOCATION_COOKIE: _cookie,
    common.ATTRIBUTE_LOCATION_JWT_CLAIM: _token,
    common.ATTRIBUTE_LOCATION_CLIENT_IP: _client_ip,
    common.ATTRIBUTE_LOCATION_APP_CONTEXT: _app_context,
}


@lru_cache(maxsize=4_096)
def network_of(address: str) -> str:
    """Returns what tells callers apart: an IPv4 address, an IPv6 /64, or "" for what is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def client_address(peer: str, forwarded_for: Sequence[str], trusted_proxies: int) -> str:
    """Returns the caller's address, "" where unknown.

    `peer` is who connected; `forwarded_for` the values of X-Forwarded-For; `trusted_proxies` how many proxies of ours
    a request passes: so many hops from the right are believed. 0 ignores the header, which anybody can send.
    """
    # A server in front of us may have put there what a header said, and test clients a word.
    peer = peer if network_of(peer) else ""
    if trusted_proxies <= 0 or not forwarded_for:
        return peer
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    chosen = _bare(hops[-min(trusted_proxies, len(hops))])
    return chosen if network_of(chosen) else peer


def _bare(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
