"""Where the API key and the service's address come from, and when plaintext is allowed."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

PLACEHOLDER_KEY = "YOUR_API_KEY"
DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_DEADLINE_S = 0.05
_TRUE = frozenset({"1", "true", "yes", "on"})


def resolve_key(given: str | None, environ: Mapping[str, str]) -> str:
    """Returns the API key, or "" where there is none. The quick starts' placeholder counts as not given."""
    for candidate in (given, environ.get("USAGEFLOW_API_KEY")):
        key = (candidate or "").strip()
        if key and key != PLACEHOLDER_KEY:
            if not key.isascii() or not key.isprintable() or " " in key:
                raise ValueError(
                    "the UsageFlow API key holds characters that no key has; copy it again (uf_...)"
                )
            return key
    return ""


def resolve_address(given: str | None, environ: Mapping[str, str]) -> str:
    """Returns the service's address: the argument, else USAGEFLOW_ADDR, else 127.0.0.1:50051."""
    return (given or environ.get("USAGEFLOW_ADDR") or "").strip() or DEFAULT_ADDRESS


def resolve_deadline(given: float | None, environ: Mapping[str, str]) -> float:
    """Returns how long a check may take, in seconds: the argument, else USAGEFLOW_DEADLINE_MS, else 50 ms."""
    if given is not None:
        return given
    text = environ.get("USAGEFLOW_DEADLINE_MS", "").strip()
    if not text:
        return DEFAULT_DEADLINE_S
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise ValueError(f"USAGEFLOW_DEADLINE_MS is a whole number of milliseconds, not {text[:40]!r}")
    return int(text) / 1000


def is_set(environ: Mapping[str, str], name: str) -> bool:
    """Tells whether a switch such as USAGEFLOW_DISABLED=1 is on."""
    return environ.get(name, "").strip().lower() in _TRUE


def is_local(address: str) -> bool:
    """Tells whether an address stays on this machine: a Unix socket, localhost or a loopback address."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = _host(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(address: str) -> str:
    rest = address.rsplit("/", 1)[-1]  # dns:///host:port
    for scheme in ("dns:", "ipv4:", "ipv6:"):
        rest = rest.removeprefix(scheme)
    if rest.startswith("["):
        return rest[1:].partition("]")[0]
    if rest.count(":") > 1:
        return rest
    return rest.partition(":")[0].lower()
