"""From a described HTTP request to a Question: every bound of outside input is checked here."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from decision.endpoints import endpoint_of
from decision.plan import EndpointInstruction
from usageflow.domain.decisions import Question
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.extraction import bearer_token, cookies_of
from usageflow.domain.identity import (
    BODY_JSON,
    PATH_PARAMETER,
    AttributeKey,
    Attributes,
    attribute_key,
    size_of,
)
from usageflow.domain.matching import MatchTarget, target_of_route
from usageflow.domain.paths import normalise_path
from usageflow.domain.policies import MAX_UNITS
from usageflow.domain.routes import parameters_of
from usageflow.domain.snapshot import Snapshot
from usageflow.domain.sources import Location
from usageflow.domain.templates import UNMATCHED
from usageflow.domain.tokens import COOKIE_PREFIX
from usageflow.domain.usage import EndpointName

Pair = tuple[AttributeKey, str | bytes]

MAX_ATTRIBUTES = 256
MAX_VALUE_BYTES = 8192
MAX_HOLD_US = 3_600_000_000
MAX_LEASE_TOKENS = 1_000_000
_LOCATIONS = (*map(str, Location), BODY_JSON)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as a caller describes it, unchecked. ``attributes`` are (location, name, value or hash)."""

    method: str
    path: str = ""
    route: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    attributes: Sequence[tuple[str, str, str | bytes]] = ()
    client_ip: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What goes with a request: its cost in units (0: what the policies say), the wish to hold it, or that for tokens ahead."""

    cost: int = 0
    hold_us: int = 0
    refund_on_expiry: bool = False
    lease_tokens: int = 0
    lease_life_us: int = 0


def question_by_name(snapshot: Snapshot, request: HttpRequest, terms: Terms) -> Question:
    """Returns the question of a request that is described by name. Raises InvalidArgument."""
    _check_terms(terms)
    pairs = _pairs(request)
    _check_parameters(request.parameters)
    if request.route and request.route != UNMATCHED:
        endpoint = _endpoint(request.method, request.route)
        parameters = request.parameters or parameters_of(endpoint.template, request.path)
        attributes = _attributes(pairs, parameters, request.client_ip)
        return _question(endpoint, target_of_route(endpoint.template, parameters), attributes, terms)
    _endpoint(request.method, UNMATCHED)
    if not request.path:
        raise InvalidArgument.of(
            "path", "is empty and there is no route", "send the request's path, such as /api/x"
        )
    method = request.method.upper()
    normalise_path(request.path)  # what cannot be normalised is an error, never a pass
    endpoint = (
        EndpointName(method, UNMATCHED) if request.route else snapshot.name_of_path(method, request.path)
    )
    # The parameters of the template that it is counted under: a path without a route has no others.
    found = parameters_of(endpoint.template, request.path) if endpoint.template != UNMATCHED else {}
    parameters = request.parameters or found
    return _question(endpoint, request.path, _attributes(pairs, parameters, request.client_ip), terms)


def question_by_number(
    snapshot: Snapshot,
    instruction: EndpointInstruction,
    values: Sequence[str | bytes | None],
    client_ip: str,
    terms: Terms,
) -> Question:
    """Returns the question of a request whose values stand in the plan's order. Raises InvalidArgument."""
    _check_terms(terms)
    _check_client_ip(client_ip)
    if len(values) != len(instruction.attributes):
        message = f"there are {len(values)} values, the plan names {len(instruction.attributes)}"
        raise InvalidArgument.of("values", message, "send one value, set or not, per attribute of the plan")
    pairs = []
    parameters = {}
    for index, (number, value) in enumerate(zip(instruction.attributes, values, strict=True)):
        if value is None:
            continue
        _check_value(f"values[{index}]", value)
        key = snapshot.attributes[number]
        if key[0] == PATH_PARAMETER and isinstance(value, str):
            parameters[key[1]] = value
        pairs.append((key, value))
    target = target_of_route(instruction.endpoint.template, parameters)
    return _question(instruction.endpoint, target, Attributes.of(pairs, client_ip), terms)


def _question(
    endpoint: EndpointName, target: MatchTarget | str, attributes: Attributes, terms: Terms
) -> Question:
    return Question(
        endpoint,
        target,
        attributes,
        terms.cost,
        terms.hold_us,
        terms.refund_on_expiry,
        min(terms.lease_tokens, MAX_LEASE_TOKENS),
        terms.lease_life_us,
    )


def _pairs(request: HttpRequest) -> list[Pair]:
    """Returns the attributes that are named, and what whole headers among them hold."""
    _check_client_ip(request.client_ip)
    if len(request.attributes) > MAX_ATTRIBUTES:
        message = f"there are {len(request.attributes)} attributes"
        raise InvalidArgument.of(
            "attributes", message, f"send at most {MAX_ATTRIBUTES}: those that strategies read"
        )
    pairs: list[Pair] = []
    for index, (location, name, value) in enumerate(request.attributes):
        if location not in _LOCATIONS:
            message = f"{location or 'an unset location'} is not read by this version"
            fix = f"send a location among {', '.join(_LOCATIONS)}"
            raise InvalidArgument.of(f"attributes[{index}].location", message, fix)
        if location != Location.CLIENT_IP and not 1 <= size_of(name) <= 256:
            raise InvalidArgument.of(f"attributes[{index}].name", "has no or over 256 bytes", "send its name")
        _check_value(f"attributes[{index}].value", value)
        key = (BODY_JSON, name) if location == BODY_JSON else attribute_key(Location(location), name)
        pairs.append((key, value))
    return _with_contents(pairs)


def _with_contents(pairs: Sequence[Pair]) -> list[Pair]:
    """Adds the cookies and the bearer token of headers that came whole, where they did not come by themselves."""
    named = {key for key, _ in pairs}
    found: list[Pair] = []
    for key, value in pairs:
        if key == (Location.HEADER, "cookie") and isinstance(value, str):
            found += [((str(Location.COOKIE), name), text) for name, text in cookies_of(value)]
        elif key == (Location.HEADER, "authorization") and isinstance(value, str) and bearer_token(value):
            found.append((attribute_key(Location.JWT, ""), bearer_token(value)))
    cookies = [item for item in (*pairs, *found) if item[0][0] == Location.COOKIE]
    found += [(attribute_key(Location.JWT, COOKIE_PREFIX + key[1]), text) for key, text in cookies]
    added = [(key, value) for key, value in found if key not in named]
    # One token may be sent for each of its claims: that is no duplicate.
    tokens = dict.fromkeys(item for item in pairs if item[0][0] == Location.JWT)
    return [*(item for item in pairs if item[0][0] != Location.JWT), *tokens, *added]


def _attributes(pairs: Sequence[Pair], parameters: Mapping[str, str], client_ip: str) -> Attributes:
    """Returns the attributes with the route's parameters among them, which a pair of the same name cannot change."""
    known = {(PATH_PARAMETER, name): value for name, value in parameters.items()}
    return Attributes.of([*known.items(), *(item for item in pairs if item[0] not in known)], client_ip)


def _check_parameters(parameters: Mapping[str, str]) -> None:
    if len(parameters) > MAX_ATTRIBUTES:
        message = f"there are {len(parameters)} parameters"
        raise InvalidArgument.of("path_parameters", message, f"send at most {MAX_ATTRIBUTES}: the route's")
    for name, value in parameters.items():
        _check_value(f"path_parameters[{name[:64]}]", value)


def _check_value(field_name: str, value: str | bytes) -> None:
    if isinstance(value, bytes):
        if len(value) != 32:
            raise InvalidArgument.of(
                field_name, f"a hash of {len(value)} bytes", "send HMAC-SHA256, 32 bytes"
            )
    elif size_of(value) > MAX_VALUE_BYTES:
        raise InvalidArgument.of(
            field_name, f"is over {MAX_VALUE_BYTES} bytes", "leave out what is that long"
        )


def _check_client_ip(client_ip: str) -> None:
    if not client_ip:
        return
    try:
        ipaddress.ip_address(client_ip)
    except ValueError:
        fix = "send an IPv4 or IPv6 address without port, or nothing"
        raise InvalidArgument.of("client_ip", f"{client_ip[:64]!r} is not an address", fix) from None


def _check_terms(terms: Terms) -> None:
    if not 0 <= terms.cost <= MAX_UNITS:
        raise InvalidArgument.of(
            "cost", f"{terms.cost} is out of bounds", f"send 0 (the policies' cost) to {MAX_UNITS}"
        )
    if terms.hold_us and not 1_000_000 <= terms.hold_us <= MAX_HOLD_US:
        raise InvalidArgument.of(
            "reserve.hold", "is out of bounds", "send 1 s to 1 h, or leave it unset for 60 s"
        )


def _endpoint(method: str, route: str) -> EndpointName:
    """Returns endpoint_of, with faults of the template under the request's own name for it."""
    try:
        return endpoint_of(method, route)
    except InvalidArgument as error:
        raise InvalidArgument([_renamed(fault) for fault in error.faults]) from None


def _renamed(fault: Fault) -> Fault:
    return replace(fault, field="route") if fault.field == "template" else fault
