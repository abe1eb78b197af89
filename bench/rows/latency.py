"""p99 of Check while reports come in at half of their budget, next to p99 without them."""

from __future__ import annotations

import base64
import time
from statistics import median

from bench.helpers.lines import Helper
from bench.helpers.reporter import EVENTS
from bench.rows.batches import LIMITS, PATH
from bench.run import Run
from bench.service import MeasuredService, Operator, policy, unary
from bench.statistics import median_ratio, percentile, ratios_in_turn

PAIRS = 5
SECONDS = 4
CHECKS_PER_S = 200
EVENTS_PER_S = 10_000
IDLE_WITHIN_S = 15


def p99_ratio(run: Run) -> float:
    """Returns p99 beside reports over p99 without: the median of pairs."""
    accepted: list[float] = []
    with MeasuredService(run.new_folder()) as service:
        address, api_key = service.start(), service.credentials["api_key"]
        with Operator(address, service.credentials) as operator:
            operator.apply([policy("orders", ["POST"], PATH, LIMITS)])
            (numbers,) = operator.register([("POST", PATH)])
        told = (address, api_key, str(numbers.endpoint), str(numbers.plan))
        with Helper("checker", address, api_key) as checker, Helper("reporter", *told) as reporter:
            _p99(checker)

            def beside() -> float:
                # A second more than the checks take: they never run alone.
                reporter.ask({"make": (SECONDS + 1) * EVENTS_PER_S // EVENTS})
                reporter.tell({"rate": EVENTS_PER_S})
                p99 = _p99(checker)
                accepted.append(reporter.answer())
                _wait_until_idle(service)
                return p99

            pairs = ratios_in_turn(PAIRS, beside, lambda: _p99(checker))
            run.beside(
                "report_cpu", "Report: the service's CPU", _event_cpu_us(service, reporter), "us/event"
            )
        service.stop()
    for with_reports, without in pairs:
        run.say(
            f"p99 {with_reports:.1f} ms with reports, {without:.1f} ms without: {with_reports / without:.2f}"
        )
    run.beside("check_p99", "p99 of Check, 200/s", median(without for _, without in pairs), "ms")
    run.beside(
        "check_p99_reports", "p99 of Check, 200/s, with reports", median(p99 for p99, _ in pairs), "ms"
    )
    run.beside("reports_accepted", "reports accepted meanwhile", median(accepted), "events/s")
    return median_ratio(pairs)


def _wait_until_idle(service: MeasuredService) -> None:
    """Waits for what nobody waits for any more, lest it disturb the measurement without reports."""
    deadline = time.monotonic() + IDLE_WITHIN_S
    while time.monotonic() < deadline:
        before = service.cpu_s()
        time.sleep(0.25)
        if service.cpu_s() - before < 0.03:
            return


def _event_cpu_us(service: MeasuredService, reporter: Helper) -> float:
    """Returns what an event costs the service while nobody asks anything."""
    reporter.ask({"make": EVENTS_PER_S // EVENTS})
    before = service.cpu_s()
    reporter.ask({"rate": EVENTS_PER_S})
    return (service.cpu_s() - before) / (EVENTS_PER_S // EVENTS * EVENTS) * 1e6


def _p99(checker: Helper) -> float:
    bodies = [unary(PATH, f"user-{number}").SerializeToString() for number in range(100)]
    question = {
        "bodies": [base64.b64encode(body).decode() for body in bodies],
        "rate": CHECKS_PER_S,
        "seconds": SECONDS,
    }
    return percentile(checker.ask(question), 0.99)
