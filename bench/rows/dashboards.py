"""How long a dashboard waits: 24 h by endpoint with percentiles, over the sums of 10 million events, through the call."""

from __future__ import annotations

from statistics import median

from bench.figures import NotMeasured
from bench.run import Run
from tools.processes import ProcessFailed
from tools.synthetic_usage import Load, half_past
from tools.usage_services import dashboard_request, serving_load

EVENTS = 10_000_000
TIMES = 31


def on_postgres(run: Run) -> float:
    """Returns the median in milliseconds on PostgreSQL."""
    return _median_ms(run, "postgresql")


def on_sqlite(run: Run) -> float:
    """Returns the median in milliseconds on SQLite."""
    return _median_ms(run, "sqlite")


def _median_ms(run: Run, database: str) -> float:
    run.say(f"writing the sums of {EVENTS:,} events into {database}")
    load = Load(EVENTS, half_past())
    try:
        with serving_load(database, run.new_folder(), load) as asked:
            answer, seconds = asked.query(dashboard_request(load.until), TIMES)
    except ProcessFailed as error:
        raise NotMeasured(str(error).strip().splitlines()[-1]) from None
    run.say(f"{len(answer.rows)} rows, from {min(seconds) * 1000:.0f} to {max(seconds) * 1000:.0f} ms")
    return median(seconds) * 1_000
