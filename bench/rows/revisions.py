"""From a change of policies to the first decision under it, at 1,000 policies."""

from __future__ import annotations

import threading
import time
from statistics import median

from bench.figures import NotMeasured
from bench.run import Run
from bench.service import MeasuredService, Operator, bucket, fixed, policy, unary
from bench.statistics import percentile
from usageflow.v1 import policies_pb2

POLICIES = 1_000
CHANGES = 30
PATIENCE_S = 10


def p99_s(run: Run) -> float:
    """Returns the 99th percentile over some changes, in seconds from the start of Apply."""
    with MeasuredService(run.new_folder()) as service:
        address = service.start()
        with (
            Operator(address, service.credentials) as operator,
            Operator(address, service.credentials) as asker,
        ):
            operator.apply(policies(POLICIES, 0))
            operator.register([("POST", path(0))])
            seconds = [_change(operator, asker, number) for number in range(1, CHANGES + 1)]
        service.stop()
    run.say(f"from {min(seconds):.3f} to {max(seconds):.3f} s")
    run.beside(
        "revision_change_median_s_1k", "change to decision, 1,000 policies, median", median(seconds), "s"
    )
    return percentile(seconds, 0.99)


def policies(count: int, change: int) -> list[policies_pb2.Policy]:
    """Returns policies of two limits on paths of their own; ``change`` alters the first one's limit."""
    limits = (bucket(100, 60), fixed(10_000, 3600))
    first = policy("p0", ["POST"], path(0), (bucket(10**6 + change, 60), fixed(10**9, 3600)))
    return [first, *(policy(f"p{number}", ["POST"], path(number), limits) for number in range(1, count))]


def path(number: int) -> str:
    """Returns the path of a policy."""
    return f"/api/s{number % 300}/r{number}/:id"


def _change(operator: Operator, asker: Operator, number: int) -> float:
    """Applies a change while another thread asks without pause; returns the seconds to its first answer."""
    request = unary(path(0).replace(":id", "{id}"), "user-1")
    old = asker.check(request).revision
    seen: list[float] = []

    def ask() -> None:
        deadline = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < deadline:
            if asker.check(request).revision > old:
                seen.append(time.perf_counter())
                return

    changed = policies(POLICIES, number)
    asking = threading.Thread(target=ask)
    started = time.perf_counter()
    asking.start()
    operator.apply(changed)
    asking.join()
    if not seen:
        raise NotMeasured(f"no decision under the change within {PATIENCE_S} s")
    return seen[0] - started
