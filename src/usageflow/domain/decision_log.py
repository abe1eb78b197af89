"""A decision as the opt-in log keeps it: what a replay needs to decide the same request again, and no secret.

Values that strategies call sensitive are keyed hashes, as everywhere; tokens are not kept, only the claims that were read; of
bodies and headers only the fields that policies read. A client's address is kept as the network that tells callers apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from usageflow.domain.identity import AttributeKey
from usageflow.domain.usage import EndpointName

CLAIM = "claim"
"""Location of a claim among logged attributes; its name is the rules' id, a space and the claim."""


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """A decided request. ``path`` is the raw path, without query, of a request without a route; ``parameters`` are the route's,
    less those in ``hidden``, whose values are secret. ``asked`` are the attributes that would be in ``values`` if the request had
    had them. Of 100 callers ``percent`` were logged; ``leased`` further requests were paid for ahead and are not in the log.
    """

    at_us: int
    revision: int
    endpoint: EndpointName
    path: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    asked: tuple[AttributeKey, ...] = ()
    values: tuple[tuple[AttributeKey, str | bytes], ...] = ()
    client_ip: str = ""
    cost: int = 0
    percent: int = 100
    leased: int = 0
    allowed: bool = True
    reason: str = ""
    identity: str = ""
    policies: tuple[str, ...] = ()
    decided_by: str = ""
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A logged decision as stores keep it."""

    application_id: str
    at_us: int
    revision: int
    document: str


_LEFT_OUT: tuple[Any, ...] = ("", 0, (), {}, False)


def document_of(logged: LoggedDecision) -> str:
    """Returns the JSON that stores keep; ``decision_of`` reads it back. Time and revision stand beside it."""
    fields: dict[str, Any] = {
        "method": logged.endpoint.method,
        "template": logged.endpoint.template,
        "path": logged.path,
        "parameters": logged.parameters,
        "hidden": logged.hidden,
        "asked": logged.asked,
        "values": [
            [*key, value if isinstance(value, str) else {"hash": value.hex()}] for key, value in logged.values
        ],
        "client_ip": logged.client_ip,
        "cost": logged.cost,
        "percent": logged.percent,
        "leased": logged.leased,
        "allowed": logged.allowed,
        "reason": logged.reason,
        "identity": logged.identity,
        "policies": logged.policies,
        "decided_by": logged.decided_by,
        "degraded": logged.degraded,
    }
    kept = {name: value for name, value in fields.items() if value not in _LEFT_OUT and value != []}
    return json.dumps(kept, separators=(",", ":"))


def decision_of(entry: LogEntry) -> LoggedDecision:
    """Returns the decision of an entry."""
    fields: dict[str, Any] = json.loads(entry.document)
    return LoggedDecision(
        at_us=entry.at_us,
        revision=entry.revision,
        endpoint=EndpointName(fields["method"], fields["template"]),
        path=fields.get("path", ""),
        parameters=fields.get("parameters", {}),
        hidden=tuple(fields.get("hidden", ())),
        asked=tuple((location, name) for location, name in fields.get("asked", ())),
        values=tuple(
            ((location, name), value if isinstance(value, str) else bytes.fromhex(value["hash"]))
            for location, name, value in fields.get("values", ())
        ),
        client_ip=fields.get("client_ip", ""),
        cost=fields.get("cost", 0),
        percent=fields.get("percent", 0),
        leased=fields.get("leased", 0),
        allowed=fields.get("allowed", False),
        reason=fields.get("reason", ""),
        identity=fields.get("identity", ""),
        policies=tuple(fields.get("policies", ())),
        decided_by=fields.get("decided_by", ""),
        degraded=fields.get("degraded", False),
    )
