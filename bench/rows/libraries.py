"""Beside the budgets: our counters next to `limits` and `throttled-py`, two limits per check, one process, the same stores."""

from __future__ import annotations

import shutil
from statistics import median

from bench.figures import NotMeasured
from bench.helpers.lines import Helper
from bench.run import Run
from bench.service import Redis

ROUNDS = 3
ON_MEMORY = {
    "dict": "a dict that counts",
    "ours_fixed_window": "UsageFlow, FIXED_WINDOW",
    "ours_token_bucket": "UsageFlow, TOKEN_BUCKET",
    "ours_token_bucket_batch": "UsageFlow, TOKEN_BUCKET, 100 a call",
    "limits_fixed_window": "limits, fixed window",
    "limits_sliding_window": "limits, sliding window",
    "throttled_fixed_window": "throttled-py, fixed window",
    "throttled_token_bucket": "throttled-py, token bucket",
    "throttled_gcra": "throttled-py, GCRA",
}
ON_REDIS = {"ping": "a bare PING"} | {
    name: title for name, title in ON_MEMORY.items() if name.startswith(("ours", "limits", "throttled"))
}


def beside(run: Run) -> None:
    """Notes checks per second of each, in turn, round by round."""
    _compare(run, "memory", "", ON_MEMORY, 10_000)
    program = shutil.which("redis-server")
    if program is None:
        raise NotMeasured("redis-server is missing: run `make services` as root, or install redis-server")
    with Redis(run.new_folder(), program) as redis:
        redis.wait_for("Ready to accept connections")
        _compare(run, "redis", redis.url, ON_REDIS, 1_500)


def _compare(run: Run, store: str, url: str, cases: dict[str, str], checks: int) -> None:
    rates: dict[str, list[float]] = {name: [] for name in cases}
    with Helper("stores") as stores:
        for name in cases:
            stores.ask({"case": name, "redis": url, "checks": checks // 10})
        for _ in range(ROUNDS):
            for name in cases:
                rates[name].append(stores.ask({"case": name, "redis": url, "checks": checks}))
    for name, title in cases.items():
        run.beside(f"{name}_{store}", f"{title}, {store}", median(rates[name]), "checks/s")
