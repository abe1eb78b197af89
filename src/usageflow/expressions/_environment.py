"""What expressions can name, and their types. Variables have dotted names, so nothing else of a request exists for them."""

from __future__ import annotations

from functools import cache

from cel_expr_python import cel

from usageflow.domain.identity import BODY_JSON, PATH_PARAMETER
from usageflow.domain.sources import Location

BODY = "request.body"
IDENTITY = frozenset({"identity.value", "identity.anonymous", "identity.verified"})
SCALARS = frozenset({"request.method", "request.path", "request.route", "request.client_ip", "request.time"})
MAPS = {
    "request.headers": str(Location.HEADER),
    "request.query": str(Location.QUERY),
    "request.path_parameters": PATH_PARAMETER,
    "request.cookies": str(Location.COOKIE),
    "request.app_context": str(Location.CONTEXT),
}
"""Maps of text, and the location of their entries among attributes."""

LOCATIONS = {**MAPS, BODY: BODY_JSON}
KNOWN = (
    "request.method, path, route, client_ip, time, headers, query, path_parameters, app_context and body, "
    "and identity.value, anonymous and verified"
)


@cache
def environment() -> cel.Env:
    """Returns the one environment. It never changes, and any thread may compile with it."""
    kind = cel.Type
    special = {
        BODY: kind.DYN,
        "request.time": kind.TIMESTAMP,
        "identity.anonymous": kind.BOOL,
        "identity.verified": kind.BOOL,
    }
    names = (*SCALARS, *IDENTITY, *LOCATIONS)
    maps = dict.fromkeys(MAPS, kind.Map(kind.STRING, kind.STRING))
    return cel.NewEnv(variables={name: (special | maps).get(name, kind.STRING) for name in names})
