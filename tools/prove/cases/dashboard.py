"""A dashboard's question is answered while somebody waits for it."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from tools.prove.showing import NotShown, ensure
from tools.synthetic_usage import Load, half_past
from tools.usage_services import DATABASES, dashboard_request, serving_load

MOST_MS = {"postgresql": 200, "sqlite": 500}
EVENTS = 10_000_000
_TIMES = 31


def dashboard(folder: Path) -> str:
    """24 h by endpoint with percentiles over the sums of 10 million events: under 200 ms on PostgreSQL and 500 ms on SQLite, through
    the call of a real service.
    """
    figures = {each: show(each, folder / each, Load(EVENTS, half_past())) for each in DATABASES}
    text = "\n  ".join(f"{database}: {median_ms:.0f} ms" for database, median_ms in figures.items())
    if any(figures[database] > most for database, most in MOST_MS.items()):
        raise NotShown(text)
    return text


def show(database: str, folder: Path, load: Load) -> float:
    """Returns the median in milliseconds. Raises NotShown where the answer is not whole."""
    with serving_load(database, folder, load) as asked:
        answer, seconds = asked.query(dashboard_request(load.until), _TIMES)
    ensure(len(answer.rows) == load.endpoints, f"{len(answer.rows)} rows instead of {load.endpoints}")
    ensure(all(row.HasField("p95") for row in answer.rows), "a row has no percentiles")
    counted, wanted = answer.total.requests, load.events * 86_400 / load.span_s
    ensure(abs(counted / wanted - 1) < 0.01, f"{counted} requests of about {wanted:.0f}")
    return median(seconds) * 1_000
