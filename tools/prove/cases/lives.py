"""How the service starts, ends and comes back."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from tools.processes import Service
from tools.prove.showing import ensure


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
