"""Compiling, checking and evaluating over Google's CEL (cel-expr-python).

The library bounds nesting (32 levels) and iterations (10,000), and its regular expressions are RE2, which cannot blow up. Its
run-time errors are values, its compile errors are texts: neither leaves this module.
"""

from __future__ import annotations

import re
from functools import lru_cache

from cel.expr import checked_pb2
from cel_expr_python import cel
from google.protobuf import any_pb2

from usageflow.domain.errors import Fault, InvalidArgument, UsageFlowError
from usageflow.domain.expressions import MAX_EXPRESSION, EvaluationFailed, Facts, Reads, ResultType, Value
from usageflow.expressions._environment import environment
from usageflow.expressions._facts import bindings
from usageflow.expressions._faults import REASON, Refused, cut, refusal_of
from usageflow.expressions._reading import Entry, Reading

_REMEMBERED = 16_384
_ACCEPTED = {ResultType.BOOL: {"BOOL"}, ResultType.NUMBER: {"INT", "UINT", "DOUBLE"}}
_WANTED = {ResultType.BOOL: "true or false", ResultType.NUMBER: "a number"}
_FIXES = {
    ResultType.BOOL: "compare it, such as request.method == 'POST'",
    ResultType.NUMBER: "convert it with int() or double()",
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
        program: cel.Expression,
        reads: Reads,
        scalars: frozenset[str],
        entries: tuple[Entry, ...],
    ) -> None:
        self.text = text
        self.result = result
        self.reads = reads
        self._program = program
        self._scalars = scalars
        self._entries = entries

    def __repr__(self) -> str:
        return f"Expression({self.text!r}, {self.result})"

    def evaluate(self, facts: Facts) -> Value | EvaluationFailed:
        """Returns a value of the expression's type, or why there is none. Never raises."""
        try:
            found = self._program.eval(data=bindings(self._scalars, self._entries, facts))
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
    checked = _checked(text)
    reading = Reading(checked, text)
    reads = reading.read()
    packed = any_pb2.Any()
    packed.Pack(checked)
    try:
        program = environment().deserialize(packed.SerializeToString())
    except _LIBRARY_ERRORS as error:
        raise refusal_of(str(error), text) from error
    kind = program.return_type().name()
    if kind not in _ACCEPTED[result] | {"DYN"}:
        raise Refused(0, f"it yields {kind.lower()}, not {_WANTED[result]}", _FIXES[result])
    return Expression(
        text, result, program, reads, frozenset(reading.scalars), tuple(reading.entries.values())
    )


def _checked(text: str) -> checked_pb2.CheckedExpr:
    try:
        serialized = environment().compile(text).serialize()
    except _LIBRARY_ERRORS as error:
        raise refusal_of(str(error), text) from error
    packed, checked = any_pb2.Any(), checked_pb2.CheckedExpr()
    packed.ParseFromString(serialized)
    packed.Unpack(checked)
    return checked


def _message(error: str) -> str:
    return cut(_STATUS.sub("", _STATUS.sub("", error.partition("\n")[0])))
