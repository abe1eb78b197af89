"""Declared resources as the contract's messages, both ways. Handlers and the command share it."""

from __future__ import annotations

from usageflow.messages.alerts import (
    alert_destination_fields,
    alert_destination_message,
    alert_rule_fields,
    alert_rule_message,
)
from usageflow.messages.reading import (
    bare,
    block_fields,
    customer_fields,
    plan_fields,
    policy_fields,
    strategy_fields,
)
from usageflow.messages.writing import (
    block_message,
    customer_message,
    duration_of,
    microseconds_of,
    plan_message,
    policy_message,
    strategy_message,
    timestamp_of,
)

__all__ = [
    "alert_destination_fields",
    "alert_destination_message",
    "alert_rule_fields",
    "alert_rule_message",
    "bare",
    "block_fields",
    "block_message",
    "customer_fields",
    "customer_message",
    "duration_of",
    "microseconds_of",
    "plan_fields",
    "plan_message",
    "policy_fields",
    "policy_message",
    "strategy_fields",
    "strategy_message",
    "timestamp_of",
]
