"""What somebody finds who has just cloned this: the service, the demo and the tests, with nothing prepared."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tools.processes import READY, ROOT, Process, free_port
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
