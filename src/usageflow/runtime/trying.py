"""Tries a metering expression on one event, in the command itself: nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from google.protobuf import json_format

from decision.handler.unpack import reported_event
from decision.metering import facts_of_event
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.expressions import EvaluationFailed, ResultType
from usageflow.domain.templates import UNMATCHED, canonical_template
from usageflow.domain.usage import EndpointName
from usageflow.expressions import compile_term
from usageflow.v1 import usage_pb2


@dataclass(frozen=True, slots=True)
class Trial:
    """What an expression makes of an event. ``read`` holds what it looked at, None where that is missing; ``units`` is None where it
    failed, ``failure`` says why. ``linear``: counts tell enough, no event is needed.
    """

    expression: str
    read: Sequence[tuple[str, object]]
    units: Decimal | None
    failure: str
    linear: bool


def try_expression(expression: str, event: Any) -> Trial:
    """Returns what an expression makes of an event, which is spelled as in a file of reports. Raises InvalidArgument."""
    term = compile_term(expression, ResultType.UNITS)
    message = _message(event)
    reported = reported_event(message)
    facts = facts_of_event(reported, _endpoint(message), reported.identity, 0)
    found = term.evaluate(facts)
    read = list(term.looked_up(facts))
    linear = term.reads.linear is not None
    if isinstance(found, EvaluationFailed):
        return Trial(expression, read, None, found.message, linear)
    return Trial(expression, read, found if isinstance(found, Decimal) else Decimal(repr(found)), "", linear)


def _message(event: Any) -> usage_pb2.UsageEvent:
    """Returns the event that a document spells. Raises InvalidArgument."""
    message = usage_pb2.UsageEvent()
    fix = "write an object as `usageflow report` reads it"
    if not isinstance(event, dict):
        raise InvalidArgument.of("event", "is no JSON object", fix)
    try:
        json_format.ParseDict(event, message)
    except (json_format.ParseError, TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument.of("event", str(error)[:300], fix) from None
    return message


def _endpoint(message: usage_pb2.UsageEvent) -> EndpointName:
    template = message.endpoint.template
    name = canonical_template(template) if template else UNMATCHED
    return EndpointName(message.endpoint.method.upper() or "GET", name)
