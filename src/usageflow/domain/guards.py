"""Guards: what one address may do under identities that nobody vouches for, however many of them it invents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import Field, field_serializer, field_validator

from usageflow.domain.declared import Declared
from usageflow.domain.durations import format_window, parse_window
from usageflow.domain.errors import Fault
from usageflow.domain.sources import VERIFIED, Location, Source

NEW_IDENTITIES_US = 60_000_000
"""How long an identity counts after it was last seen."""

MAX_GUARD = 10**9
"""The most requests and identities of a guard."""

MAX_NEW_IDENTITIES = 10_000
"""The most identities that an address may have within a minute: each takes memory."""


class Guard(Declared):
    """At most ``limit`` requests per ``window_us`` (key ``window``) and address, and ``new_identities`` of them within a
    minute (0: any number).
    """

    limit: Annotated[int, Field(ge=1, le=MAX_GUARD, strict=True)]
    window_us: Annotated[int, Field(alias="window")]
    new_identities: Annotated[int, Field(ge=0, le=MAX_NEW_IDENTITIES, strict=True)] = 0

    @field_validator("window_us", mode="before")
    @classmethod
    def _read_window(cls, value: object) -> object:
        return parse_window(value) if isinstance(value, str) else value

    @field_validator("window_us")
    @classmethod
    def _bound_window(cls, value: int) -> int:
        if not 1_000_000 <= value <= 86_400_000_000:
            raise ValueError("must be from 1s to 1d")
        if value % 1_000_000:
            raise ValueError("must be whole seconds")
        return value

    @field_serializer("window_us")
    def _format_window(self, value: int) -> str:
        return format_window(value)


def guard_faults(guard: Guard | None, sources: Iterable[Source]) -> Iterator[Fault]:
    """Yields the fault of a guard over sources that callers cannot make up."""
    if guard is not None and not any(_claimed(part) for source in sources for part in source.parts):
        message = "guards identities that callers merely claim, and no source here is a claim"
        yield Fault("guard", message, "remove it: somebody vouches for every identity that is found")


def _claimed(part: Source) -> bool:
    return part.location is not Location.CLIENT_IP and (
        part.location not in VERIFIED or part.allow_unverified
    )
