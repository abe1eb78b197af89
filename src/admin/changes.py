"""What a change did to resources."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What a change did to a resource."""

    DELETED = "DELETED"
    CREATED = "CREATED"
    UPDATED = "UPDATED"


@dataclass(frozen=True, slots=True)
class Change:
    """One change; ``kind`` is strategy, policy, plan, block or customer."""

    action: Action
    kind: str
    name: str
