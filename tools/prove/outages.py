"""Cases: the service while Redis is stopped, gone, empty, absent or refuses to work."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.statistics import percentile
from tools import redis_faults
from tools.open_loop import Seen
from tools.outages import (
    BLOCKED,
    CLOSED,
    COUNTED,
    FREE,
    LOCAL,
    OPEN,
    UNCOUNTED,
    WARM_UP_S,
    Load,
    Outage,
    is_normal,
    outage,
    serving,
    traffic,
)
from tools.prove.showing import NotShown, ensure
from tools.redis_faults import Fault
from tools.redis_servers import RedisServer

TIMEOUT, UNAVAILABLE = "STORE_TIMEOUT", "STORE_UNAVAILABLE"
TOLD = ""
"""Not degraded. Only a Redis that may be read tells anything: a denial, which writes nothing."""

CHECKPOINT_S = 1.0
"""The published bound of what a crash forgets: the takes of a second."""

ENDED_S = 2.0
TRIES = 3

ON_TIME_MS = 10.0
"""A sender that is later than this, at p99, waits for a machine that does something else."""

_EXPECTED = {
    OPEN: {(True, "FAIL_MODE", "OPEN")},
    CLOSED: {(False, "FAIL_MODE", "CLOSED")},
    LOCAL: {(True, "WITHIN_LIMITS", "LOCAL"), (False, "LIMIT_EXCEEDED", "LOCAL")},
    FREE: {(True, "WITHIN_LIMITS", "")},
    BLOCKED: {(False, "BLOCKED", "")},
}
"""What each path answers while the counters are silent: allowed, reason, fail mode."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an outage may cost: milliseconds beyond the deadline at p99, MiB, seconds to normal service, and the share of checks
    that are not what they should be because the machine had no time for them.
    """

    late_ms: float = 20
    grown_mib: float = 50
    recovery_s: float = 2
    stray: float = 0.01


FULL = Bounds()
_STALL = Load(before_s=30, during_s=60, after_s=10)


def stall(folder: Path) -> str:
    """Redis stopped for 60 s at 500 checks a second: no answer takes longer than its deadline + 20 ms at p99, memory grows by less
    than 50 MiB, policies that need no store are unaffected, the others do as their fail modes say, and normal service is back
    within 2 s of its return.
    """
    return shown(folder, redis_faults.stopped, _STALL, FULL, {TIMEOUT, UNAVAILABLE})


def redis_errors(folder: Path) -> str:
    """Redis killed and back empty, and answering -LOADING, -READONLY, -CLUSTERDOWN and -MOVED, at 500 checks a second: fail modes
    decide with STORE_UNAVAILABLE, nothing hangs, and within 2 s service is normal again, with long quotas where they stood.
    """
    faults = ("killed", "loading", "read_only", "cluster_down", "moved")
    lines, fails = [], []
    for name in faults:
        try:
            figures = shown(folder / name, getattr(redis_faults, name), Load(), FULL, reasons_of(name))
        except NotShown as error:
            fails.append(name)
            figures = f"DOES NOT HOLD: {error}"
        lines.append(f"{name}: {figures}")
    ensure(not fails, "\n  ".join(lines))
    return "\n  ".join(lines)


def reasons_of(fault: str) -> set[str]:
    """Returns what counted answers may say of themselves during a fault of tools.redis_faults."""
    return {UNAVAILABLE, TOLD} if fault == "read_only" else {UNAVAILABLE}


def shown(
    folder: Path,
    starting: Callable[[], AbstractContextManager[Fault]],
    load: Load,
    bounds: Bounds,
    reasons: set[str],
) -> str:
    """Runs one outage; returns its figures. Raises NotShown, with them, for the first thing that does not hold."""
    folder.mkdir(exist_ok=True)

    def run(number: int) -> Outage:
        data, out = folder / f"data-{number}", folder / f"seen-{number}"
        with starting() as fault, serving(data, fault.url, load) as service:
            return outage(service, load, out, fault.begin, fault.mend)

    return _told(run, load, bounds, reasons)


def _told(run: Callable[[int], Outage], load: Load, bounds: Bounds, reasons: set[str]) -> str:
    """Returns the figures of a run that holds. One that does not, on a busy machine, says more about what else that does: it is
    repeated.
    """
    for number in range(1, TRIES + 1):
        seen = run(number)
        tries = f", at the {number}. try" if number > 1 else ""
        try:
            _judge(seen, load, bounds, reasons)
            return _figures(seen, load) + tries
        except NotShown as error:
            if number == TRIES or not _is_busy(seen, load, bounds):
                raise NotShown(f"{error}\n    {_figures(seen, load)}{tries}") from None
    raise AssertionError("there is a last try")


def _figures(seen: Outage, load: Load) -> str:
    parts = {"before": seen.before(), "during": seen.during(), "after": seen.after()}
    latencies = "; ".join(f"{name} {_latency(part)}" for name, part in parts.items())
    outage_s = seen.mending_s - seen.began_s
    free = "/".join(f"{_p99_ms(_uncounted(part)):.1f}" for part in (parts["before"], parts["during"]))
    return (
        f"{outage_s:.1f} s at {load.rate}/s, deadline {load.deadline_ms} ms: {latencies}; without counters p99 before/during {free} ms; "
        f"{seen.grown_mib:.1f} MiB more, "
        f"normal after {seen.recovery_s():.2f} s, {forgotten(seen)} takes forgotten"
    )


def _latency(part: Sequence[Seen]) -> str:
    ensure(bool(part), "nothing was sent in a part of the run")
    took = [one.took_s * 1000 for one in part]
    told = "/".join(f"{value:.1f}" for value in (percentile(took, 0.5), percentile(took, 0.99), max(took)))
    return f"p50/p99/max {told} ms, {_share(part, _is_undecided):.1%} unanswered of {len(part)}, sent {_late_ms(part):.1f} ms late"


def _judge(seen: Outage, load: Load, bounds: Bounds, reasons: set[str]) -> None:
    during = seen.during()
    # On a busy machine even a good Redis is late: not more often than before, then.
    usual = _share([one for one in seen.before() if one.path in COUNTED], _is_degraded)
    for path in COUNTED:
        _judge_path(path, during, reasons, max(bounds.stray, usual))
    for path in UNCOUNTED:
        _judge_path(path, during, reasons, bounds.stray)
    for path in UNCOUNTED:
        _judge_path(path, seen.after(), reasons, bounds.stray)
    _judge_undecided(seen, bounds.stray)
    admitted = sum(one.allowed for one in during if one.path == LOCAL)
    most = load.local_rate * (seen.mending_s - seen.began_s + 1)
    ensure(admitted <= most, f"LOCAL admitted {admitted}, the promise is {most:.0f}")
    beyond_ms = _beyond_ms(during, load)
    ensure(beyond_ms <= bounds.late_ms, f"p99 is {beyond_ms:.0f} ms beyond the deadline")
    ensure(seen.grown_mib < bounds.grown_mib, f"memory grew by {seen.grown_mib:.0f} MiB")
    _judge_recovery(seen, bounds)


def _judge_path(path: str, part: Sequence[Seen], reasons: set[str], most: float) -> None:
    """Raises NotShown where more than the share ``most`` of a path's answers are not as its policy says."""
    answers = [one for one in part if one.path == path and one.status == "OK"]
    strays = [one for one in answers if not _is_right(one, reasons if path in COUNTED else {""})]
    told = dict(Counter(f"{one.reason} {one.degraded}".strip() for one in strays))
    ensure(bool(answers), f"no answer on {path}")
    ensure(len(strays) <= most * len(answers), f"{len(strays)} of {len(answers)} on {path}: {told}")


def _judge_undecided(seen: Outage, most: float) -> None:
    """Raises NotShown where more than this share of the checks got no answer at all."""
    for part in (seen.during(), seen.after()):
        found = _share(part, _is_undecided)
        ensure(found <= most, f"{found:.1%} of {len(part)} had no answer")


def _beyond_ms(part: Sequence[Seen], load: Load) -> float:
    """Returns how far beyond their deadline answers came, at p99."""
    return _p99_ms(part) - load.deadline_ms


def _p99_ms(part: Sequence[Seen]) -> float:
    return percentile([one.took_s * 1000 for one in part], 0.99)


def _uncounted(part: Sequence[Seen]) -> list[Seen]:
    return [one for one in part if one.path in UNCOUNTED]


def _is_busy(seen: Outage, load: Load, bounds: Bounds) -> bool:
    """Tells whether the machine had too little time for this load, Redis or not."""
    return _beyond_ms(seen.before(), load) > bounds.late_ms or _late_ms(seen.during()) > ON_TIME_MS


def _late_ms(part: Sequence[Seen]) -> float:
    """Returns how late checks were sent, at p99: the sender does nothing else."""
    return percentile([one.late_s * 1000 for one in part], 0.99)


def _is_degraded(one: Seen) -> bool:
    return one.status == "OK" and bool(one.degraded)


def _is_undecided(one: Seen) -> bool:
    return one.status != "OK"


def _is_right(one: Seen, reasons: set[str]) -> bool:
    if (one.path, one.reason, one.degraded, one.allowed) == (LOCAL, "LIMIT_EXCEEDED", TOLD, False):
        return TOLD in reasons
    return one.degraded in reasons and (one.allowed, one.reason, one.fail_mode) in _EXPECTED[one.path]


def _judge_recovery(seen: Outage, bounds: Bounds) -> None:
    ensure(seen.recovery_s() <= bounds.recovery_s, f"normal only after {seen.recovery_s():.2f} s")
    before, settled = (_share(part, _is_degraded) for part in (seen.before(), seen.after(bounds.recovery_s)))
    ensure(
        settled <= max(bounds.stray, before),
        f"{settled:.1%} are still degraded afterwards, {before:.1%} were before",
    )
    last_s = [one for one in seen.before() if one.path == OPEN and one.sent_s > seen.began_s - CHECKPOINT_S]
    ensure(
        forgotten(seen) <= len(last_s),
        f"{forgotten(seen)} takes were forgotten, and a second has {len(last_s)}",
    )


def _share(part: Sequence[Seen], holds: Callable[[Seen], bool]) -> float:
    return sum(map(holds, part)) / max(1, len(part))


def forgotten(seen: Outage) -> int:
    """Returns how many takes of the monthly quotas were lost: what is left to a user must go on where it stood."""
    left: dict[str, int] = {}
    found = 0
    for one in seen.seen:
        if one.path == OPEN and is_normal(one):
            stood = left.get(one.user, one.remaining + 1)
            found += max(0, one.remaining + 1 - stood)
            left[one.user] = one.remaining
    return found


def stop_in_stall(folder: Path) -> str:
    """SIGTERM under load, with Redis stopped, ends the service within 2 s with exit code 0."""
    code, seconds, output = stopped_in_stall(folder, Load(before_s=3, during_s=3))
    ensure(code == 0, f"exit code {code}: {output}")
    ensure(seconds <= ENDED_S, f"ended after {seconds:.2f} s")
    return f"ended after {seconds:.2f} s at {Load().rate} checks a second (budget {ENDED_S:g} s), exit code 0"


def stopped_in_stall(folder: Path, load: Load) -> tuple[int, float, str]:
    """Ends a service under load ``during_s`` after its Redis stopped; returns exit code, seconds and output."""
    with redis_faults.stopped() as fault, serving(folder / "data", fault.url, load) as service:
        with traffic(service, load, folder / "seen") as sending:
            sending.wait_sending()
            time.sleep(load.before_s)
            fault.begin()
            time.sleep(load.during_s)
            code, seconds = service.stop(signal.SIGTERM)
            sending.seen(early=True)
        return code, seconds, service.output


def redis_late(folder: Path) -> str:
    """Started without Redis the service serves, and fail modes decide; when Redis comes, long quotas are restored before anything
    is decided, and service is normal within 2 s.
    """
    return late_shown(folder, Load(), FULL, {UNAVAILABLE})


def late_shown(folder: Path, load: Load, bounds: Bounds, reasons: set[str]) -> str:
    """Runs a start without Redis; returns its figures. Raises NotShown as shown does."""
    return _told(lambda number: _late(folder / str(number), load), load, bounds, reasons)


def _late(folder: Path, load: Load) -> Outage:
    """Takes from quotas, ends both the service and Redis, starts the service without it, and Redis ``during_s`` later."""
    with RedisServer() as server:
        with (
            serving(folder / "data", server.url, load) as service,
            traffic(service, load, folder / "first") as sending,
        ):
            sending.wait_sending()
            time.sleep(WARM_UP_S + load.before_s)
            first = sending.seen(early=True)
            service.stop()
        server.kill()
        with serving(folder / "data", server.url, load) as service:
            again = outage(service, replace(load, before_s=0), folder / "again", lambda: None, server.restart)
    began_s = again.seen[0].sent_s
    return replace(again, seen=[*first, *again.seen], began_s=began_s)
