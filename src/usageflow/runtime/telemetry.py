"""Logs on stderr and metrics for /metrics."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

import structlog
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import MeterProvider


@dataclass(frozen=True, slots=True)
class Metrics:
    """The instruments of a server process."""

    provider: MeterProvider
    call_duration: Histogram
    decisions: Counter
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
        meter.create_counter(
            "usageflow.decision.expression_failures",
            description="Conditions and costs of policies that could not be evaluated.",
        ),
    )
