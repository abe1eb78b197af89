"""Customers as people declare them: whose identities they are, what they pay for, and which limits differ for them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_serializer, field_validator

from usageflow.domain.calendars import check_instant, format_instant, parse_instant
from usageflow.domain.declared import Declared
from usageflow.domain.policies import Name, Override

MAX_IDENTITIES = 10_000
"""Identities that one customer may have."""

RawIdentity = Annotated[str, Field(min_length=1, max_length=8192)]
"""An identity as strategies find it; a joined one with its values joined."""


class CustomerOverride(Override):
    """Other numbers for all identities of a customer, or for ``identity`` alone. ``expires_us``, key ``expires``, is an
    instant of Unix time; from then on the override is as good as absent.
    """

    identity: Annotated[str, Field(max_length=8192)] = ""
    expires_us: Annotated[int | None, Field(alias="expires")] = None

    @field_validator("expires_us", mode="before")
    @classmethod
    def _read_expires(cls, value: object) -> object:
        return parse_instant(value) if isinstance(value, str) else value

    @field_validator("expires_us")
    @classmethod
    def _bound_expires(cls, value: int | None) -> int | None:
        return None if value is None else check_instant(value)

    @field_serializer("expires_us")
    def _format_expires(self, value: int | None) -> str | None:
        return None if value is None else format_instant(value)


class Customer(Declared):
    """Who pays for some identities. Identities are raw values as they are declared, and keyed hashes (64 hex digits, in
    order) as they are stored.
    """

    name: Name
    identities: Annotated[tuple[RawIdentity, ...], Field(max_length=MAX_IDENTITIES)] = ()
    stripe_customer: Annotated[str, Field(pattern=r"^(cus_[A-Za-z0-9_]{1,120})?$")] = ""
    plan: Annotated[str, Field(max_length=63)] = ""
    overrides: Annotated[tuple[CustomerOverride, ...], Field(max_length=1000)] = ()
