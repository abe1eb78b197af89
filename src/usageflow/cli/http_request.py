"""The request of `check` and `explain`, from their options."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl

import typer

from usageflow.v1.common_pb2 import Attribute, AttributeLocation
from usageflow.v1.decision_pb2 import HttpRequest

_HEADER = AttributeLocation.Value("ATTRIBUTE_LOCATION_HEADER")
_QUERY = AttributeLocation.Value("ATTRIBUTE_LOCATION_QUERY")
_MOST_PARAMETERS = 256


def http_request(
    *, method: str, path: str, route: str, headers: Sequence[str], query: Sequence[str], client_ip: str
) -> HttpRequest:
    """Returns the request. Raises typer.BadParameter, which is exit code 2."""
    bare, _, tail = path.partition("?")
    if not bare.startswith("/"):
        raise typer.BadParameter("write a path that begins with /", param_hint="--path")
    attributes = [*map(_header, headers), *_of_path(tail), *map(_query, query)]
    return HttpRequest(
        method=method.upper(),
        path=bare,
        route=route,
        attributes=attributes,
        client_ip=_address(client_ip),
    )


def _header(text: str) -> Attribute:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise typer.BadParameter(f"{text!r} is not 'Name: value'", param_hint="--header")
    return Attribute(location=_HEADER, name=name.strip(), value=value.strip())


def _query(text: str) -> Attribute:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise typer.BadParameter(f"{text!r} is not 'name=value'", param_hint="--query")
    return Attribute(location=_QUERY, name=name, value=value)


def _of_path(tail: str) -> Iterator[Attribute]:
    try:
        pairs = parse_qsl(tail, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError as error:
        raise typer.BadParameter(
            f"at most {_MOST_PARAMETERS} parameters fit in a query", param_hint="--path"
        ) from error
    for name, value in pairs:
        yield Attribute(location=_QUERY, name=name, value=value)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not an IPv4 or IPv6 address", param_hint="--client-ip"
        ) from error
