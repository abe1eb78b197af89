"""Instants as people write them, in microseconds of Unix time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from usageflow.domain.durations import parse_window

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_rfc3339(text: str) -> int:
    """Returns microseconds of Unix time, finer digits cut off. Raises ValueError, whose text is the fix."""
    fix = "write an RFC 3339 time such as 2026-01-31T12:00:00Z"
    if not _RFC_3339.fullmatch(text):
        raise ValueError(fix)
    try:
        instant = datetime.fromisoformat(text.upper())
        return (instant - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError) as error:
        raise ValueError(fix) from error


def parse_instant(text: str, *, now_us: int) -> int:
    """Returns microseconds of Unix time of ``24h`` (ago) or an RFC 3339 time. Raises ValueError with the fix."""
    try:
        return now_us - parse_window(text)
    except ValueError:
        pass
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise ValueError(f"{error}, or how long ago, such as 30m, 24h or 7d") from error


def parse_coming(text: str, *, now_us: int) -> int:
    """Returns microseconds of Unix time of ``90d`` (from now) or an RFC 3339 time. Raises ValueError with the fix."""
    try:
        return now_us + parse_window(text)
    except ValueError:
        pass
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise ValueError(f"{error}, or how long from now, such as 12h or 90d") from error


def format_instant(seconds: int) -> str:
    """Returns an RFC 3339 time of whole seconds in UTC."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
