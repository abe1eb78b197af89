"""The cases: each returns its figure, or raises NotShown. They work in a folder that is theirs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.processes import READY, ROOT, Process, Service, free_port
from tools.prove.outages import redis_errors, redis_late, stall, stop_in_stall
from tools.prove.refusals import refusals
from tools.prove.showing import ensure

CHECK = ("check", "--method", "POST", "--path", "/api/transactions", "--output", "json")


def _newcomer(folder: Path) -> tuple[Path, dict[str, str]]:
    """Returns a fresh clone of what is committed, and a cleared environment."""
    clone, home = folder / "usageflow", folder / "home"
    home.mkdir()
    _command(["git", "clone", "--quiet", str(ROOT), str(clone)], folder, dict(os.environ))
    ensure(not (clone / ".venv").exists(), "the clone has an environment already")
    return clone, {"HOME": str(home), "PATH": os.environ["PATH"]}


def _command(
    arguments: list[str], folder: Path, environment: dict[str, str], timeout_s: float = 3600
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def hundred(folder: Path) -> str:
    """In a new clone without an environment, `make run` reaches ready; exactly 100 checks of one identity are allowed, the 101st is
    denied with the right Retry-After, another identity is untouched.
    """
    clone, environment = _newcomer(folder)
    address = f"127.0.0.1:{free_port()}"
    with Process(["make", "run"], {**environment, "USAGEFLOW_LISTEN": address}, clone) as service:
        ready_s = service.wait_for(READY, timeout_s=600)
        started = time.monotonic()
        codes = [_check(clone, environment, "alice")[0] for _ in range(100)]
        code, denied = _check(clone, environment, "alice")
        other_code, other = _check(clone, environment, "bob")
        elapsed = time.monotonic() - started
        service.stop(signal.SIGTERM)
    retry_after = float(str(denied["retry_after_s"]))
    ensure(codes == [0] * 100, f"exit codes of the first hundred: {sorted(set(codes))}")
    ensure(
        (code, denied["decision"], denied["reason"]) == (3, "DENY", "LIMIT_EXCEEDED"), f"the 101st: {denied}"
    )
    ensure(3600 - elapsed - 1 <= retry_after <= 3600, f"Retry-After is {retry_after} after {elapsed:.0f} s")
    ensure(other_code == 0 and _remaining(other) == 99, f"the other identity: {other}")
    return f"ready {ready_s:.1f} s after the clone; 100 allowed, the 101st denied for {retry_after:.0f} s, bob has 99 left"


def _check(clone: Path, environment: dict[str, str], user: str) -> tuple[int, dict[str, Any]]:
    result = _command([".venv/bin/usageflow", *CHECK, "--header", f"X-User-Id: {user}"], clone, environment)
    ensure(result.returncode in (0, 3), result.stderr)
    return result.returncode, json.loads(result.stdout)


def _remaining(answer: dict[str, Any]) -> int:
    return int(next(limit["remaining"] for limit in answer["limits"] if limit["name"] == "hourly"))


def demo(folder: Path) -> str:
    """`make demo` in a new clone ends with both sides' totals equal, in under 60 s after the set-up."""
    clone, environment = _newcomer(folder)
    _command(["make", "setup"], clone, environment)
    started = time.monotonic()
    result = _command(["make", "demo"], clone, environment)
    seconds = time.monotonic() - started
    last = result.stdout.strip().splitlines()[-1] if result.stdout.strip() else result.stderr
    ensure(result.returncode == 0 and last.startswith("demo ok:"), last)
    ensure(seconds < 60, f"it took {seconds:.0f} s")
    return f"{last} ({seconds:.0f} s)"


def restart(folder: Path) -> str:
    """Restarts and kills of the service lose no reported event: 20,000 events sent in 20 files over five kills and five
    restarts, files from before a restart sent again after it.
    """
    total, files = 20_000, 20
    size = total // files
    now = time.time()
    paths = []
    for number in range(files):
        path = folder / f"events-{number}.jsonl"
        lines = (
            {
                "event_id": f"e{index}",
                "time": now,
                "method": "POST",
                "path": "/api/transactions",
                "status": 201,
            }
            for index in range(number * size, (number + 1) * size)
        )
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        paths.append(path)
    accepted = duplicates = 0
    for first in range(0, files, 2):
        with Service(folder / "data") as service:
            service.wait_ready()
            for path in [*paths[first : first + 2], *paths[max(0, first - 2) : first]]:
                summary = json.loads(service.command("report", "-f", str(path), "--output", "json").stdout)
                accepted += summary["accepted"]
                duplicates += summary["duplicates"]
            service.stop(signal.SIGKILL if first % 4 else signal.SIGTERM)
    with Service(folder / "data") as service:
        service.wait_ready()
        (row,) = json.loads(service.command("usage", "--output", "json").stdout)
        service.stop()
    ensure(accepted == total, f"{accepted} of {total} were accepted")
    ensure(row["requests"] == total and row["units"] == total, f"counted: {row}")
    return f"{accepted} accepted, {duplicates} sent again and recognised, {row['requests']} counted"


def life(folder: Path) -> str:
    """A second start is ready in 3 s; SIGTERM and SIGINT drain and end in 2 s with exit code 0 (worst of five each)."""
    ready, ended = [], []
    for number in range(11):
        with Service(folder / "data") as service:
            service.wait_ready()
            code, seconds = service.stop(signal.SIGINT if number % 2 else signal.SIGTERM)
        ensure(code == 0, f"exit code {code}: {service.output}")
        ready.append(service.ready_after_s)
        ended.append(seconds)
    ensure(max(ready[1:]) <= 3, f"ready after {max(ready[1:]):.2f} s")
    ensure(max(ended) <= 2, f"ended after {max(ended):.2f} s")
    return f"first start {ready[0]:.2f} s, later ones at most {max(ready[1:]):.2f} s (budget 3), end at most {max(ended):.2f} s (budget 2)"


def tests(folder: Path) -> str:
    """`make test` passes in a new clone, and at least 60 vector cases for templates, normalisation and matching run in it."""
    clone, environment = _newcomer(folder)
    result = _command(["make", "test", "ARGS=-v"], clone, environment)
    summary = result.stdout.strip().splitlines()[-1] if result.stdout.strip() else result.stderr
    ensure(result.returncode == 0, "\n".join(result.stdout.splitlines()[-40:]) + result.stderr)
    vectors = len(re.findall(r"PASSED tests/vectors/test_(?:templates|paths|matching)\.py", result.stdout))
    ensure(vectors >= 60, f"only {vectors} vector cases ran")
    shutil.rmtree(clone)
    return f"{summary.strip('= ')}; {vectors} vector cases for templates, paths and matching"


CASES: dict[str, Callable[[Path], str]] = {
    case.__name__: case for case in (hundred, demo, restart, life, tests)
}
CASES["refusals"] = refusals
CASES["stall"] = stall
CASES["redis-errors"] = redis_errors
CASES["stop-in-stall"] = stop_in_stall
CASES["redis-late"] = redis_late
