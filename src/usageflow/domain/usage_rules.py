"""Which questions about usage can be answered. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from usageflow.domain.analytics import CALLERS, UsageGroup, UsageInterval, UsageQuery
from usageflow.domain.errors import Fault, InvalidArgument

MOST_STEPS = 11_000
"""The most steps of a time series: a week of minutes, more than a year of hours."""

_MOST_VALUES = 1_000
_HASH = re.compile(r"hash:[0-9a-f]{12,64}")
_ONE_FIELD = (
    (UsageGroup.STATUS, UsageGroup.STATUS_CLASS),
    (UsageGroup.POLICY, UsageGroup.SHADOW_POLICY),
)
_LISTS = ("endpoints", "customers", "identities", "statuses", "policies", "reasons")


def check_query(query: UsageQuery, minutes_from: int = 0) -> None:
    """Raises InvalidArgument with every fault of a query. ``minutes_from`` is the second from which minutes are kept."""
    faults = [*_span_faults(query), *_group_faults(query), *_filter_faults(query)]
    if query.interval is UsageInterval.MINUTE and 0 <= query.since < minutes_from:
        faults.append(
            Fault("interval", "minutes that old are not kept", "ask for HOUR, or for a later start")
        )
    if query.by_caller:
        faults += _caller_faults(query)
    if faults:
        raise InvalidArgument(faults)


def _span_faults(query: UsageQuery) -> Iterator[Fault]:
    if query.since < 0:
        yield Fault("start_time", "is before 1970", "ask for a later time")
    if query.until is None:
        return
    if query.until <= query.since:
        yield Fault("end_time", "is not after start_time", "ask for a span that ends later")
    elif query.interval is not None and (query.until - query.since) // query.interval > MOST_STEPS:
        message = f"makes more than {MOST_STEPS:,} steps of this span"
        yield Fault("interval", message, "ask for a longer interval or a shorter span")


def _group_faults(query: UsageQuery) -> Iterator[Fault]:
    if len(set(query.groups)) < len(query.groups):
        yield Fault("group_by", "names a group twice", "name each once")
    for one, other in _ONE_FIELD:
        if {one, other} <= set(query.groups):
            yield Fault("group_by", f"{one} and {other} fill one field of a row", "ask for them one by one")


def _filter_faults(query: UsageQuery) -> Iterator[Fault]:
    wanted = query.filter
    for name in _LISTS:
        if len(getattr(wanted, name)) > _MOST_VALUES:
            yield Fault(f"filter.{name}", f"has more than {_MOST_VALUES:,} values", "ask in parts")
    for index, status in enumerate(wanted.statuses):
        if not (1 <= status <= 5 or 100 <= status <= 599):
            message = f"{status} is neither a status nor a class"
            yield Fault(f"filter.statuses[{index}]", message, "send 404, or 4 for 400 to 499")
    for index, identity in enumerate(wanted.identities):
        if not identity or (identity.startswith("hash:") and not _HASH.fullmatch(identity)):
            message = "is neither a plain identity nor `hash:` and 12 to 64 hex digits"
            yield Fault(f"filter.identities[{index}]", message, "copy it from an answer")
    for index, customer in enumerate(wanted.customers):
        if not customer:
            yield Fault(f"filter.customers[{index}]", "is empty", "send a customer's name")


def _caller_faults(query: UsageQuery) -> Iterator[Fault]:
    others = [group for group in query.groups if group not in CALLERS and group is not UsageGroup.ENDPOINT]
    if others:
        message = f"callers are not told apart by {', '.join(others)}"
        yield Fault("group_by", message, "ask by CUSTOMER, IDENTITY and ENDPOINT only")
    if query.interval is UsageInterval.MINUTE:
        yield Fault("interval", "callers are not told apart by the minute", "ask for hours or days")
    wanted = query.filter
    for name in ("statuses", "policies", "reasons", "degraded", "shadow_denied"):
        if getattr(wanted, name) not in ((), None):
            message = "does not go with customers and identities"
            yield Fault(f"filter.{name}", message, "filter callers by endpoints and denied only")
