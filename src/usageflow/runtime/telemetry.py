"""Logs on stderr and metrics for /metrics."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import structlog
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from usageflow.rpc.measuring import BUCKETS_S, CallTimes

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Metrics:
    """The instruments of a server process: plain numbers to add to, read when somebody looks, because an instrument's own cost
    would show in every decision. ``decisions`` go by (allowed, reason), ``store_operations`` by outcome, ``term_failures`` by field,
    ``credential_failures`` by reason, ``decision_log`` and ``snapshots`` (compiled ones) by outcome.
    """

    provider: MeterProvider
    call_times: CallTimes
    decisions: dict[tuple[bool, str], int]
    store_operations: dict[str, int]
    term_failures: dict[str, int]
    credential_failures: dict[str, int]
    decision_log: dict[str, int]
    snapshots: dict[str, int]

    def show(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Shows a number that is read when somebody looks."""
        meter = self.provider.get_meter("usageflow")
        meter.create_observable_gauge(
            name, [lambda _: [Observation(read())]], unit=unit, description=description
        )


def set_up_logs(level: str) -> None:
    """Sends structured lines to stderr; for people on a terminal, JSON elsewhere."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def set_up_metrics() -> Metrics:
    """Returns the instruments; prometheus_client's registry shows them."""
    provider = MeterProvider(metric_readers=[PrometheusMetricReader()])
    meter = provider.get_meter("usageflow")
    times = CallTimes()
    if _shown:
        REGISTRY.unregister(_shown.pop())
    _shown.append(_ShownTimes(times))
    REGISTRY.register(_shown[0])
    decisions: dict[tuple[bool, str], int] = {}
    operations: dict[str, int] = {}
    _observe(
        meter,
        "usageflow.decision.decisions",
        "Decisions by outcome and reason.",
        decisions,
        lambda kind: {"allowed": kind[0], "reason": str(kind[1])},
    )
    _observe(
        meter,
        "usageflow.store.operations",
        "Operations of the counter store by outcome.",
        operations,
        lambda outcome: {"outcome": outcome},
    )
    failures: dict[str, int] = {}
    _observe(
        meter,
        "usageflow.decision.expression_failures",
        "Conditions and costs of policies that could not be evaluated.",
        failures,
        lambda field: {"field": field},
    )
    refused: dict[str, int] = {}
    _observe(
        meter,
        "usageflow.auth.failures",
        "Calls with a credential that opens nothing, by reason; THROTTLED ones were not even looked at.",
        refused,
        lambda reason: {"reason": reason},
    )
    logged: dict[str, int] = {}
    _observe(
        meter,
        "usageflow.decision.log",
        "Decisions for the decision log by outcome.",
        logged,
        lambda outcome: {"outcome": outcome},
    )
    snapshots: dict[str, int] = {}
    _observe(
        meter,
        "usageflow.decision.snapshots",
        "Snapshots that were compiled, by outcome.",
        snapshots,
        lambda outcome: {"outcome": outcome},
    )
    return Metrics(provider, times, decisions, operations, failures, refused, logged, snapshots)


def _observe(
    meter: Meter,
    name: str,
    description: str,
    tally: dict[Kind, int],
    attributes: Callable[[Kind], Mapping[str, str | bool]],
) -> None:
    """Lets the meter show a tally as a counter."""

    def read(_: CallbackOptions) -> Iterable[Observation]:
        # Copied first: the event loop may add a kind while the thread of /metrics reads.
        return [Observation(number, attributes(kind)) for kind, number in tally.copy().items()]

    meter.create_observable_counter(name, [read], description=description)


class _ShownTimes:
    """Shows the times of calls under the name and labels of OpenTelemetry's conventions for RPC."""

    def __init__(self, times: CallTimes) -> None:
        self._times = times

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(
            "rpc_server_call_duration_seconds", "Duration of calls.", labels=["rpc_method", "rpc_status"]
        )
        bounds = [*map(floatToGoString, BUCKETS_S), "+Inf"]
        for method, code, buckets, sum_s in self._times.read():
            family.add_metric([method, code], list(zip(bounds, accumulate(buckets), strict=True)), sum_s)
        yield family


_shown: list[_ShownTimes] = []
"""What prometheus_client's one registry shows: the times of the process that was set up last."""
