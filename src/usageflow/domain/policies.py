"""Strategies, policies and blocks as people declare them.

These models are the one typed form of "policies as code": the YAML loader, the admin service and the stored revisions
all use them. They check shape only (types, bounds, unknown keys); what needs a second look at the whole set is checked
by usageflow.domain.validation.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import Field, field_serializer, field_validator, model_validator

from usageflow.domain.calendars import (
    Alignment,
    Calendar,
    check_instant,
    format_instant,
    parse_instant,
    zone_names,
)
from usageflow.domain.declared import Declared, Flag
from usageflow.domain.durations import format_window, parse_window
from usageflow.domain.guards import Guard
from usageflow.domain.sources import Source

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""Lower-case letters, digits and hyphens, at most 63."""

MAX_UNITS = 10**12
"""The highest limit, burst and cost, in units."""


class OnMissing(StrEnum):
    """What to do where no source yields a value."""

    ANONYMOUS_PER_IP = "ANONYMOUS_PER_IP"
    ANONYMOUS_SHARED = "ANONYMOUS_SHARED"
    DENY = "DENY"
    SKIP = "SKIP"


class Algorithm(StrEnum):
    """How a limit counts."""

    FIXED_WINDOW = "FIXED_WINDOW"
    TOKEN_BUCKET = "TOKEN_BUCKET"  # noqa: S105 - the name of an algorithm
    SLIDING_WINDOW = "SLIDING_WINDOW"
    CONCURRENCY = "CONCURRENCY"


class Scope(StrEnum):
    """What shares one counter of a limit."""

    IDENTITY = "IDENTITY"
    IDENTITY_AND_ENDPOINT = "IDENTITY_AND_ENDPOINT"
    SHARED = "SHARED"


class Mode(StrEnum):
    """Whether a policy is enforced."""

    ENFORCE = "ENFORCE"
    SHADOW = "SHADOW"
    DISABLED = "DISABLED"


class FailMode(StrEnum):
    """What happens when a decision cannot be made in time."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"
    LOCAL = "LOCAL"


_STRICTNESS = (FailMode.OPEN, FailMode.LOCAL, FailMode.CLOSED)


def strictest(modes: Iterable[FailMode]) -> FailMode:
    """Returns the mode that decides among several: CLOSED beats LOCAL beats OPEN, which stands for none."""
    return max(modes, key=_STRICTNESS.index, default=FailMode.OPEN)


class Trigger(StrEnum):
    """How metered units reach Stripe."""

    STRIPE_USAGE = "stripe_usage"
    STRIPE_SUBSCRIPTION = "stripe_subscription"
    STRIPE_INVOICE = "stripe_invoice"


class LateUsage(StrEnum):
    """What becomes of units that are reported after the invoice of their period is final: billed in the next period, as an item of their own,
    or held for a person.
    """

    NEXT_PERIOD = "next_period"
    INVOICE_ITEM = "invoice_item"
    HOLD = "hold"


class Strategy(Declared):
    """How callers are told apart: the first source that yields a value wins."""

    name: Name
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=10)]
    on_missing: OnMissing = OnMissing.ANONYMOUS_PER_IP
    allow_unlimited: Flag = False
    guard: Guard | None = None


class Match(Declared):
    """Which requests: methods in upper case or ``*``, and a path pattern."""

    methods: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=32)], ...], Field(min_length=1)
    ] = ("*",)
    path: Annotated[str, Field(min_length=1, max_length=1024)]


SLOT_LIFE = "1m"
"""The window of CONCURRENCY unless one is written."""

_NO_WINDOW = object()
"""Stands for the window of a limit that is aligned instead."""


class Limit(Declared):
    """How much: ``limit`` units per ``window_us`` microseconds (written ``1h`` in files, key ``window``), or per window of
    the calendar (``align``; ``window_us`` is 0 then). ``anchor_us``, key ``anchor``, is an instant of Unix time. Of
    CONCURRENCY the window is a slot's life between two renewals, a minute where none is written.
    """

    name: Name = "default"
    algorithm: Algorithm = Algorithm.FIXED_WINDOW
    limit: Annotated[int, Field(ge=1, le=MAX_UNITS, strict=True)]
    window_us: Annotated[int, Field(alias="window")]
    align: Alignment | None = None
    time_zone: str = "UTC"
    anchor_us: Annotated[int | None, Field(alias="anchor")] = None
    burst: Annotated[int, Field(ge=0, le=MAX_UNITS, strict=True)] = 0
    scope: Scope = Scope.IDENTITY
    charge_denied: Flag = False

    @property
    def calendar(self) -> Calendar | None:
        """Returns whose windows count, None for windows of one length."""
        return Calendar(self.align, self.time_zone, self.anchor_us or 0) if self.align else None

    @model_validator(mode="before")
    @classmethod
    def _window_or_align(cls, data: object) -> object:
        if not isinstance(data, dict) or data.get("window", data.get("window_us")) is not None:
            return data
        if data.get("align"):
            return {**data, "window": _NO_WINDOW}
        if data.get("algorithm") == Algorithm.CONCURRENCY:
            return {**data, "window": SLOT_LIFE}
        return data

    @field_validator("window_us", mode="before")
    @classmethod
    def _read_window(cls, value: object) -> object:
        if value is _NO_WINDOW:
            return 0
        window_us = parse_window(value) if isinstance(value, str) else value
        if isinstance(window_us, int) and not 1_000_000 <= window_us <= 366 * 86_400_000_000:
            raise ValueError("must be from 1s to 366d")
        if isinstance(window_us, int) and window_us % 1_000_000:
            raise ValueError("must be whole seconds")
        return window_us

    @field_validator("anchor_us", mode="before")
    @classmethod
    def _read_anchor(cls, value: object) -> object:
        return parse_instant(value) if isinstance(value, str) else value

    @field_validator("anchor_us")
    @classmethod
    def _bound_anchor(cls, value: int | None) -> int | None:
        return None if value is None else check_instant(value)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in zone_names():
            raise ValueError(f"there is no time zone {value[:40]!r}: write one such as Europe/Berlin or UTC")
        return value

    @field_serializer("window_us")
    def _format_window(self, value: int) -> str | None:
        return format_window(value) if value else None

    @field_serializer("anchor_us")
    def _format_anchor(self, value: int | None) -> str | None:
        return None if value is None else format_instant(value)


DEFAULT_EXPRESSION = "usage_record.quantity"


class Metering(Declared):
    """What becomes money."""

    expression: str = DEFAULT_EXPRESSION
    trigger: Trigger = Trigger.STRIPE_USAGE
    price: Annotated[str, Field(pattern=r"^price_[A-Za-z0-9_]{1,120}$")]
    event_name: Annotated[str, Field(max_length=100)] = ""
    late_usage: LateUsage = LateUsage.NEXT_PERIOD


class Policy(Declared):
    """Limits and metering for the requests that match. ``condition`` and ``cost_expression`` (in files a ``cost`` that is
    text) are CEL; "" for none.
    """

    name: Name
    match: Match
    strategy: str = ""
    limits: Annotated[tuple[Limit, ...], Field(max_length=20)] = ()
    metering: Metering | None = None
    mode: Mode = Mode.ENFORCE
    enforce_percent: Annotated[int, Field(ge=0, le=100, strict=True)] = 100
    fail_mode: FailMode = FailMode.OPEN
    priority: Annotated[int, Field(ge=-1000, le=1000, strict=True)] = 0
    cost: Annotated[int, Field(ge=1, le=MAX_UNITS, strict=True)] = 1
    cost_expression: str = ""
    condition: str = ""
    stop: Flag = False
    message: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="before")
    @classmethod
    def _cost_or_expression(cls, data: object) -> object:
        return _with_cost_expression(data) if isinstance(data, dict) else data


def _with_cost_expression(data: dict[str, object]) -> dict[str, object]:
    """Returns a policy's fields with a ``cost`` that is text, an expression, where the model keeps it."""
    cost = data.get("cost")
    if not isinstance(cost, str) or not cost.strip() or "cost_expression" in data:
        return data
    return {key: value for key, value in data.items() if key != "cost"} | {"cost_expression": cost}


BlockKey = tuple[tuple[str, ...], str, str]
"""What makes two blocks the same: methods in one spelling, path, identity."""


class Block(Declared):
    """Refuses an endpoint, an identity (raw value), or both; an empty identity means everybody."""

    methods: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=32)], ...], Field(min_length=1)
    ] = ("*",)
    path: Annotated[str, Field(min_length=1, max_length=1024)]
    identity: Annotated[str, Field(max_length=256)] = ""
    reason: Annotated[str, Field(max_length=500)] = ""

    @property
    def key(self) -> BlockKey:
        """Returns what names the block: neither the order nor the case of its methods matters."""
        return (tuple(sorted({name.upper() for name in self.methods})), self.path, self.identity)

    @property
    def title(self) -> str:
        """Names the block to people: methods, path and identity."""
        return f"{','.join(self.methods)} {self.path}" + (f" for {self.identity}" if self.identity else "")


class Override(Declared):
    """Other numbers for a limit that some policy has. ``burst`` None leaves the limit's own, 0 means ``limit``."""

    policy: Name
    limit_name: Name = "default"
    limit: Annotated[int, Field(ge=1, le=MAX_UNITS, strict=True)]
    burst: Annotated[int | None, Field(ge=0, le=MAX_UNITS, strict=True)] = None


class CustomerPlan(Declared):
    """What customers of a plan get instead of the policies' own numbers."""

    name: Name
    overrides: Annotated[tuple[Override, ...], Field(max_length=1000)] = ()


class PolicySet(Declared):
    """All strategies, policies and plans of an application: what one revision holds."""

    strategies: tuple[Strategy, ...] = ()
    policies: tuple[Policy, ...] = ()
    plans: tuple[CustomerPlan, ...] = ()
