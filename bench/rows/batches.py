"""Decisions through BatchCheck: slim messages, 100 checks a call, two limits each, 10,000 identities, one service process."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from bench import h2load
from bench.figures import NotMeasured
from bench.run import Run
from bench.service import BATCH_CHECK, MeasuredService, Operator, Redis, batch, bucket, fixed, policy

IDENTITIES = 10_000
PER_CALL = 100
ROUNDS = 5
ROUND_S = 2.0
AT_ONCE = 2
"""h2loads at once; each keeps two calls in flight."""

_WARM_CALLS = 20
"""Calls per body that tell about how many make a round; fewer would measure h2load's start."""

PATH = "/v1/orders"
LIMITS = (bucket(10**9, 60), fixed(10**12, 3600))
"""A rate and a quota that nobody exhausts: what is measured is deciding, not denying."""


def on_memory(run: Run) -> float:
    """Returns decisions per second with counters in the process."""
    return _measure(run, "memory", {})


def on_redis(run: Run) -> float:
    """Returns decisions per second with counters in one Redis on loopback."""
    program = shutil.which("redis-server")
    if program is None:
        raise NotMeasured("redis-server is missing: run `make services` as root, or install redis-server")
    with Redis(run.new_folder(), program) as redis:
        redis.wait_for("Ready to accept connections")
        return _measure(run, "redis", {"USAGEFLOW_REDIS_URL": redis.url})


def _measure(run: Run, store: str, environment: dict[str, str]) -> float:
    with MeasuredService(run.new_folder(), **environment) as service:
        address = service.start()
        bodies = _bodies(service, address, run.new_folder())
        size = len(bodies) // ROUNDS
        _round(service, address, bodies, 1)  # every identity is known, every path was taken
        warm, _ = _round(service, address, bodies[:size], _WARM_CALLS)
        calls = max(1, round(warm * ROUND_S / (size * PER_CALL)))
        rates, cpu_us = [], []
        for number in range(ROUNDS):
            rate, spent_us = _round(service, address, bodies[number * size : (number + 1) * size], calls)
            run.say(f"round {number + 1}: {rate:,.0f} decisions/s, {spent_us:.1f} us of CPU each")
            rates.append(rate)
            cpu_us.append(spent_us)
        service.stop()
    run.beside(
        f"batch_check_{store}_cpu", f"BatchCheck, {store}: the service's CPU", median(cpu_us), "us/decision"
    )
    return median(rates)


def _bodies(service: MeasuredService, address: str, folder: Path) -> list[Path]:
    """Sets the service up; returns prepared bodies, each with other identities."""
    with Operator(address, service.credentials) as operator:
        operator.apply([policy("orders", ["POST"], PATH, LIMITS)])
        (numbers,) = operator.register([("POST", PATH)])
    bodies = []
    for first in range(0, IDENTITIES, PER_CALL):
        message = batch(numbers, (f"user-{number}" for number in range(first, first + PER_CALL)))
        bodies.append(folder / str(first))
        bodies[-1].write_bytes(h2load.framed(message))
    return bodies


def _round(service: MeasuredService, address: str, bodies: Sequence[Path], calls: int) -> tuple[float, float]:
    """Sends each body some times; returns decisions per second and the service's CPU per decision in us.

    Raises NotMeasured where the service counted another number of decisions than h2load had answers for.
    """
    load = h2load.Load(calls)
    api_key = service.credentials["api_key"]
    before, cpu_before, started = service.decisions(), service.cpu_s(), time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for sent in pool.map(lambda body: h2load.send(address, BATCH_CHECK, body, load, api_key), bodies):
            if sent.succeeded != calls:
                raise NotMeasured(f"of {calls} calls only {sent.succeeded} ended well")
    seconds, cpu_s = time.perf_counter() - started, service.cpu_s() - cpu_before
    decided, wanted = service.decisions() - before, len(bodies) * calls * PER_CALL
    if decided != wanted:
        raise NotMeasured(f"h2load had answers for {wanted} checks, the service counted {decided}")
    return decided / seconds, cpu_s / decided * 1e6
