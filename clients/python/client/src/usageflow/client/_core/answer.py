"""What the HTTP caller sees of a decision: status, header fields and problem body.

The golden cases are spec/vectors/headers and spec/vectors/problems.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from usageflow.client._core.verdict import LimitView, Verdict
from usageflow.v1 import common_pb2 as common

Headers = list[tuple[str, str]]

_SECOND_US: Final = 1_000_000
_MAX_INTEGER: Final = 999_999_999_999_999  # RFC 9651, section 3.3.1
_TYPES: Final = "https://iana.org/assignments/http-problem-types#"
_QUOTA: Final = _TYPES + "quota-exceeded"
_REDUCED: Final = _TYPES + "temporary-reduced-capacity"
_BLANK: Final = "about:blank"
_AT_ONCE: Final = ';qu="concurrent-requests"'  # draft-ietf-httpapi-ratelimit-headers, quota units


@dataclass(frozen=True, slots=True)
class _Denial:
    status: int
    problem_type: str
    detail: str


_DENIALS: Final = {
    common.REASON_LIMIT_EXCEEDED: _Denial(429, _QUOTA, "The limit for this request is used up; retry later."),
    common.REASON_COST_ABOVE_LIMIT: _Denial(
        429, _QUOTA, "This request costs more than its limit can ever hold; retrying does not help."
    ),
    common.REASON_CONCURRENCY_EXCEEDED: _Denial(
        429, _QUOTA, "Too many requests run at once; retry when one of them has finished."
    ),
    common.REASON_BLOCKED: _Denial(403, _BLANK, "Access is blocked."),
    common.REASON_IDENTITY_REQUIRED: _Denial(401, _BLANK, "This request needs an identity and carries none."),
    common.REASON_FAIL_MODE: _Denial(
        503, _REDUCED, "Requests cannot be admitted at the moment; retry later."
    ),
}
_UNKNOWN: Final = _Denial(403, _BLANK, "Access is denied.")
_INVALID: Final = _Denial(400, _BLANK, "The request path cannot be understood.")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer to a denied request."""

    status: int
    headers: Headers
    body: bytes


def denial(verdict: Verdict) -> HttpAnswer:
    """Returns the answer to a denied request: problem+json, with Content-Type and Content-Length among the headers."""
    kind = _kind(verdict)
    body = json.dumps(problem(verdict), ensure_ascii=False, separators=(",", ":")).encode()
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(body))),
        *headers_of(verdict),
    ]
    return HttpAnswer(kind.status, headers, body)


def status_of(verdict: Verdict) -> int:
    """Returns the status of a denial; 0 where the application answers."""
    return 0 if verdict.allowed else _kind(verdict).status


def headers_of(verdict: Verdict) -> Headers:
    """Returns the header fields that a decision adds, allowed or not, in their order."""
    headers = rate_limit_headers(verdict.limits)
    if not verdict.allowed:
        headers += _denial_headers(verdict)
    return headers


def problem(verdict: Verdict) -> dict[str, object]:
    """Returns the problem body (RFC 9457) of a denial."""
    kind = _kind(verdict)
    body: dict[str, object] = {
        "type": kind.problem_type,
        "title": HTTPStatus(kind.status).phrase,
        "status": kind.status,
        "detail": verdict.message or kind.detail,
    }
    if kind.status == 429:
        body["violated-policies"] = [f"{v.policy}/{v.limit_name}" for v in verdict.limits if v.exceeded]
    return body


def rate_limit_headers(limits: Iterable[LimitView]) -> Headers:
    """Returns RateLimit-Policy and RateLimit (RFC 9651 Lists), or nothing without limits."""
    policies: list[str] = []
    states: list[str] = []
    for limit in limits:
        name = _string(f"{limit.policy}/{limit.limit_name}")
        at_once = limit.algorithm == common.ALGORITHM_CONCURRENCY
        window = _AT_ONCE if at_once else f";w={_seconds(limit.window_us)}"
        reset = "" if at_once else f";t={_seconds(limit.reset_us)}"
        policies.append(f"{name};q={_integer(limit.limit)}{window}")
        states.append(f"{name};r={_integer(limit.remaining)}{reset}")
    if not policies:
        return []
    return [("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(states))]


def _kind(verdict: Verdict) -> _Denial:
    return _INVALID if verdict.invalid_request else _DENIALS.get(verdict.reason, _UNKNOWN)


def _denial_headers(verdict: Verdict) -> Headers:
    if verdict.reason == common.REASON_LIMIT_EXCEEDED:
        resets = [limit.reset_us for limit in verdict.limits if limit.exceeded]
        return [_retry_after(max([verdict.retry_after_us, *resets]))]
    if verdict.reason == common.REASON_CONCURRENCY_EXCEEDED:
        return [_retry_after(0)]
    if verdict.reason == common.REASON_FAIL_MODE:
        return [_retry_after(verdict.retry_after_us)]
    if verdict.reason == common.REASON_IDENTITY_REQUIRED:
        return [("WWW-Authenticate", 'Bearer realm="api"')]
    return []


def _retry_after(us: int) -> tuple[str, str]:
    return ("Retry-After", str(max(_seconds(us), 1)))


def _seconds(us: int) -> int:
    return _integer(-(-us // _SECOND_US))


def _integer(value: int) -> int:
    return min(max(value, 0), _MAX_INTEGER)


def _string(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_character(byte) for byte in text.encode()) + '"'


def _character(byte: int) -> str:
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte <= 0x7E else f"%{byte:02X}"
