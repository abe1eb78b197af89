"""Unary Check next to the least that grpc.aio can do: the same messages, a constant answer, no interceptor."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from bench import h2load
from bench.figures import NotMeasured
from bench.helpers.lines import Helper
from bench.rows.batches import LIMITS, PATH
from bench.run import Run
from bench.service import CHECK, MeasuredService, Operator, policy, unary
from bench.statistics import median_ratio, ratios_in_turn

PAIRS = 5
LOAD = h2load.Load(calls=1500, connections=4, streams=8)
WARM_UP = h2load.Load(calls=300, connections=4, streams=8)


def ratio_to_empty(run: Run) -> float:
    """Returns Check/s over the empty method's calls/s: the median of pairs."""
    folder = run.new_folder()
    body, answer = folder / "body", folder / "answer"
    with MeasuredService(run.new_folder()) as service:
        address = service.start()
        with Operator(address, service.credentials) as operator:
            operator.apply([policy("orders", ["POST"], PATH, LIMITS)])
            operator.register([("POST", PATH)])
            request = unary(PATH, "user-1")
            answer.write_bytes(operator.check(request).SerializeToString())
        body.write_bytes(h2load.framed(request.SerializeToString()))
        with Helper("empty", str(answer)) as empty:
            _ours(service, address, body, WARM_UP)
            _rate(empty.ready, body, WARM_UP)
            pairs = ratios_in_turn(
                PAIRS, lambda: _ours(service, address, body, LOAD), lambda: _rate(empty.ready, body, LOAD)
            )
        service.stop()
    for ours, least in pairs:
        run.say(f"Check {ours:,.0f}/s, empty {least:,.0f}/s: {ours / least:.2f}")
    run.beside("unary_check", "Check", median(ours for ours, _ in pairs), "calls/s")
    run.beside("empty_grpc_aio", "an empty grpc.aio method", median(least for _, least in pairs), "calls/s")
    return median_ratio(pairs)


def _ours(service: MeasuredService, address: str, body: Path, load: h2load.Load) -> float:
    before = service.decisions()
    rate = _rate(address, body, load, service.credentials["api_key"])
    decided = service.decisions() - before
    if decided != load.calls:
        raise NotMeasured(f"h2load had {load.calls} answers, the service counted {decided} decisions")
    return rate


def _rate(address: str, body: Path, load: h2load.Load, api_key: str = "") -> float:
    return load.calls / h2load.send(address, CHECK, body, load, api_key).seconds
