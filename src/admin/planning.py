"""What a change would make of each resource, field by field: what people read before they apply it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from usageflow.domain.blocks import block_id
from usageflow.domain.changes import Change
from usageflow.domain.comparing import Plain, differences
from usageflow.domain.customers import Customer
from usageflow.domain.declared import Declared
from usageflow.domain.hashing import display
from usageflow.domain.policies import Block, PolicySet
from usageflow.policyfile.writing import plain

MAX_FIELDS = 5_000
"""Fields that one answer tells of, give or take those of one resource."""

Resources = Mapping[tuple[str, str], Declared]
"""What there is, by kind and id."""


def resources(
    policies: PolicySet, blocks: Iterable[Block] = (), customers: Iterable[Customer] = ()
) -> Resources:
    """Returns everything by kind and id. Blocks and customers are as they are stored, by hash."""
    named: dict[tuple[str, str], Declared] = {("strategy", item.name): item for item in policies.strategies}
    named |= {("policy", item.name): item for item in policies.policies}
    named |= {("plan", item.name): item for item in policies.plans}
    named |= {("block", block_id(item)): item for item in blocks}
    return named | {("customer", item.name): item for item in customers}


def with_fields(changes: Sequence[Change], before: Resources, after: Resources) -> tuple[Change, ...]:
    """Returns the changes with the fields that differ; of what is new or gone, all that it says. Beyond MAX_FIELDS changes come
    without: nobody reads so many, and an answer has to fit into a message.
    """
    told, room = [], MAX_FIELDS
    for change in changes:
        key = (change.kind, change.logged_id)
        fields = differences(_shown(before.get(key)), _shown(after.get(key))) if room > 0 else ()
        room -= len(fields)
        told.append(replace(change, fields=fields))
    return tuple(told)


def _shown(declared: Declared | None) -> Plain:
    """Returns a resource as people may read it: hashes are cut."""
    if declared is None:
        return {}
    fields = plain(declared)
    if isinstance(declared, Customer):
        fields |= {"identities": [_cut(each) for each in declared.identities]} if declared.identities else {}
        overrides = [_with_cut_identity(item) for item in fields.get("overrides", ())]
        fields |= {"overrides": overrides} if overrides else {}
    return _with_cut_identity(fields) if isinstance(declared, Block) else fields


def _with_cut_identity(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "identity": _cut(fields["identity"])} if fields.get("identity") else fields


def _cut(stored: str) -> str:
    return display(bytes.fromhex(stored))
