"""A watched request between its arrival and its event."""

from __future__ import annotations

from dataclasses import dataclass, field

from usageflow.client._aio.session import Session
from usageflow.client._core.hooks import RequestData
from usageflow.client._core.plan import EndpointRule
from usageflow.client._core.request import RequestView
from usageflow.client._core.verdict import NOT_ASKED, Verdict


@dataclass(slots=True)
class Exchange:
    """Made by `UsageFlowClient.begin`, ended by `UsageFlowClient.finish`; reported once, however often it is ended."""

    session: Session
    request: RequestView
    rule: EndpointRule | None
    """None before the first plan."""
    started_ns: int
    """Wall clock, nanoseconds since 1970."""
    started_mono_ns: int
    data: RequestData = field(default_factory=RequestData)
    verdict: Verdict = NOT_ASKED
    finished: bool = False
