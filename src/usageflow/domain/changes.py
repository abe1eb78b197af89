"""What was done to resources, by whom and from where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from usageflow.domain.comparing import FieldDifference


class Action(StrEnum):
    """What a change did to a resource. In the order that lists of changes are shown in."""

    DELETED = "DELETED"
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    UNDELETED = "UNDELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one resource. ``kind`` is application, strategy, policy, plan, customer, block, endpoint, alert_rule, alert_destination, api_key,
    admin_token, tag or revision.

    ``name`` is for people and may hold what a person typed; ``resource_id`` is what logs keep, empty where it is the name.
    ``fields`` tells what differs, where somebody asked for it: no log keeps that.
    """

    action: Action
    kind: str
    name: str
    resource_id: str = ""
    fields: tuple[FieldDifference, ...] = ()

    @property
    def logged_id(self) -> str:
        """What the audit log calls the resource: never a value that a person entered as an identity."""
        return self.resource_id or self.name


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change. ``credential_id`` is empty for the service itself, ``peer`` where it came from no network."""

    credential_id: str
    name: str
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a store is changed: what the audit log is told, in the transaction of the change.

    ``method`` is the name of the RPC (``UpdatePolicy``), or a few words where the service acts by itself. ``request_id``
    is the caller's, empty where none was given; ``payload_hash`` tells whether a second request under it is the same one.
    """

    actor: Actor
    method: str
    changes: tuple[Change, ...] = ()
    request_id: str = ""
    payload_hash: bytes = b""
