"""Cases: requests and what policies are expected to decide, in a YAML file beside the policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from usageflow.domain.calendars import check_instant, parse_instant
from usageflow.domain.decisions import Reason
from usageflow.domain.declared import Declared, Flag
from usageflow.domain.durations import parse_window
from usageflow.domain.errors import Fault
from usageflow.domain.policies import MAX_UNITS, Name
from usageflow.policyfile.composer import Composer
from usageflow.policyfile.loader import MAX_BYTES
from usageflow.policyfile.nodes import Mapping, Node, nearest, steps_of, value_of
from usageflow.policyfile.problems import PolicyFileError, Problem, in_order
from usageflow.policyfile.schema import Shape
from usageflow.policyfile.wording import problems_of

MAX_TIMES = 1_000_000
"""The most requests of one case."""

START = "2026-01-01T00:00:00Z"
"""When a case begins that says nothing."""

_RAW_KEYS = frozenset({"at", "after", "retry_after"})

Texts = Annotated[dict[str, str], Field(max_length=256, default_factory=dict)]
Fields = Annotated[dict[str, JsonValue], Field(max_length=256, default_factory=dict)]


class Decision(StrEnum):
    """What may be expected of a decision."""

    ALLOW = "ALLOW"
    DENY = "DENY"


class CaseRequest(Declared):
    """A request. ``claims`` are those of a token that verifies, wherever strategies look for one."""

    method: Annotated[str, Field(min_length=1, max_length=32)] = "GET"
    path: Annotated[str, Field(max_length=8192)] = ""
    route: Annotated[str, Field(max_length=1024)] = ""
    params: Texts
    headers: Texts
    query: Texts
    cookies: Texts
    context: Texts
    body: Fields
    claims: Fields
    ip: Annotated[str, Field(max_length=64)] = ""
    cost: Annotated[int, Field(ge=0, le=MAX_UNITS, strict=True)] = 0


class ExpectedLimit(Declared):
    """Where a limit is expected to stand; what is None may be anything."""

    policy: Name
    name: Name = "default"
    limit: Annotated[int | None, Field(ge=0, le=MAX_UNITS, strict=True)] = None
    remaining: Annotated[int | None, Field(ge=0, le=MAX_UNITS, strict=True)] = None
    exceeded: Flag | None = None


class Expected(Declared):
    """What is expected; what is None may be anything. ``identity`` is as answers show it, or the raw value of a hashed one."""

    decision: Decision
    reason: Reason | None = None
    policy: str | None = None
    policies: tuple[str, ...] | None = None
    identity: str | None = None
    status: Annotated[int | None, Field(ge=200, le=599, strict=True)] = None
    message: str | None = None
    retry_after_us: Annotated[int | None, Field(alias="retry_after")] = None
    limits: Annotated[tuple[ExpectedLimit, ...], Field(max_length=100)] = ()
    shadow: tuple[str, ...] | None = None

    @field_validator("retry_after_us", mode="before")
    @classmethod
    def _read_retry_after(cls, value: object) -> object:
        return parse_window(value) if isinstance(value, str) else value


class Case(Declared):
    """A request, made ``times`` times at one instant. Counters are empty at its start, unless it comes ``after_us`` after the
    case before it, with what that one left.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)]
    request: CaseRequest
    expect: Expected
    at_us: Annotated[int | None, Field(alias="at")] = None
    after_us: Annotated[int | None, Field(alias="after")] = None
    times: Annotated[int, Field(ge=1, le=MAX_TIMES, strict=True)] = 1

    @field_validator("at_us", mode="before")
    @classmethod
    def _read_at(cls, value: object) -> object:
        return parse_instant(value) if isinstance(value, str) else value

    @field_validator("at_us")
    @classmethod
    def _bound_at(cls, value: int | None) -> int | None:
        return None if value is None else check_instant(value)

    @field_validator("after_us", mode="before")
    @classmethod
    def _read_after(cls, value: object) -> object:
        return parse_window(value) if isinstance(value, str) else value


class CaseDocument(BaseModel):
    """A case file of version 1. ``policies`` names the policy file, seen from the folder of this one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[int, Field(strict=True, ge=1, le=1)]
    policies: Annotated[str, Field(max_length=1024)] = ""
    cases: Annotated[tuple[Case, ...], Field(min_length=1, max_length=10_000)]


CASE_FILE = Shape(
    {
        (): CaseDocument,
        ("cases",): Case,
        ("cases", "request"): CaseRequest,
        ("cases", "expect"): Expected,
        ("cases", "expect", "limits"): ExpectedLimit,
    }
)


@dataclass(frozen=True, slots=True)
class LoadedCases:
    """Cases that can be run, with the place of everything in the file."""

    filename: str
    policies: str
    cases: tuple[Case, ...]
    root: Node

    def place_of(self, path: str) -> tuple[int, int]:
        """Returns line and column (from 1) of a field such as ``cases[3].request.path``, or of its nearest parent."""
        node = nearest(self.root, steps_of(path))
        return node.line, node.column

    def problem_of(self, fault: Fault) -> Problem:
        """Returns what is wrong with a field of this file as a problem with its place."""
        return Problem(self.filename, *self.place_of(fault.field), fault.field, fault.message, fault.fix)


def load_cases(text: str, *, filename: str) -> LoadedCases:
    """Returns the cases of a file. Raises PolicyFileError with every problem that was found, by line."""
    if len(text) > MAX_BYTES:
        raise PolicyFileError([Problem(filename, 1, 1, "", "the file is larger than 16 MiB", "split it")])
    composer = Composer(text, filename=filename)
    root = composer.compose()
    if not isinstance(root, Mapping):
        message, fix = "the file must be a mapping", "write keys and values, beginning with `version: 1`"
        place = (root.line, root.column) if root else (1, 1)
        raise PolicyFileError([Problem(filename, *place, "", message, fix)])
    try:
        document = CaseDocument.model_validate(value_of(root, "", _RAW_KEYS), by_alias=True, by_name=False)
    except ValidationError as error:
        found = problems_of(error, root, filename, CASE_FILE)
        raise PolicyFileError([*composer.problems, *found]) from None
    loaded = LoadedCases(filename, document.policies, document.cases, root)
    problems = [*composer.problems, *map(loaded.problem_of, _faults(document.cases))]
    if problems:
        raise PolicyFileError(in_order(problems))
    return loaded


def _faults(cases: tuple[Case, ...]) -> Iterator[Fault]:
    names: dict[str, int] = {}
    for index, case in enumerate(cases):
        place = f"cases[{index}]"
        if case.name in names:
            message = f"the name stands at cases[{names[case.name]}] already"
            yield Fault(f"{place}.name", message, "give each case its own")
        names.setdefault(case.name, index)
        if case.after_us is not None and index == 0:
            yield Fault(f"{place}.after", "no case stands before the first", "write `at`, or nothing")
        if case.after_us is not None and case.at_us is not None:
            yield Fault(f"{place}.after", "a case has `at` or `after`, not both", "remove one of them")
        if not case.request.path and not case.request.route:
            yield Fault(f"{place}.request", "neither path nor route is written", "add `path: /api/users`")
