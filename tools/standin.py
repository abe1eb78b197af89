"""The stand-in for Stripe as a process: for the proofs and the end-to-end tests."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tools.processes import COMMAND, Process, clean_environment

READY = "usageflow dev stripe ready on "
KEY = "sk_test_standin"
WEBHOOK_SECRET = "whsec_standin"  # noqa: S105 - opens nothing


class StandIn(Process):
    """A stand-in on a free port; ``webhook`` is where it posts what it refuses afterwards."""

    def __init__(self, webhook: str = "") -> None:
        options = ["--webhook", webhook, "--webhook-secret", WEBHOOK_SECRET] if webhook else []
        arguments = [str(COMMAND), "dev", "stripe", "serve", "--listen", "127.0.0.1:0", *options]
        super().__init__(arguments, clean_environment())

    def wait_ready(self) -> str:
        """Returns its address once it is ready."""
        self.wait_for(READY)
        self.url = next(line for line in self.lines if READY in line).rpartition(READY)[2].strip()
        return self.url

    @property
    def settings(self) -> dict[str, str]:
        """Returns what a service is told that bills here."""
        return {"STRIPE_API_KEY": KEY, "USAGEFLOW_STRIPE_API": self.url, "USAGEFLOW_STRIPE_RATE": "800"}

    def seed(self, objects: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Makes customers, products, meters, prices and subscriptions."""
        self.asked("seed", objects)

    def faults(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Makes requests go wrong; an empty list ends that."""
        self.asked("faults", {"rules": list(rules)})

    def advance(self, seconds: float) -> None:
        """Moves its clock, back too."""
        self.asked("clock", {"advance": seconds})

    def ledger(self) -> Any:
        """Returns all that was billed."""
        return self.asked("ledger")

    def units(self) -> dict[tuple[str, str], Decimal]:
        """Returns what was billed by customer and price."""
        return {(row["customer"], row["price"]): Decimal(row["units"]) for row in self.ledger()["units"]}

    def asked(self, what: str, fields: Mapping[str, Any] | None = None) -> Any:
        """Returns what a path below /_standin answers."""
        body = None if fields is None else json.dumps(fields).encode()
        request = urllib.request.Request(f"{self.url}/_standin/{what}", body)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read())
