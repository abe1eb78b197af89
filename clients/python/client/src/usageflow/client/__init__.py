"""UsageFlow's Python client. Framework packages such as usageflow-fastapi stand on it."""

from __future__ import annotations

from usageflow.client._client import UsageFlowClient
from usageflow.client._config import ClientConfig
from usageflow.client._hooks import set_consumer, set_metadata, set_quantity
from usageflow.client._status import ClientStatus

__all__ = [
    "ClientConfig",
    "ClientStatus",
    "UsageFlowClient",
    "set_consumer",
    "set_metadata",
    "set_quantity",
]
