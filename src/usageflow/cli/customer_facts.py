"""What the service tells of one customer, piece by piece; a piece that fails is told, and the others stand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from usageflow.cli.times import format_instant
from usageflow.cli.usage_rows import By, Every, Grouping, Question

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from usageflow.cli.connection import Connection
    from usageflow.v1.headroom_pb2 import LimitHeadroom
    from usageflow.v1.policies_pb2 import Block, Customer

T = TypeVar("T")

HOURS = 24
TOP_ENDPOINTS = 5
_DAY_US, _HOUR_S = 86_400_000_000, 3_600


@dataclass(slots=True)
class CustomerFacts:
    """What programs read of a customer; None is a piece that failed, which ``failures`` names with the reason."""

    customer: dict[str, Any]
    today: dict[str, Any] | None = None
    day: dict[str, Any] | None = None
    hours: list[dict[str, Any]] | None = None
    endpoints: list[dict[str, Any]] | None = None
    headroom: list[dict[str, Any]] | None = None
    identities_left_out: int = 0
    blocks: list[dict[str, Any]] | None = None
    bill: dict[str, Any] | None = None
    failures: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Returns it as one object."""
        return {name: getattr(self, name) for name in self.__slots__}


class CustomerReader:
    """Asks for the pieces."""

    def __init__(self, connection: Connection, application: str, name: str) -> None:
        self._connection = connection
        self._application = application
        self._name = name
        self._now_us = time.time_ns() // 1000

    def read(self) -> CustomerFacts:
        """Returns the facts. Raises Failure where there is no such customer, or no service."""
        from usageflow.v1.directory_methods_pb2 import GetCustomerRequest

        request = GetCustomerRequest(application=self._application, name=self._name)
        customer = self._connection.as_admin(self._connection.admin.GetCustomer, request)
        facts = CustomerFacts(_customer(customer))
        piece = _Pieces(facts)
        midnight_us = self._now_us // _DAY_US * _DAY_US
        piece.of("today", lambda: self._sums(midnight_us)[0])
        found = piece.of("traffic", lambda: self._sums(self._now_us - _DAY_US))
        if found is not None:
            facts.day, facts.endpoints = found
        facts.today = piece.found.get("today")
        facts.hours = piece.of("hours", self._hours)
        rooms = piece.of("headroom", self._headroom)
        if rooms is not None:
            facts.headroom, facts.identities_left_out = rooms
        facts.blocks = piece.of("blocks", lambda: self._blocks(customer))
        facts.bill = piece.of("bill", self._bill)
        return facts

    def _ask(self, grouping: Grouping, start_us: int, top: int = 0) -> Any:
        from usageflow.cli.filters import filter_of

        wanted = filter_of(customers=[self._name])
        question = Question(self._application, grouping, start_us, None, wanted, None, top)
        return self._connection.as_admin(self._connection.admin.QueryUsage, question.request())

    def _sums(self, start_us: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Returns the sums since then, and the endpoints that were asked most."""
        grouping = Grouping((By.ENDPOINT,), None)
        answer = self._ask(grouping, start_us, TOP_ENDPOINTS)
        total = Grouping((), None).document(answer.total)
        return total, [grouping.document(row) for row in answer.rows]

    def _hours(self) -> list[dict[str, Any]]:
        """Returns the requests of each of the last hours, also of those without any."""
        last = self._now_us // 1_000_000 // _HOUR_S * _HOUR_S
        starts = [last - _HOUR_S * ago for ago in range(HOURS - 1, -1, -1)]
        answer = self._ask(Grouping((), Every.HOUR), starts[0] * 1_000_000)
        requests = {row.time.seconds: row.requests for row in answer.rows}
        return [{"hour": format_instant(start), "requests": requests.get(start, 0)} for start in starts]

    def _headroom(self) -> tuple[list[dict[str, Any]], int]:
        from usageflow.v1.headroom_pb2 import ListHeadroomRequest

        request = ListHeadroomRequest(application=self._application, customer=self._name)
        answer = self._connection.as_admin(self._connection.decision.ListHeadroom, request)
        rows = [_limit(each.identity, limit) for each in answer.identities for limit in each.limits]
        rows.sort(key=lambda row: (-row["percent"], -row["used"]))
        return rows, answer.left_out

    def _blocks(self, customer: Customer) -> list[dict[str, Any]]:
        """Returns the blocks of the customer's identities."""
        from usageflow.v1.directory_methods_pb2 import ListBlocksRequest

        mine, found, token = set(customer.identities), [], ""
        while True:
            request = ListBlocksRequest(application=self._application, page_size=1000, page_token=token)
            page = self._connection.as_admin(self._connection.admin.ListBlocks, request)
            found += [_block(each) for each in page.blocks if each.identity in mine]
            token = page.next_page_token
            if not token:
                return found

    def _bill(self) -> dict[str, Any]:
        from usageflow.cli.meter_preview import read_preview

        return read_preview(self._connection, self._application, self._name)


class _Pieces:
    """Takes note of pieces that fail, and goes on."""

    def __init__(self, facts: CustomerFacts) -> None:
        self._facts = facts
        self.found: dict[str, Any] = {}

    def of(self, name: str, read: Callable[[], T]) -> T | None:
        from usageflow.cli.failure import Failure

        try:
            self.found[name] = found = read()
        except Failure as failure:
            self._facts.failures[name] = str(failure)
            return None
        return found


def _customer(message: Customer) -> dict[str, Any]:
    return {
        "name": message.name,
        "plan": message.plan,
        "stripe_customer": message.stripe_customer,
        "identities": list(message.identities),
        "overrides": len(message.overrides),
    }


def _limit(identity: str, limit: LimitHeadroom) -> dict[str, Any]:
    from usageflow.cli.convert import bare_name, endpoint_title, seconds_of
    from usageflow.v1 import common_pb2

    algorithm = common_pb2.DESCRIPTOR.enum_types_by_name["Algorithm"]
    return {
        "identity": identity,
        "policy": limit.policy,
        "limit_name": limit.limit_name,
        "endpoint": endpoint_title(limit.endpoint) or None,
        "path": limit.path,
        "algorithm": bare_name(algorithm, limit.algorithm, "ALGORITHM_"),
        "limit": limit.limit,
        "used": limit.used,
        "remaining": limit.remaining,
        "percent": limit.percent,
        "window_s": seconds_of(limit.window),
        "reset_s": seconds_of(limit.reset) if limit.HasField("reset") else None,
        "source": limit.source,
        "shared": limit.shared,
        "conditional": limit.conditional,
    }


def _block(block: Block) -> dict[str, Any]:
    return {
        "methods": list(block.methods),
        "path": block.path,
        "identity": block.identity,
        "reason": block.reason,
    }
