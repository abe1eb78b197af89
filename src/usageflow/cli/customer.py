"""`usageflow customer`: all about one customer, on one page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usageflow.cli import options
from usageflow.cli.meter_preview import print_bill
from usageflow.cli.output import Column, Output, print_json, print_line, print_table, say
from usageflow.cli.usage_rows import latency_text, percent_text

if TYPE_CHECKING:
    from usageflow.cli.customer_facts import CustomerFacts

EXAMPLES = ("usageflow customer acme", "usageflow customer acme --output json")

_BAR = 20
_LIMITS_SHOWN = 12
_IDENTITIES_SHOWN = 6
_STEPS = " ▁▂▃▄▅▆▇█"
_ASCII_STEPS = " .:-=+*#@"

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the customer.")]


def customer(
    name: Name,
    application: options.Application = "demo",
    output: options.OutputOption = Output.TABLE,
    timeout: options.Timeout = 10.0,
) -> None:
    """Show a customer: plan, traffic, top endpoints, what is left of each limit, blocks, and the bill so far."""
    from usageflow.cli.connection import connect
    from usageflow.cli.customer_facts import CustomerReader

    with connect(timeout) as connection:
        facts = CustomerReader(connection, application, name).read()
    if output is Output.JSON:
        print_json(facts.document())
    else:
        _page(facts)
    for piece, why in facts.failures.items():
        say(f"{piece}: {why}")


def _page(facts: CustomerFacts) -> None:
    _head(facts.customer)
    _traffic(facts)
    _endpoints(facts.endpoints)
    _headroom(facts)
    _blocks(facts.blocks)
    _bill(facts.bill)


def _head(customer: dict[str, Any]) -> None:
    identities = customer["identities"]
    more = len(identities) - _IDENTITIES_SHOWN
    shown = ", ".join(identities[:_IDENTITIES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    print_line(
        f"{customer['name']}   plan {customer['plan'] or '-'}   Stripe {customer['stripe_customer'] or '-'}"
    )
    print_line(f"identities  {shown or '-'}")
    if customer["overrides"]:
        print_line(f"overrides   {customer['overrides']}")


def _traffic(facts: CustomerFacts) -> None:
    _title("traffic")
    columns = [
        Column(""),
        *(Column(name, right=True) for name in ("requests", "errors", "denied", "units", "p95")),
    ]
    spans = (("today (UTC)", facts.today), ("last 24 h", facts.day))
    print_table(columns, [[name, *_sums(sums)] for name, sums in spans])
    if facts.hours is not None:
        counts = [hour["requests"] for hour in facts.hours]
        print_line(f"per hour    |{sparkline(counts, _steps())}|  most {max(counts, default=0):,}")


def _sums(sums: dict[str, Any] | None) -> list[object]:
    if sums is None:
        return ["?"] * 5
    requests = sums["requests"]
    shares = [f"{sums[name]:,} ({percent_text(sums[name], requests)})" for name in ("errors", "denied")]
    return [requests, *shares, sums["units"], latency_text(sums["p95_ms"])]


def _endpoints(endpoints: list[dict[str, Any]] | None) -> None:
    if not endpoints:
        return
    _title("top endpoints, last 24 h")
    columns = [
        Column("endpoint"),
        *(Column(name, right=True) for name in ("requests", "errors", "denied", "p95")),
    ]
    names = ("requests", "errors", "denied")
    rows = [
        [row["endpoint"], *(row[name] for name in names), latency_text(row["p95_ms"])] for row in endpoints
    ]
    print_table(columns, rows)


def _headroom(facts: CustomerFacts) -> None:
    if facts.headroom is None:
        return
    _title("headroom")
    used = [row for row in facts.headroom if row["used"]]
    for row in used[:_LIMITS_SHOWN]:
        print_line(_limit_line(row))
    hidden, untouched = len(used[_LIMITS_SHOWN:]), len(facts.headroom) - len(used)
    if hidden or untouched:
        print_line(f"not shown: {hidden} more in use, {untouched} untouched (--output json has all)")
    if facts.identities_left_out:
        print_line(f"{facts.identities_left_out} more identities are not shown")
    if not facts.headroom:
        print_line("no limit counts these identities")


def _limit_line(row: dict[str, Any]) -> str:
    # Rounded up, so that what is used at all can be seen.
    filled = min(_BAR, -(-row["used"] * _BAR // row["limit"])) if row["limit"] else _BAR
    bar = ("█" if _fancy() else "#") * filled + ("░" if _fancy() else ".") * (_BAR - filled)
    limit = f"{row['policy']}/{row['limit_name']}" if row["limit_name"] else row["policy"]
    notes = [row["endpoint"] or row["path"], row["source"]]
    notes += ["shared by all callers"] if row["shared"] else [f"of {row['identity']}"]
    notes += [f"resets in {_span(row['reset_s'])}"] if row["reset_s"] is not None else []
    return f"{bar} {row['percent']:>3} %  {row['used']:,} of {row['limit']:,}  {limit}  ({', '.join(notes)})"


def _span(seconds: float) -> str:
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _blocks(blocks: list[dict[str, Any]] | None) -> None:
    if blocks is None:
        return
    _title("blocks")
    for block in blocks:
        reason = f": {block['reason']}" if block["reason"] else ""
        print_line(f"{' '.join(block['methods'])} {block['path']} for {block['identity']}{reason}")
    if not blocks:
        print_line("none")


def _bill(bill: dict[str, Any] | None) -> None:
    if bill is None:
        return
    _title("bill so far")
    print_bill(bill)


def _title(text: str) -> None:
    print_line("")
    print_line(text)


def sparkline(values: Sequence[int], steps: str = _STEPS) -> str:
    """Returns a character per value, as high as its share of the largest; what is above 0 never looks like 0."""
    most = max(values, default=0)
    if most <= 0:
        return steps[0] * len(values)
    top = len(steps) - 1
    return "".join(steps[-(-value * top // most)] if value > 0 else steps[0] for value in values)


def _fancy() -> bool:
    return "utf" in (getattr(sys.stdout, "encoding", None) or "").lower()


def _steps() -> str:
    return _STEPS if _fancy() else _ASCII_STEPS
