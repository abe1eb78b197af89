"""What expressions can name, and their types. Variables have dotted names, so nothing else of a request exists for them.

Conditions and costs are worked out before a request runs, metering expressions of the report that follows it: each has a
vocabulary of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

from cel_expr_python import cel

from usageflow.domain.identity import BODY_JSON, PATH_PARAMETER
from usageflow.domain.sources import Location

QUANTITY = "usage_record.quantity"
STATUS = "response.status"
METADATA = "metadata"
RESPONSE_HEADERS = "response.headers"
RESPONSE_BODY = "response.body"
UNITS = "units"
"""The function that multiplies exactly."""

_TYPES = {
    "request.time": cel.Type.TIMESTAMP,
    "identity.anonymous": cel.Type.BOOL,
    "identity.verified": cel.Type.BOOL,
    QUANTITY: cel.Type.DOUBLE,
    STATUS: cel.Type.INT,
}
"""All other scalars are texts."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The variables of a kind of expressions. ``maps`` (of text) and ``trees`` (of JSON) have the location of their entries among
    attributes. ``blank``: a missing entry of a map reads as ""; else it is an error. ``known`` names all for people.
    """

    scalars: frozenset[str]
    maps: Mapping[str, str]
    trees: Mapping[str, str]
    blank: bool
    known: str
    functions: tuple[cel.FunctionDecl, ...] = field(default=())

    @cached_property
    def locations(self) -> Mapping[str, str]:
        """Returns the location of the entries of each map and tree."""
        return {**self.maps, **self.trees}


_REQUEST_MAPS = {
    "request.headers": str(Location.HEADER),
    "request.query": str(Location.QUERY),
    "request.path_parameters": PATH_PARAMETER,
}
_REQUEST_SCALARS = frozenset(
    {"request.method", "request.path", "request.route", "request.client_ip", "request.time"}
)

CONDITIONS = Vocabulary(
    scalars=_REQUEST_SCALARS | {"identity.value", "identity.anonymous", "identity.verified"},
    maps=_REQUEST_MAPS
    | {"request.cookies": str(Location.COOKIE), "request.app_context": str(Location.CONTEXT)},
    trees={"request.body": BODY_JSON},
    blank=True,
    known="request.method, path, route, client_ip, time, headers, query, path_parameters, app_context and body, "
    "and identity.value, anonymous and verified",
)

METERING = Vocabulary(
    scalars=_REQUEST_SCALARS | {QUANTITY, STATUS, "identity.value", "identity.anonymous"},
    maps=_REQUEST_MAPS | {RESPONSE_HEADERS: RESPONSE_HEADERS},
    trees={"request.body": BODY_JSON, RESPONSE_BODY: RESPONSE_BODY, METADATA: METADATA},
    blank=False,
    known="usage_record.quantity, response.status, headers and body, metadata, request.method, path, route, client_ip, time, "
    "headers, query, path_parameters and body, and identity.value and anonymous",
    functions=(
        cel.FunctionDecl(
            UNITS, [cel.Overload("units_string", return_type=cel.Type.DOUBLE, parameters=[cel.Type.STRING])]
        ),
    ),
)


@cache
def environment(vocabulary: Vocabulary) -> cel.Env:
    """Returns the one environment of a vocabulary. It never changes, and any thread may compile with it."""
    kind = cel.Type
    variables = {name: _TYPES.get(name, kind.STRING) for name in vocabulary.scalars}
    variables |= dict.fromkeys(vocabulary.maps, kind.Map(kind.STRING, kind.STRING))
    variables |= dict.fromkeys(vocabulary.trees, kind.DYN)
    return cel.NewEnv(variables=variables, functions=list(vocabulary.functions))
