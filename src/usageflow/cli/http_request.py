"""The request of `check` and `explain`, from their options."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import typer

from usageflow.v1.common_pb2 import Attribute, AttributeLocation
from usageflow.v1.decision_pb2 import HttpRequest

_HEADER = AttributeLocation.Value("ATTRIBUTE_LOCATION_HEADER")
_QUERY = AttributeLocation.Value("ATTRIBUTE_LOCATION_QUERY")
_COOKIE = AttributeLocation.Value("ATTRIBUTE_LOCATION_COOKIE")
_BODY = AttributeLocation.Value("ATTRIBUTE_LOCATION_BODY")
_BODY_JSON = AttributeLocation.Value("ATTRIBUTE_LOCATION_BODY_JSON")
_CONTEXT = AttributeLocation.Value("ATTRIBUTE_LOCATION_APP_CONTEXT")
_TOKEN = AttributeLocation.Value("ATTRIBUTE_LOCATION_JWT_CLAIM")
_MOST_PARAMETERS = 256

_Texts = Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Named:
    """The options that name something of a request, as they were typed."""

    headers: _Texts = None
    query: _Texts = None
    cookies: _Texts = None
    body: _Texts = None
    context: _Texts = None
    path_params: _Texts = None


def http_request(
    *, method: str, path: str, route: str, named: Named, bearer: str, client_ip: str
) -> HttpRequest:
    """Returns the request. Raises typer.BadParameter, which is exit code 2."""
    bare, _, tail = path.partition("?")
    if not bare.startswith("/"):
        raise typer.BadParameter("write a path that begins with /", param_hint="--path")
    attributes = [*map(_header, named.headers or ()), *_of_path(tail)]
    attributes += _attributes(_QUERY, named.query, "--query")
    attributes += _attributes(_COOKIE, named.cookies, "--cookie")
    attributes += _attributes(_BODY, named.body, "--body")
    attributes += _fields(named.body)
    attributes += _attributes(_CONTEXT, named.context, "--context")
    if bearer:
        attributes.append(Attribute(location=_TOKEN, name="bearer", value=bearer))
    return HttpRequest(
        method=method.upper(),
        path=bare,
        route=route,
        path_parameters=dict(_pair(text, "--path-param") for text in named.path_params or ()),
        attributes=attributes,
        client_ip=_address(client_ip),
    )


def _header(text: str) -> Attribute:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise typer.BadParameter(f"{text!r} is not 'Name: value'", param_hint="--header")
    return Attribute(location=_HEADER, name=name.strip(), value=value.strip())


def _attributes(
    location: AttributeLocation.ValueType, texts: Sequence[str] | None, option: str
) -> list[Attribute]:
    pairs = (_pair(text, option) for text in texts or ())
    return [Attribute(location=location, name=name, value=value) for name, value in pairs]


def _fields(texts: Sequence[str] | None) -> Iterator[Attribute]:
    """Yields the body's fields as expressions read them: ``n=5`` is a number, ``n='"5"'`` and ``model=gpt`` are texts."""
    for name, value in (_pair(text, "--body") for text in texts or ()):
        yield Attribute(location=_BODY_JSON, name=name, value=_json_text(value))


def _json_text(value: str) -> str:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return json.dumps(value)
    return value


def _pair(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise typer.BadParameter(f"{text!r} is not 'name=value'", param_hint=option)
    return name, value


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
