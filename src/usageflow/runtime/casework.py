"""Runs cases against a snapshot and tells where a decision is not what was expected."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from decision.questions import HttpRequest, Terms, question_by_name
from usageflow.domain.calendars import parse_instant
from usageflow.domain.decisions import Answer, LimitOutcome, Question, Reason
from usageflow.domain.durations import format_window
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.extraction import text_of
from usageflow.domain.hashing import keyed_hash
from usageflow.domain.identity import identity_hash
from usageflow.domain.snapshot import Snapshot
from usageflow.policyfile.cases import START, Case, CaseRequest, Decision, ExpectedLimit, LoadedCases
from usageflow.policyfile.problems import PolicyFileError
from usageflow.runtime.rehearsal import Rehearsal, body_pairs

_STATUSES = {
    Reason.BLOCKED: 403,
    Reason.IDENTITY_REQUIRED: 401,
    Reason.FAIL_MODE: 503,
    Reason.LIMIT_EXCEEDED: 429,
    Reason.COST_ABOVE_LIMIT: 429,
    Reason.CONCURRENCY_EXCEEDED: 429,
}
"""What middleware answers (spec/vectors/problems)."""

_SECOND_US = 1_000_000
_REQUEST_FIELDS = {"client_ip": "ip", "path_parameters": "params"}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A field that is not what was expected; both are for people."""

    field: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of a case; it holds where nothing mismatches. ``answer`` is the one to its last request that was made."""

    name: str
    answer: Answer
    mismatches: tuple[Mismatch, ...]

    @property
    def holds(self) -> bool:
        """Tells whether everything was as expected."""
        return not self.mismatches


async def run_cases(
    snapshot: Snapshot, loaded: LoadedCases, on_case: Callable[[], None] = lambda: None
) -> list[CaseResult]:
    """Returns a result per case, in order. Raises PolicyFileError where a request of one cannot be one."""
    questions = _questions(snapshot, loaded)
    rehearsal, now_us = Rehearsal(snapshot, 0), 0
    results = []
    for case, question in zip(loaded.cases, questions, strict=True):
        if case.after_us is None:
            now_us = parse_instant(START) if case.at_us is None else case.at_us
            rehearsal = Rehearsal(snapshot, now_us)
        else:
            now_us += case.after_us
        results.append(await _run(rehearsal, case, question, now_us))
        on_case()
    return results


async def _run(rehearsal: Rehearsal, case: Case, question: Question, now_us: int) -> CaseResult:
    for number in range(1, case.times):
        answer = await rehearsal.decide(question, now_us)
        if not answer.allowed:
            early = Mismatch(f"request {number} of {case.times}", "ALLOW", f"DENY ({answer.reason})")
            return CaseResult(case.name, answer, (early,))
    answer = await rehearsal.decide(question, now_us)
    return CaseResult(case.name, answer, tuple(_mismatches(case, answer, rehearsal.snapshot)))


def _questions(snapshot: Snapshot, loaded: LoadedCases) -> list[Question]:
    questions, problems = [], []
    for index, case in enumerate(loaded.cases):
        try:
            questions.append(question_of(snapshot, case.request))
        except InvalidArgument as error:
            problems += [loaded.problem_of(_placed(fault, index)) for fault in error.faults]
    if problems:
        raise PolicyFileError(problems)
    return questions


def _placed(fault: Fault, index: int) -> Fault:
    """Returns a fault of a request under the key that the file has for it."""
    name = fault.field.partition("[")[0]
    return replace(fault, field=f"cases[{index}].request.{_REQUEST_FIELDS.get(name, name)}")


def question_of(snapshot: Snapshot, request: CaseRequest) -> Question:
    """Returns what a request of a case asks. Raises InvalidArgument."""
    path, _, query = request.path.partition("?")
    described = HttpRequest(
        request.method,
        path,
        request.route,
        request.params,
        [*_attributes(snapshot, request)],
        request.ip,
    )
    if query:
        message = "a query stands in the path"
        raise InvalidArgument.of("path", message, "write it under `query`: {page: '2'}")
    question = question_by_name(snapshot, described, Terms(request.cost))
    if not request.claims:
        return question
    claims = {rules.rules_id: request.claims for rules in snapshot.token_rules}
    return replace(question, attributes=replace(question.attributes, claims=claims))


def _attributes(snapshot: Snapshot, request: CaseRequest) -> Iterator[tuple[str, str, str]]:
    named = {
        "header": request.headers,
        "query": request.query,
        "cookie": request.cookies,
        "context": request.context,
    }
    for location, values in named.items():
        yield from ((location, name, value) for name, value in values.items())
    for location, name, value in body_pairs(snapshot, dict(request.body)):
        text = json.dumps(value) if location == "body_json" else text_of(value)
        if text is not None:
            yield location, name, text


def _mismatches(case: Case, answer: Answer, snapshot: Snapshot) -> Iterator[Mismatch]:
    expect = case.expect
    compared = (
        ("decision", expect.decision, Decision.ALLOW if answer.allowed else Decision.DENY),
        ("reason", expect.reason, answer.reason),
        ("policy", expect.policy, answer.decided_by.name if answer.decided_by else ""),
        ("policies", expect.policies, tuple(policy.name for policy in answer.policies)),
        ("status", expect.status, 200 if answer.allowed else _STATUSES[answer.reason]),
        ("message", expect.message, answer.message),
        ("retry_after", _window(expect.retry_after_us), _window(answer.retry_after_us)),
        ("shadow", expect.shadow, tuple(item.policy.name for item in answer.shadow if item.would_deny)),
    )
    for field, wanted, got in compared:
        if wanted is not None and wanted != got:
            yield Mismatch(field, _shown(wanted), _shown(got))
    yield from _identity(expect.identity, answer, snapshot)
    for limit in expect.limits:
        yield from _limit(limit, answer)


def _identity(wanted: str | None, answer: Answer, snapshot: Snapshot) -> Iterator[Mismatch]:
    if wanted is None:
        return
    got = answer.identity.title if answer.identity else ""
    key = answer.identity.key if answer.identity else ""
    # Of a value that is kept as a hash nobody knows the digits: its raw value is as good.
    raw = key.startswith("h:") and identity_hash(key, b"") == keyed_hash(snapshot.hash_key, wanted)
    if wanted != got and not raw:
        yield Mismatch("identity", _shown(wanted), _shown(got))


def _limit(wanted: ExpectedLimit, answer: Answer) -> Iterator[Mismatch]:
    place = f"limits[{wanted.policy}/{wanted.name}]"
    found = [
        item for item in answer.limits if (item.limit.policy, item.limit.name) == (wanted.policy, wanted.name)
    ]
    if not found:
        yield Mismatch(place, "a limit that has a say", "none")
        return
    for field, want, got in _standing(wanted, found[0]):
        if want is not None and want != got:
            yield Mismatch(f"{place}.{field}", _shown(want), _shown(got))


def _standing(wanted: ExpectedLimit, outcome: LimitOutcome) -> tuple[tuple[str, object, object], ...]:
    return (
        ("limit", wanted.limit, outcome.limit.rule.capacity),
        ("remaining", wanted.remaining, outcome.standing.remaining),
        ("exceeded", wanted.exceeded, outcome.exceeded),
    )


def _window(span_us: int | None) -> str | None:
    """Returns a span as files write it, rounded up to whole seconds as Retry-After is."""
    return None if span_us is None else format_window(-(-span_us // _SECOND_US) * _SECOND_US)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value) if value != "" and value is not None else "nothing"
