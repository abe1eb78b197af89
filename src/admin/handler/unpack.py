"""From messages to what the use-cases take. Shape is checked by the models of usageflow.domain.policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from admin.applying import Wanted
from usageflow.domain.customers import Customer
from usageflow.domain.declared import faults_of
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.garbage import uncollected
from usageflow.domain.policies import Block, CustomerPlan, Policy, PolicySet, Strategy
from usageflow.messages import block_fields, customer_fields, plan_fields, policy_fields, strategy_fields
from usageflow.v1 import admin_pb2

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")


def wanted(request: admin_pb2.ApplyRequest) -> Wanted:
    """Returns the set. Raises InvalidArgument with every fault of shape, under paths such as ``policies[3].name``."""
    faults: list[Fault] = []
    with uncollected():
        strategies = _models(Strategy, "strategies", request.strategies, strategy_fields, faults)
        policies = _models(Policy, "policies", request.policies, policy_fields, faults)
        blocks = _models(Block, "blocks", request.blocks, block_fields, faults)
        plans = _models(CustomerPlan, "plans", request.plans, plan_fields, faults)
        customers = _models(Customer, "customers", request.customers, customer_fields, faults)
    if faults:
        raise InvalidArgument(faults)
    return Wanted(
        application=request.application,
        policies=PolicySet(strategies=strategies, policies=policies, plans=plans),
        blocks=blocks,
        customers=customers,
        prune=request.prune,
        validate_only=request.validate_only,
        message=request.message,
    )


def _models(
    model: type[Model],
    kind: str,
    messages: Sequence[Item],
    fields: Callable[[Item], dict[str, Any]],
    faults: list[Fault],
) -> tuple[Model, ...]:
    made = []
    for index, message in enumerate(messages):
        try:
            made.append(model.model_validate(fields(message)))
        except ValidationError as error:
            faults += [
                fault.under(f"{kind}[{index}]") for fault in faults_of(error, "correct it and apply again")
            ]
    return tuple(made)
