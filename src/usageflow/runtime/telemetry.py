"""Logs on stderr and metrics for /metrics."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider


@dataclass(frozen=True, slots=True)
class Metrics:
    """The instruments of a server process. ``store_operations`` is a tally by outcome: a plain number to add to, read when
    somebody looks, because an instrument's own cost would show in every decision.
    """

    provider: MeterProvider
    call_duration: Histogram
    decisions: Counter
    store_operations: dict[str, int]
    term_failures: Counter


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
    return Metrics(
        provider,
        meter.create_histogram("rpc.server.call.duration", unit="s", description="Duration of calls."),
        meter.create_counter("usageflow.decision.decisions", description="Decisions by outcome and reason."),
        _observed(meter, "usageflow.store.operations", "Operations of the counter store by outcome."),
        meter.create_counter(
            "usageflow.decision.expression_failures",
            description="Conditions and costs of policies that could not be evaluated.",
        ),
    )


def _observed(meter: Meter, name: str, description: str) -> dict[str, int]:
    """Returns a tally by outcome that the meter shows as a counter."""
    tally: dict[str, int] = {}

    def read(_: CallbackOptions) -> Iterable[Observation]:
        # Copied first: the event loop may add an outcome while the thread of /metrics reads.
        return [Observation(number, {"outcome": outcome}) for outcome, number in tally.copy().items()]

    meter.create_observable_counter(name, [read], description=description)
    return tally
