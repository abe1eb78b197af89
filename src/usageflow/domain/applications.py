"""Applications and their routes as people declare them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from usageflow.domain.declared import Declared
from usageflow.domain.policies import Name


class Capture(StrEnum):
    """How much of a request an event holds."""

    MINIMAL = "MINIMAL"
    STANDARD = "STANDARD"
    FULL = "FULL"


class ApplicationSettings(Declared):
    """What an application may choose: how much of a request is kept, for how many days usage is kept in detail, and how many of 100
    decisions go into the decision log.
    """

    name: Name
    capture: Capture = Capture.STANDARD
    retention_days: Annotated[int, Field(ge=1, le=3650, strict=True)] = 36
    decision_log_percent: Annotated[int, Field(ge=0, le=100, strict=True)] = 0


class Route(Declared):
    """A route of an application: method in upper case and template, as in ``GET /users/{id}``."""

    name: Annotated[str, Field(min_length=3, max_length=2048)]
