"""Which stored events somebody wants to see. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from usageflow.domain.analytics import UsageFilter
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.templates import UNMATCHED, canonical_template
from usageflow.domain.usage import EndpointName

T = TypeVar("T")

MOST_VALUES = 100
"""The most values of one list of a filter."""

_HASH = re.compile(r"hash:([0-9a-f]{12,64})", re.ASCII)
_ANONYMOUS = "anonymous:"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A UsageFilter as stores of events apply it. ``identities`` are identities' keys (usageflow.domain.identity; empty is nobody), ``hashes`` the
    first hex digits of hashed ones; an event passes by either. Customers are known by the directory, not by events.
    """

    endpoints: tuple[EndpointName, ...] = ()
    identities: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()
    policies: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    denied: bool | None = None
    degraded: bool | None = None
    shadow_denied: bool | None = None


EVERYTHING = EventFilter()


def event_filter(wish: UsageFilter, hash_key: bytes) -> EventFilter:
    """Returns what stores apply; ``hash_key`` is the application's. Raises InvalidArgument with every fault."""
    faults = [*_length_faults(wish), *_status_faults(wish.statuses)]
    endpoints = tuple(_endpoint(index, each, faults) for index, each in enumerate(wish.endpoints))
    if faults:
        raise InvalidArgument(faults)
    keys = tuple(key for text in wish.identities for key in identity_keys(text, hash_key))
    found = (_HASH.fullmatch(text) for text in wish.identities)
    return EventFilter(
        endpoints=endpoints,
        identities=keys,
        hashes=tuple(match[1] for match in found if match is not None),
        statuses=tuple(each for each in wish.statuses if each >= 100),
        classes=tuple(each for each in wish.statuses if each < 100),
        policies=wish.policies,
        reasons=wish.reasons,
        denied=wish.denied,
        degraded=wish.degraded,
        shadow_denied=wish.shadow_denied,
    )


def identity_keys(text: str, hash_key: bytes) -> tuple[str, ...]:
    """Returns every key that an identity may have which people write so: its plain value, the hash of it where strategies keep
    hashes, and a hash or an anonymous address where it is spelled as one. "" is nobody.
    """
    if not text:
        return ("",)
    keys = [f"v:{text}", f"h:{keyed_hash(hash_key, text).hex()}"]
    hashed = _HASH.fullmatch(text)
    if hashed is not None and len(hashed[1]) == 64:
        keys.append(f"h:{hashed[1]}")
    if text.startswith(_ANONYMOUS):
        keys.append(f"a:{text.removeprefix(_ANONYMOUS)}")
    return tuple(keys)


def _length_faults(wish: UsageFilter) -> Iterable[Fault]:
    for name in ("endpoints", "customers", "identities", "statuses", "policies", "reasons"):
        count = len(getattr(wish, name))
        if count > MOST_VALUES:
            fix = f"ask for at most {MOST_VALUES} at a time"
            yield Fault(f"filter.{name}", f"names {count} values", fix)


def _status_faults(statuses: Iterable[int]) -> Iterable[Fault]:
    for index, status in enumerate(statuses):
        if not (1 <= status <= 5 or 100 <= status <= 599):
            fix = "send a status such as 404, or a class such as 4 for 400 to 499"
            yield Fault(f"filter.statuses[{index}]", f"{status} is neither", fix)


def _endpoint(index: int, endpoint: EndpointName, faults: list[Fault]) -> EndpointName:
    """Returns the endpoint as it is stored; what is wrong with it is added to the faults."""
    method, template = endpoint
    if template not in ("", UNMATCHED):
        try:
            template = canonical_template(template)
        except InvalidArgument as error:
            faults += [Fault(f"filter.endpoints[{index}].template", e.message, e.fix) for e in error.faults]
    return EndpointName(method.upper(), template)
