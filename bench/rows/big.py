"""A service with 100,000 policies: how long it takes to load them, and what it weighs with 1,000,000 live identities."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.figures import NotMeasured
from bench.rows.revisions import path, policies
from bench.run import Run
from bench.service import MeasuredService, Numbers, Operator, batch, fixed, policy

POLICIES = 100_000
IDENTITIES = 1_000_000
PER_CALL = 100
AT_ONCE = 4
PATIENCE_S = 240
"""For what is not measured; on a busy machine an Apply of this size takes its time."""

QUOTA = fixed(1_000, 3600)
"""The quick starts' limit, which every identity holds a live window of for an hour."""


@dataclass(frozen=True, slots=True)
class Big:
    """What was measured."""

    load_s: float
    rss_mib: float


def full_load_s(run: Run) -> float:
    """Returns the seconds from the start of the process until it decides by 100,000 policies."""
    return run.once("big", _measure).load_s


def memory_mib(run: Run) -> float:
    """Returns the resident memory of a service with 100,000 policies after 1,000,000 identities were admitted once."""
    return run.once("big", _measure).rss_mib


def _measure(run: Run) -> Big:
    data = run.new_folder()
    with MeasuredService(data) as service:
        _prepare(run, service)
        service.stop(timeout_s=PATIENCE_S)
    with MeasuredService(data) as service:
        service.wait_for("usageflow ready on", PATIENCE_S)
        address = service.start()
        load_s, loaded_mib = service.ready_after_s, service.rss_mib()
        run.say(f"ready after {load_s:.1f} s, {loaded_mib:,.0f} MiB")
        with Operator(address, service.credentials) as operator:
            (numbers,) = operator.register([("POST", path(0))], PATIENCE_S)
            _admit_all(run, service, operator, numbers)
        rss_mib = service.rss_mib()
        run.beside("memory_100k_policies", "memory, 100,000 policies alone", loaded_mib, "MiB")
        run.beside("memory_peak", "memory, 1,000,000 identities, peak", service.peak_mib(), "MiB")
        service.stop(timeout_s=PATIENCE_S)
    return Big(load_s, rss_mib)


def _prepare(run: Run, service: MeasuredService) -> None:
    """Stores the policies and one endpoint: registered first, while a new plan is a small one."""
    with Operator(service.start(), service.credentials) as operator:
        first = policy("p0", ["POST"], path(0), [QUOTA])
        operator.apply([first])
        operator.register([("POST", path(0))])
        started = time.perf_counter()
        operator.apply([first, *policies(POLICIES, 0)[1:]], PATIENCE_S)
        seconds = time.perf_counter() - started
    run.say(f"applied in {seconds:.1f} s")
    run.beside("apply_s_100k", "Apply of 100,000 policies", seconds, "s")


def _admit_all(run: Run, service: MeasuredService, operator: Operator, numbers: Numbers) -> None:
    started, before = time.perf_counter(), service.decisions()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda first: operator.batch(_users(numbers, first)), range(0, IDENTITIES, PER_CALL)))
    decided = service.decisions() - before
    if decided != IDENTITIES:
        raise NotMeasured(f"{IDENTITIES:,} identities asked, the service counted {decided:,} decisions")
    run.say(f"admitted in {time.perf_counter() - started:.1f} s")


def _users(numbers: Numbers, first: int) -> bytes:
    return batch(numbers, (f"user-{number:07}" for number in range(first, first + PER_CALL)))
