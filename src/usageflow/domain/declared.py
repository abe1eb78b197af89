"""The base of everything that people declare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from usageflow.domain.errors import Fault

Flag = Annotated[bool, Field(strict=True)]
"""True or false, never a text or a number that means it."""


class Declared(BaseModel):
    """A resource as it is written in files and kept in revisions: unknown keys are refused, and it never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def faults_of(error: ValidationError, fix: str) -> Iterator[Fault]:
    """Yields what a model refused: paths such as ``policies[3].limits[0].window``, never the values."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    for problem in problems:
        inside = [other for other in problems if other["loc"][:-1][: len(problem["loc"])] == problem["loc"]]
        if problem["type"] == "too_short" and inside:
            continue  # what is wrong with an item is told; that the list lacks it is no second fault
        path = ""
        for step in problem["loc"]:
            path += f"[{step}]" if isinstance(step, int) else f".{step}"
        message = problem["msg"].removeprefix("Value error, ")
        yield Fault(path.removeprefix("."), message[:1].lower() + message[1:], fix)
