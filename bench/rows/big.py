"""A service with 100,000 policies: how long it takes to load them, and what it weighs with 1,000,000 live identities."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bench.figures import NotMeasured
from bench.helpers.lines import Helper
from bench.rows.revisions import path, policies
from bench.run import Run
from bench.service import MeasuredService, Operator, fixed, policy, unary
from usageflow.v1 import decision_pb2

POLICIES = 100_000
IDENTITIES = 1_000_000
PATIENCE_S = 300
"""For what is not measured; on a busy machine an Apply of this size takes its time."""

QUOTA = 1_000
USER = "user-%07d"
"""The quick starts' limit is 1,000 an hour; every identity holds a live window of it."""


@dataclass(frozen=True, slots=True)
class Big:
    """What was measured."""

    load_s: float
    rss_mib: float


def full_load_s(run: Run) -> float:
    """Returns the seconds from the start of the process until it decides by 100,000 policies."""
    return run.once("big", _measure).load_s


def memory_mib(run: Run) -> float:
    """Returns the resident memory of a service with 100,000 policies and 1,000,000 identities that were admitted once."""
    return run.once("big", _measure).rss_mib


def _measure(run: Run) -> Big:
    data = run.new_folder()
    with MeasuredService(data) as service:
        _prepare(run, service)
        service.stop(timeout_s=PATIENCE_S)
    with MeasuredService(data) as service:
        _start(service)
        load_s, loaded_mib, cpu_s = service.ready_after_s, service.rss_mib(), service.cpu_s()
        run.say(f"100,000 policies: ready after {load_s:.1f} s, {loaded_mib:,.0f} MiB")
        service.stop(timeout_s=PATIENCE_S)
    with Helper("windows", str(_database(data)), USER % 0, USER) as windows:
        windows.ask(IDENTITIES)
    with MeasuredService(data) as service:
        with Operator(_start(service), service.credentials) as operator:
            _prove_live(operator)
        rss_mib, peak_mib = service.rss_mib(), service.peak_mib()
        run.say(f"and 1,000,000 identities: ready after {service.ready_after_s:.1f} s, {rss_mib:,.0f} MiB")
        service.stop(timeout_s=PATIENCE_S)
    run.beside("full_load_cpu", "full load of 100,000 policies: the service's CPU", cpu_s, "s")
    run.beside("memory_100k_policies", "memory, 100,000 policies alone", loaded_mib, "MiB")
    run.beside("memory_peak", "memory, with 1,000,000 identities, peak", peak_mib, "MiB")
    return Big(load_s, rss_mib)


def _start(service: MeasuredService) -> str:
    service.wait_for("usageflow ready on", PATIENCE_S)
    return service.start()


def _database(data: Path) -> Path:
    return next(data.glob("*.db"))


def _prepare(run: Run, service: MeasuredService) -> None:
    """Stores the policies, and admits one identity, whose window is checkpointed when the service ends."""
    with Operator(service.start(), service.credentials) as operator:
        first = policy("p0", ["POST"], path(0), [fixed(QUOTA, 3600)])
        started = time.perf_counter()
        revision = operator.apply([first, *policies(POLICIES, 0)[1:]], PATIENCE_S)
        seconds = time.perf_counter() - started
        _wait_for(operator, revision)
    run.say(f"applied in {seconds:.1f} s")
    run.beside("apply_s_100k", "Apply of 100,000 policies", seconds, "s")


def _wait_for(operator: Operator, revision: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while operator.check(_request(0)).revision < revision:
        if time.monotonic() > deadline:
            raise NotMeasured(f"revision {revision} was not in force after {PATIENCE_S} s")
        time.sleep(0.1)


def _request(user: int) -> decision_pb2.CheckRequest:
    return unary(path(0).replace(":id", "{id}"), USER % user)


def _prove_live(operator: Operator) -> None:
    """Raises NotMeasured unless identities all over have used what the one had used before, and now one unit more."""
    left = {
        operator.check(_request(user)).limits[0].remaining for user in range(1, IDENTITIES, IDENTITIES // 100)
    }
    if len(left) != 1 or left == {QUOTA - 1}:
        raise NotMeasured(f"not all identities have a live window: {sorted(left)} units are left to them")
