"""Case: what is wrong with a policy file is said when it is saved, with the place and the fix."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tools.processes import Service
from tools.prove.refused_files import REFUSED, Refused
from tools.prove.showing import ensure

_REFUSED = 1
"""The exit code of a command that has done nothing."""


def refusals(folder: Path) -> str:
    """Bad input, each of pattern, strategy, limit, calendar, guard, plan, customer, condition and cost, is refused when saved: file,
    line, column and the fix, with exit code 1, nothing on stdout and nothing applied, as a table and as JSON.
    """
    with Service(folder / "data") as service:
        service.wait_ready()
        first = revision(service)
        for refused in REFUSED:
            ensure_refused(service, refused, folder)
        ensure(revision(service) == first, "a refused file was applied")
    subjects = Counter(refused.subject for refused in REFUSED)
    told = ", ".join(f"{number} {subject}" for subject, number in subjects.items())
    return f"{len(REFUSED)} files refused at the right place with the fix ({told}); the revision is still {first}"


def revision(service: Service) -> int:
    """Returns the revision that is served."""
    answer = service.command("check", "--method", "GET", "--path", "/x", "--output", "json")
    return int(json.loads(answer.stdout)["revision"])


def ensure_refused(
    service: Service, refused: Refused, folder: Path, forms: Sequence[str] = ("table", "json")
) -> None:
    """Applies a file in these forms of output. Raises NotShown where it is not refused as it must be."""
    path = folder / "bad.yaml"
    path.write_text(refused.text)
    line, column = refused.place
    for form in forms:
        result = service.command("apply", "-f", str(path), "--output", form)
        found = [row for row in result.stderr.splitlines() if row.startswith(f"{path}:{line}:{column}: ")]
        what = f"{refused.subject} {refused.bad!r}: exit code {result.returncode}, {result.stdout}{result.stderr}"
        ensure(result.returncode == _REFUSED and not result.stdout, what)
        ensure(any(refused.fix in row.partition("; ")[2] for row in found), what)
        ensure("nothing was applied" in result.stderr, what)
