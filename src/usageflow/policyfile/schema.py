"""The whole policy file as a model, and what each mapping in it may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from usageflow.domain.customers import Customer, CustomerOverride
from usageflow.domain.guards import Guard
from usageflow.domain.policies import (
    Block,
    CustomerPlan,
    Limit,
    Match,
    Metering,
    Name,
    Override,
    Policy,
    Strategy,
)
from usageflow.domain.sources import Jwk, Source
from usageflow.policyfile.nodes import Step


class Document(BaseModel):
    """A policy file of version 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[int, Field(strict=True, ge=1, le=1)]
    application: Name
    strategies: tuple[Strategy, ...] = ()
    policies: tuple[Policy, ...] = ()
    plans: tuple[CustomerPlan, ...] = ()
    customers: tuple[Customer, ...] = ()
    blocks: tuple[Block, ...] = ()


NOT_IN_FILES = frozenset({"cost_expression"})
"""A file's `cost` is a number or an expression."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What each mapping of a kind of file may hold: models by the keys that lead to them, positions in lists left out."""

    models: Mapping[tuple[str, ...], type[BaseModel]]

    def known_keys(self, steps: tuple[Step, ...]) -> tuple[str, ...]:
        """Returns the keys, as files spell them, of the mapping at ``steps``; empty where no mapping stands."""
        model = self.models.get(_names(steps))
        if model is None:
            return ()
        names = (info.alias or name for name, info in model.model_fields.items())
        return tuple(name for name in names if name not in NOT_IN_FILES)

    def bounds(self, steps: tuple[Step, ...]) -> tuple[int, int]:
        """Returns the lowest and highest whole number that the field at ``steps`` takes."""
        *parents, last = steps
        metadata = self.models[_names(tuple(parents))].model_fields[str(last)].metadata
        low = next(each.ge for each in metadata if hasattr(each, "ge"))
        high = next(each.le for each in metadata if hasattr(each, "le"))
        return low, high


def _names(steps: tuple[Step, ...]) -> tuple[str, ...]:
    return tuple(step for step in steps if isinstance(step, str))


POLICY_FILE = Shape(
    {
        (): Document,
        ("strategies",): Strategy,
        ("strategies", "guard"): Guard,
        ("strategies", "sources"): Source,
        ("strategies", "sources", "keys"): Jwk,
        ("strategies", "sources", "join"): Source,
        ("strategies", "sources", "join", "keys"): Jwk,
        ("policies",): Policy,
        ("policies", "match"): Match,
        ("policies", "limits"): Limit,
        ("policies", "metering"): Metering,
        ("plans",): CustomerPlan,
        ("plans", "overrides"): Override,
        ("customers",): Customer,
        ("customers", "overrides"): CustomerOverride,
        ("blocks",): Block,
    }
)
