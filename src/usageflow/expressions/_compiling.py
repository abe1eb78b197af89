"""Compiling, checking and evaluating over Google's CEL (cel-expr-python).

The library bounds nesting (32 levels) and iterations (10,000), and its regular expressions are RE2, which cannot blow up. Its
run-time errors are values, its compile errors are texts: neither leaves this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from cel.expr import checked_pb2
from cel_expr_python import cel
from google.protobuf import any_pb2

from usageflow.domain.errors import Fault, InvalidArgument, UsageFlowError
from usageflow.domain.expressions import MAX_EXPRESSION, EvaluationFailed, Facts, Reads, ResultType, Value
from usageflow.domain.metered import units_of_line, units_of_result
from usageflow.domain.units import units_of_quantity
from usageflow.expressions._environment import CONDITIONS, METERING, Vocabulary, environment
from usageflow.expressions._facts import MISSING, SCALAR_VALUES, bindings, reported
from usageflow.expressions._faults import REASON, Refused, cut, refusal_of
from usageflow.expressions._reading import Entry, Reading, field_of
from usageflow.expressions._units import Factors

_REMEMBERED = 16_384
_NUMBERS = {"INT", "UINT", "DOUBLE"}
_ACCEPTED = {ResultType.BOOL: {"BOOL"}, ResultType.NUMBER: _NUMBERS, ResultType.UNITS: _NUMBERS}
_WANTED = {
    ResultType.BOOL: "true or false",
    ResultType.NUMBER: "a number",
    ResultType.UNITS: "a number of units",
}
_FIXES = {
    ResultType.BOOL: "compare it, such as request.method == 'POST'",
    ResultType.NUMBER: "convert it with int() or double()",
    ResultType.UNITS: "convert it with int() or double(), or choose between numbers, such as a ? 1.0 : 0.0",
}
_LIBRARY_ERRORS = (
    ArithmeticError,
    LookupError,
    MemoryError,
    RuntimeError,
    SystemError,
    TypeError,
    UsageFlowError,
    ValueError,
)
"""What the binding raises for values that it cannot convert, and for a budget that is used up."""

_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")


class Expression:
    """A compiled expression. Evaluating it changes nothing in it, so threads may share it."""

    def __init__(
        self,
        text: str,
        result: ResultType,
        program: cel.Expression | None,
        reading: Reading,
        reads: Reads,
        factor: Decimal = Decimal(1),
    ) -> None:
        self.text = text
        self.result = result
        self.reads = reads
        self._program = program
        self._vocabulary = reading.vocabulary
        self._scalars = frozenset(reading.scalars)
        self._entries: tuple[Entry, ...] = tuple(reading.entries.values())
        self._factor = factor

    def __repr__(self) -> str:
        return f"Expression({self.text!r}, {self.result})"

    def evaluate(self, facts: Facts) -> Value | EvaluationFailed:
        """Returns a value of the expression's type, or why there is none. Never raises."""
        if self.reads.linear is not None:
            return units_of_line(self.reads.linear, units_of_quantity(facts.usage.quantity), 1)
        value = self._evaluate(facts)
        if self.result is ResultType.UNITS and not isinstance(value, EvaluationFailed):
            return units_of_result(value, self._factor)
        return value

    def looked_up(self, facts: Facts) -> Iterator[tuple[str, object]]:
        """Yields each variable and field that a metering expression reads, and its value; None where it is missing."""
        for name in sorted(self._scalars):
            yield name, SCALAR_VALUES[name](facts)
        for entry in self._entries:
            found = reported(entry, facts)
            yield field_of(entry), None if found is MISSING else found

    def _evaluate(self, facts: Facts) -> Value | EvaluationFailed:
        try:
            data = bindings(self._scalars, self._entries, facts, self._vocabulary)
            found = self._program.eval(data=data)  # type: ignore[union-attr] # only lines have none
            kind, value = found.type().name(), found.value()
        except _LIBRARY_ERRORS as error:
            return EvaluationFailed(_message(str(error)))
        if kind in _ACCEPTED[self.result]:
            return value  # type: ignore[no-any-return]
        if kind == "ERROR":
            return EvaluationFailed(_message(str(value)))
        return EvaluationFailed(f"it yields {kind.lower()}, not {_WANTED[self.result]}")


def check(text: str, result: ResultType) -> Reads | Fault:
    """Returns what an expression reads, or what is wrong with it (field "", place and fix in words)."""
    if len(text) > MAX_EXPRESSION:
        fix = f"write at most {MAX_EXPRESSION:,} characters"
        return Fault("", f"the expression has {len(text):,} characters", fix, REASON)
    found = _compiled(text, result)
    return found if isinstance(found, Fault) else found.reads


def compile_term(text: str, result: ResultType) -> Expression:
    """Returns the compiled expression; the same text is compiled once. Raises InvalidArgument where check has a fault."""
    fault = check(text, result)
    found = fault if isinstance(fault, Fault) else _compiled(text, result)
    if isinstance(found, Fault):
        raise InvalidArgument([found])
    return found


@lru_cache(maxsize=_REMEMBERED)
def _compiled(text: str, result: ResultType) -> Expression | Fault:
    try:
        return _compile(text, result)
    except Refused as refused:
        return refused.fault(text)


def _compile(text: str, result: ResultType) -> Expression:
    vocabulary = METERING if result is ResultType.UNITS else CONDITIONS
    checked = _checked(text, vocabulary)
    reading = Reading(checked, text, vocabulary)
    reads, factor = reading.read(), Decimal(1)
    if result is ResultType.UNITS:
        factors = Factors(checked, reading.offset)
        linear = factors.linear()
        if linear is not None:
            return Expression(text, result, None, reading, replace(reads, linear=linear))
        factor = factors.take()
    program = _program(checked, text, vocabulary)
    kind = program.return_type().name()
    if kind not in _ACCEPTED[result] | {"DYN"}:
        raise Refused(0, f"it yields {kind.lower()}, not {_WANTED[result]}", _FIXES[result])
    return Expression(text, result, program, reading, reads, factor)


def _program(checked: checked_pb2.CheckedExpr, text: str, vocabulary: Vocabulary) -> cel.Expression:
    packed = any_pb2.Any()
    packed.Pack(checked)
    try:
        return environment(vocabulary).deserialize(packed.SerializeToString())
    except _LIBRARY_ERRORS as error:
        raise refusal_of(str(error), text, vocabulary) from error


def _checked(text: str, vocabulary: Vocabulary) -> checked_pb2.CheckedExpr:
    try:
        serialized = environment(vocabulary).compile(text).serialize()
    except _LIBRARY_ERRORS as error:
        raise refusal_of(str(error), text, vocabulary) from error
    packed, checked = any_pb2.Any(), checked_pb2.CheckedExpr()
    packed.ParseFromString(serialized)
    packed.Unpack(checked)
    return checked


def _message(error: str) -> str:
    return cut(_STATUS.sub("", _STATUS.sub("", error.partition("\n")[0])))
