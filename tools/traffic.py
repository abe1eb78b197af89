"""Real HTTP traffic by several users, and what each answer was: the demo's and the proofs' own side of the account."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of request: where it goes, and the endpoint that it must be counted under (None: not counted)."""

    method: str
    path: str
    endpoint: str | None


@dataclass
class Tally:
    """What came back: requests, denials (429) and errors (5xx) per endpoint, and faults of single answers."""

    requests: Counter[str] = field(default_factory=Counter)
    denied: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    uncounted: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Adds another tally."""
        self.requests += other.requests
        self.denied += other.denied
        self.errors += other.errors
        self.uncounted += other.uncounted
        self.faults += other.faults


def send(port: int, user: str, calls: Sequence[Call]) -> Tally:
    """Sends calls of one user over one connection, in order; returns what came back."""
    tally = Tally()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        for call in calls:
            connection.request(call.method, call.path, headers={"X-User-Id": user} if user else {})
            response = connection.getresponse()
            _count(tally, call, response.status, response.headers, response.read())
    finally:
        connection.close()
    return tally


def send_all(port: int, traffic: Sequence[tuple[str, Sequence[Call]]]) -> Tally:
    """Sends every user's calls at the same time, one thread each."""
    total = Tally()
    with ThreadPoolExecutor(len(traffic)) as pool:
        for tally in pool.map(lambda item: send(port, *item), traffic):
            total.add(tally)
    return total


def _count(tally: Tally, call: Call, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
    if call.endpoint is None:
        tally.uncounted += 1
        return
    tally.requests[call.endpoint] += 1
    if status >= 500:
        tally.errors[call.endpoint] += 1
    if status == 429:
        tally.denied[call.endpoint] += 1
        tally.faults += _faults_of_denial(headers, body)


def _faults_of_denial(headers: http.client.HTTPMessage, body: bytes) -> list[str]:
    faults = [
        f"a 429 without {name}"
        for name in ("Retry-After", "RateLimit", "RateLimit-Policy")
        if not headers[name]
    ]
    if headers["Content-Type"] != "application/problem+json" or json.loads(body).get("status") != 429:
        faults.append("a 429 whose body is not a problem")
    return faults
