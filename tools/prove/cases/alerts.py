"""Alerts that people can trust: each is told once and ends once, whatever dies in between."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.processes import Service
from tools.prove.policies import limit, policy, policy_file
from tools.prove.showing import ensure

POLICIES = policy_file([policy("orders", "/orders", [limit("hourly", 100, "window: 1h")])])
_PATIENCE_S = 240.0
_ROUND_S = 20.0
_EXPECTED = {
    ("errors", "alert.fired"): 1,
    ("errors", "alert.resolved"): 1,
    ("silence", "alert.fired"): 1,
    ("silence", "alert.resolved"): 1,
    ("quota", "alert.fired"): 3,
    ("quota", "alert.resolved"): 3,
}


@dataclass
class Receiver:
    """A webhook receiver that verifies by itself, as the standard says, and refuses all while ``broken``."""

    secret: str = ""
    broken: bool = False
    refused: int = 0
    bad: list[str] = field(default_factory=list)
    bodies: dict[str, set[bytes]] = field(default_factory=dict)
    port: int = 0

    def take(self, headers: Any, body: bytes) -> int:
        """Returns the status of the answer."""
        message, stamp = headers["webhook-id"], headers["webhook-timestamp"]
        signed = hmac.new(
            base64.b64decode(self.secret.removeprefix("whsec_")),
            f"{message}.{stamp}.".encode() + body,
            hashlib.sha256,
        )
        wanted = "v1," + base64.b64encode(signed.digest()).decode()
        if wanted not in headers["webhook-signature"].split() or abs(time.time() - int(stamp)) > 300:
            self.bad.append(message)
            return 400
        if self.broken:
            self.refused += 1
            return 500
        self.bodies.setdefault(message, set()).add(body)
        return 204

    def counts(self) -> Counter[tuple[str, str]]:
        """Returns how many messages there were, by rule and type; the same id counts once."""
        found = (json.loads(body) for bodies in list(self.bodies.values()) for body in bodies)
        return Counter((each["data"]["rule"], each["type"]) for each in found)


@contextmanager
def _receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(receiver.take(self.headers, body))
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Says nothing: the figure tells."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join(5)


def alerts(folder: Path) -> str:
    """Error rate, silence and a quota at 50, 80 and 100 % fire once each and end once each; the receiver, which verifies signatures by
    itself, answers 500 for a while, and the service is killed with SIGKILL three times in between: no message is lost, and none comes
    under two ids.
    """
    started = time.monotonic()
    with _receiving() as receiver:
        first, name = _declare(folder, receiver), folder / "data"
        receiver.broken = True
        with _running(name) as service:
            _report(service, 500, 40)
            _use(service, 100)
            _wait(lambda: receiver.refused >= 4, "nothing was sent while the receiver answered 500")
            service.stop(signal.SIGKILL)
        with _running(name) as service:
            refused = receiver.refused
            _wait(lambda: receiver.refused > refused, "nothing was sent again after a kill")
            service.stop(signal.SIGKILL)
        receiver.broken = False
        with _running(name) as service:
            _wait(lambda: receiver.counts()["quota", "alert.fired"] == 3, "a level of the quota was not told")
            _wait(lambda: receiver.counts()["silence", "alert.fired"] == 1, "silence was not told")
            _report(service, 200, 40)
            _raise_limit(service, folder)
            service.stop(signal.SIGKILL)
        with _running(name) as service:
            _wait(lambda: receiver.counts() == _EXPECTED, lambda: f"told so far: {receiver.counts()}")
            time.sleep(_ROUND_S)
            ensure(receiver.counts() == _EXPECTED, f"told more: {receiver.counts()}")
            history = json.loads(service.command("alerts", "history", "--output", "json").stdout)
            _judge(receiver, history)
    return (
        f"{first} rules, {len(receiver.bodies)} messages told and verified, each once by its id; {receiver.refused} refusals, "
        f"4 starts, 3 kills, {time.monotonic() - started:.0f} s"
    )


def _declare(folder: Path, receiver: Receiver) -> int:
    """Declares destination and rules; returns how many rules there are."""
    path = folder / "policies.yaml"
    path.write_text(POLICIES)
    with _running(folder / "data") as service:
        _command(service, "apply", "-f", str(path))
        url = f"http://127.0.0.1:{receiver.port}/hook"
        made = json.loads(
            _command(service, "alerts", "destinations", "create", "ops", "--url", url, "--output", "json")
        )
        receiver.secret = made["signing_secret"]
        rules = {
            "errors": ("ERROR_RATE", "--threshold", "50", "--window", "1m"),
            "silence": ("SILENCE", "--window", "2m"),
            "quota": ("QUOTA", "--policy", "orders"),
        }
        for name, (kind, *more) in rules.items():
            create = (
                "alerts",
                "rules",
                "create",
                name,
                "--kind",
                kind,
                "--to",
                "ops",
                "--keep-firing-for",
                "0s",
            )
            _command(service, *create, *more)
        service.stop()
    return len(rules)


def _judge(receiver: Receiver, history: list[dict[str, Any]]) -> None:
    ensure(not receiver.bad, f"signatures that do not verify: {receiver.bad}")
    ensure(all(len(each) == 1 for each in receiver.bodies.values()), "one id came with two bodies")
    ensure({each["event_id"] for each in history} == set(receiver.bodies), "history and receiver differ")
    statuses = {each["status"] for event in history for each in event["deliveries"]}
    ensure(statuses == {"SENT"}, f"messages are {statuses}")
    alerts_ = Counter(each["alert_id"] for each in history)
    ensure(set(alerts_.values()) == {2}, "an alert has not one beginning and one end")


@contextmanager
def _running(data: Path) -> Iterator[Service]:
    with Service(data, USAGEFLOW_WEBHOOK_PRIVATE="1") as service:
        service.wait_ready()
        yield service


def _command(service: Service, *arguments: str, stdin: str | None = None) -> str:
    done = service.command(*arguments, stdin=stdin)
    ensure(done.returncode == 0, f"usageflow {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def _report(service: Service, status: int, requests: int) -> None:
    lines = (
        json.dumps({"event_id": f"{status}-{n}", "method": "GET", "path": "/orders", "status": status})
        for n in range(requests)
    )
    _command(service, "report", "-f", "-", stdin="\n".join(lines))


def _use(service: Service, units: int) -> None:
    """Uses all of a quota in one request."""
    request = ("check", "--method", "GET", "--path", "/orders", "--header", "X-User-Id: alice")
    _command(service, *request, "--cost", str(units))


def _raise_limit(service: Service, folder: Path) -> None:
    """Ends the quota's alerts as people do: by a higher limit."""
    path = folder / "policies.yaml"
    path.write_text(policy_file([policy("orders", "/orders", [limit("hourly", 100_000, "window: 1h")])]))
    _command(service, "apply", "-f", str(path))


def _wait(holds: Any, otherwise: Any) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            ensure(holds=False, otherwise=otherwise() if callable(otherwise) else otherwise)
        time.sleep(0.2)
