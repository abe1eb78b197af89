"""UsageFlow for FastAPI and Starlette: one line of middleware."""

from __future__ import annotations

from usageflow.client import set_consumer, set_metadata, set_quantity
from usageflow.fastapi._api import FastAPIUsageFlowAPI
from usageflow.fastapi._middleware import UsageFlowMiddleware

__all__ = [
    "FastAPIUsageFlowAPI",
    "UsageFlowMiddleware",
    "set_consumer",
    "set_metadata",
    "set_quantity",
]
