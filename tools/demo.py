"""``make demo``: the service, the quick-start app and some seconds of real traffic; both sides must agree.

The last line is ``demo ok: ...`` with exit code 0, or ``demo failed: ...`` with exit code 1.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools import demo_billing
from tools.processes import App, ProcessFailed, Service
from tools.standin import StandIn
from tools.traffic import Call, Tally, send_all

TRANSACTION = Call("POST", "/api/transactions", "POST /api/transactions")
LIST_USERS = Call("GET", "/api/users", "GET /api/users")
ONE_USER = Call("GET", "/api/users/7", "GET /api/users/{user_id}")
NOWHERE = Call("GET", "/nowhere/at/all", "GET {unmatched}")
HEALTH = Call("GET", "/api/health", None)

LIMIT = 100
TRAFFIC = [
    ("alice", [*[TRANSACTION] * 130, *[LIST_USERS] * 40]),
    ("bob", [*[TRANSACTION] * 100, *[ONE_USER] * 60]),
    ("carol", [*[TRANSACTION, LIST_USERS, ONE_USER] * 30]),
    ("dave", [*[NOWHERE] * 10, *[HEALTH] * 20, *[TRANSACTION] * 250]),
    ("", [TRANSACTION] * 120),
]
"""User and calls. Users over the limit of 100 an hour: alice, dave and those without a name."""


class Disagreement(Exception):
    """The two sides do not agree."""


def expected_denials() -> int:
    """Returns how many transactions must be denied."""
    return sum(max(0, calls.count(TRANSACTION) - LIMIT) for _, calls in TRAFFIC)


def counted(service: Service) -> dict[str, dict[str, int]]:
    """Returns the service's rows by endpoint."""
    result = service.command("usage", "--output", "json")
    if result.returncode != 0:
        raise ProcessFailed(result.stderr)
    return {row["endpoint"]: row for row in json.loads(result.stdout)}


def wait_until_counted(service: Service, requests: int, timeout_s: float = 15) -> dict[str, dict[str, int]]:
    """Returns the rows once they hold that many requests, or as they are after the time-out."""
    deadline = time.monotonic() + timeout_s
    while True:
        rows = counted(service)
        if sum(row["requests"] for row in rows.values()) >= requests or time.monotonic() > deadline:
            return rows
        time.sleep(0.2)


def compare(tally: Tally, rows: dict[str, dict[str, int]]) -> None:
    """Raises Disagreement where the app's callers and the service do not count the same."""
    if tally.faults:
        raise Disagreement(f"{len(tally.faults)} answers are wrong, such as: {tally.faults[0]}")
    if set(rows) != set(tally.requests):
        raise Disagreement(f"the service counts {sorted(rows)}, the callers {sorted(tally.requests)}")
    for endpoint, row in rows.items():
        sent = {
            "requests": tally.requests[endpoint],
            "denied": tally.denied[endpoint],
            "errors": tally.errors[endpoint],
            "units": tally.requests[endpoint] - tally.denied[endpoint],
        }
        for name, value in sent.items():
            if row[name] != value:
                raise Disagreement(
                    f"{endpoint}: the callers saw {value} {name}, the service counts {row[name]}"
                )
    denied = tally.denied.total()
    if denied != expected_denials():
        raise Disagreement(f"{denied} requests were denied, {expected_denials()} should have been")


def show(tally: Tally, rows: dict[str, dict[str, int]]) -> None:
    """Prints both sides."""
    print(
        f"{'endpoint':<28} {'sent':>6} {'allowed':>8} {'denied':>7}   {'counted':>7} {'denied':>7} {'units':>6}"
    )
    for endpoint in sorted(tally.requests):
        row = rows.get(endpoint, {})
        sent, denied = tally.requests[endpoint], tally.denied[endpoint]
        print(
            f"{endpoint:<28} {sent:>6} {sent - denied:>8} {denied:>7}   "
            f"{row.get('requests', 0):>7} {row.get('denied', 0):>7} {row.get('units', 0):>6}"
        )


def allowed_transactions() -> dict[str, int]:
    """Returns how many transactions of each user must be allowed, and so be billed."""
    return {user: min(LIMIT, calls.count(TRANSACTION)) for user, calls in TRAFFIC if user}


def run(data: Path) -> str:
    """Runs the demo in a data folder; returns the closing line. Raises Disagreement or ProcessFailed."""
    with StandIn() as stripe:
        stripe.wait_ready()
        stripe.seed(demo_billing.objects(allowed_transactions()))
        with Service(data, **stripe.settings) as service:
            tally, bills = _serve(service, stripe)
    with Service(data) as again:
        again.wait_ready()
        print(f"service restarted, ready after {again.ready_after_s:.1f} s; its counts must be the same")
        compare(tally, counted(again))
        again.stop()
    total, denied = tally.requests.total(), tally.denied.total()
    return f"{total} requests, {total - denied} allowed, {denied} denied and {total} counted on both sides; {bills}"


def _serve(service: Service, stripe: StandIn) -> tuple[Tally, str]:
    """Sends traffic through the app and bills it; returns what was sent, and a line about the invoices."""
    address = service.wait_ready()
    print(f"service ready on {address} after {service.ready_after_s:.1f} s")
    demo_billing.enter_customers(service, allowed_transactions())
    with App(address, service.credentials["api_key"]) as app:
        print(
            f"quick-start app ready on 127.0.0.1:{app.port} after {app.wait_ready():.1f} s; sending traffic"
        )
        tally = send_all(app.port, TRAFFIC)
        rows = wait_until_counted(service, tally.requests.total())
        app.stop()
    show(tally, rows)
    compare(tally, rows)
    bills = demo_billing.bill(service, stripe, allowed_transactions())
    service.stop()
    return tally, bills


def main() -> int:
    """Runs the demo in a folder that goes away with it."""
    with tempfile.TemporaryDirectory(prefix="usageflow-demo-") as folder:
        try:
            line = run(Path(folder) / "data")
        except (Disagreement, ProcessFailed) as error:
            print(f"demo failed: {error}")
            return 1
    print(f"demo ok: {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
