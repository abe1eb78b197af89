"""What framework packages build on; applications use `usageflow.client`."""

from __future__ import annotations

from usageflow.client._core.answer import HttpAnswer
from usageflow.client._core.capturing import MAX_BODY_BYTES
from usageflow.client._core.plan import UNMATCHED, EndpointName
from usageflow.client._core.request import RequestView, client_address
from usageflow.client._core.routes import RouteOption
from usageflow.client._exchange import Exchange

__all__ = [
    "MAX_BODY_BYTES",
    "UNMATCHED",
    "EndpointName",
    "Exchange",
    "HttpAnswer",
    "RequestView",
    "RouteOption",
    "client_address",
]
