"""One line of `usageflow report`: a JSON object becomes a UsageEvent, or the reason why it does not."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

from usageflow.cli.times import parse_rfc3339
from usageflow.messages import duration_of, timestamp_of
from usageflow.v1 import common_pb2
from usageflow.v1.usage_pb2 import UsageEvent

MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 20
"""Levels of metadata: the wire format nests three messages for each, of at most a hundred."""

_REQUIRED = ("method", "path", "status")
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_LAST_SECOND = 253_402_300_799
_DAY_MS = 86_400_000


class LineFault(Exception):
    """A line that is not an event. ``reason`` is an UPPER_SNAKE constant, ``field`` the key at fault or empty."""

    def __init__(self, message: str, fix: str, *, reason: str = "INVALID_FIELD", field: str = "") -> None:
        super().__init__(f"{message}; {fix}")
        self.reason = reason
        self.field = field
        self.message = message
        self.fix = fix


def parse_event(line: str, *, event_id: str, now_us: int) -> UsageEvent:
    """Returns the event of a line; ``event_id`` and ``now_us`` (Unix time in microseconds) are its defaults.

    A line with an id of its own and no time is sent without time, which the service takes as now: so the file can be
    sent again, and the same id comes with the same payload. Raises LineFault, and nothing else for any text.
    """
    fields = _object(line)
    _check_keys(fields)
    event = UsageEvent(endpoint=common_pb2.Endpoint())
    for key, value in fields.items():
        if value is None and key not in _REQUIRED:
            continue
        _FIELDS[key](event, value)
    if not event.event_id:
        event.event_id = event_id
        if not event.HasField("time"):
            event.time.CopyFrom(timestamp_of(now_us))
    return event


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(
            line, object_pairs_hook=_no_duplicates, parse_constant=_not_finite, parse_float=_finite
        )
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise LineFault(
            "half of a surrogate pair", "write whole characters", reason="INVALID_JSON"
        ) from error
    except (ValueError, RecursionError) as error:
        what = f" ({error.msg}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise LineFault(
            f"this is not JSON{what}", "write one JSON object per line", reason="INVALID_JSON"
        ) from error
    if not isinstance(value, dict):
        raise LineFault("this is not a JSON object", "write one JSON object per line", reason="INVALID_JSON")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise LineFault("a key stands twice in one object", "remove one of them", reason="DUPLICATE_KEY")
    return fields


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _not_finite(text)


def _not_finite(text: str) -> NoReturn:
    raise LineFault(f"{text[:40]} is not a number that fits", "write a finite number", reason="INVALID_JSON")


def _check_keys(fields: dict[str, Any]) -> None:
    for key in fields:
        if key not in _FIELDS:
            near = difflib.get_close_matches(key[:40], _FIELDS, n=1)
            fix = f"did you mean '{near[0]}'?" if near else f"known keys are {', '.join(_FIELDS)}"
            raise LineFault(f"unknown key '{key[:40]}'", fix, reason="UNKNOWN_KEY", field=key[:40])
    for key in _REQUIRED:
        if key not in fields:
            raise LineFault(f"'{key}' is missing", "add it", reason="MISSING_KEY", field=key)


def _wrong(key: str, fix: str) -> LineFault:
    return LineFault(f"'{key}' is not right", fix, field=key)


def _text(key: str, value: object, *, low: int, high: int) -> str:
    """Returns a text of ``low`` to ``high`` bytes."""
    if not isinstance(value, str) or not low <= len(value.encode()) <= high:
        raise _wrong(key, f"write a text of {low} to {high} bytes")
    return value


def _number(key: str, value: object, *, low: int, high: int, unit: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise _wrong(key, f"write a number of {unit} from {low} to {high}")
    return value


def _whole(key: str, value: object, *, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(key, f"write a whole number from {low} to {high}")
    return value


def _set_event_id(event: UsageEvent, value: object) -> None:
    event.event_id = _text("event_id", value, low=1, high=128)


def _set_time(event: UsageEvent, value: object) -> None:
    if isinstance(value, str):
        try:
            event.time.CopyFrom(timestamp_of(parse_rfc3339(value)))
        except ValueError as error:
            raise _wrong("time", f"{error}, or Unix seconds") from error
        return
    seconds = _number("time", value, low=0, high=_LAST_SECOND, unit="seconds")
    event.time.CopyFrom(timestamp_of(round(seconds * 1_000_000)))


def _set_method(event: UsageEvent, value: object) -> None:
    if not isinstance(value, str) or not _METHOD.fullmatch(value):
        raise _wrong("method", "write an HTTP method such as POST")
    event.endpoint.method = value.upper()


def _set_path(event: UsageEvent, value: object) -> None:
    path = _text("path", value, low=1, high=65_536).partition("?")[0]
    if not path.startswith("/") or len(path.encode()) > 8192:
        raise _wrong("path", "write a path that begins with / and has at most 8192 bytes")
    event.path = path


def _set_route(event: UsageEvent, value: object) -> None:
    event.endpoint.template = _text("route", value, low=0, high=1024)


def _set_identity(event: UsageEvent, value: object) -> None:
    text = _text("identity", value, low=0, high=256)
    if text:
        event.identity.value = text


def _set_status(event: UsageEvent, value: object) -> None:
    event.status = _whole("status", value, low=100, high=599)


def _set_latency(event: UsageEvent, value: object) -> None:
    milliseconds = _number("latency_ms", value, low=0, high=_DAY_MS, unit="milliseconds")
    event.latency.CopyFrom(duration_of(round(milliseconds * 1000)))


def _set_quantity(event: UsageEvent, value: object) -> None:
    event.quantity = _number("quantity", value, low=0, high=10**15, unit="units")


def _set_metadata(event: UsageEvent, value: object) -> None:
    if not isinstance(value, dict):
        raise _wrong("metadata", "write an object")
    if _is_deeper(value, MAX_METADATA_DEPTH):
        raise _wrong("metadata", f"nest at most {MAX_METADATA_DEPTH} levels")
    if len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_METADATA_BYTES:
        raise _wrong("metadata", "write at most 16 KiB")
    try:
        event.metadata.update(value)
    except OverflowError as error:
        raise _wrong("metadata", "write numbers below 1e308") from error


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in children)


def _set_decision(event: UsageEvent, value: object) -> None:
    if not isinstance(value, str) or value not in {"ALLOW", "DENY"}:
        raise _wrong("decision", "write ALLOW or DENY")
    event.decision = common_pb2.Decision.Value(f"DECISION_{value}")


def _set_reason(event: UsageEvent, value: object) -> None:
    names = [name.removeprefix("REASON_") for name in common_pb2.Reason.keys()[1:]]
    if value not in names:
        raise _wrong("reason", f"write one of {', '.join(names)}")
    event.reason = common_pb2.Reason.Value(f"REASON_{value}")


_FIELDS: dict[str, Callable[[UsageEvent, object], None]] = {
    "event_id": _set_event_id,
    "time": _set_time,
    "method": _set_method,
    "path": _set_path,
    "route": _set_route,
    "identity": _set_identity,
    "status": _set_status,
    "latency_ms": _set_latency,
    "quantity": _set_quantity,
    "metadata": _set_metadata,
    "decision": _set_decision,
    "reason": _set_reason,
}
