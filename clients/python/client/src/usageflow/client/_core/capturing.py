"""What an event keeps of a request beside its outcome, by the application's capture level; masked before it is queued."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from google.protobuf import json_format, struct_pb2

from usageflow.client._core.masking import (
    BODY_CAPS,
    METADATA_CAPS,
    mask_headers,
    mask_json,
    mask_query,
    mask_text,
)
from usageflow.client._core.request import RequestView
from usageflow.v1 import plan_pb2

MAX_BODY_BYTES: Final = 8_192
_TOO_LARGE: Final = "TOO_LARGE"
_MALFORMED: Final = "MALFORMED"
_UNREAD: Final = "UNREAD"
_FORM: Final = "application/x-www-form-urlencoded"


def wants_body(request: RequestView, capture: plan_pb2.CaptureLevel.ValueType) -> bool:
    """Tells whether the body is kept: of a POST or PUT, where it is JSON, a form or plain text."""
    full = capture == plan_pb2.CAPTURE_LEVEL_FULL
    return full and request.method in ("POST", "PUT") and _is_readable(_media_type(request))


def captured(
    request: RequestView, capture: plan_pb2.CaptureLevel.ValueType, also: Collection[str]
) -> struct_pb2.Struct | None:
    """Returns the field `captured` of an event; None where the level keeps nothing or there is nothing."""
    if capture == plan_pb2.CAPTURE_LEVEL_MINIMAL:
        return None
    kept: dict[str, object] = {}
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    # The user agent has a field of its own.
    if shown := mask_headers([item for item in headers if item[0] != "user-agent"], also):
        kept["headers"] = shown
    if query := mask_query(request.query_string.decode("latin-1"), also):
        kept["query"] = query
    if request.body is not None and wants_body(request, capture):
        kept |= _body(request, also)
    return _struct(kept)


def masked_metadata(metadata: struct_pb2.Struct | None, also: Collection[str]) -> struct_pb2.Struct | None:
    """Returns metadata without secrets."""
    if metadata is None or not metadata.fields:
        return metadata
    return _struct(mask_json(json_format.MessageToDict(metadata), METADATA_CAPS, also))


def _body(request: RequestView, also: Collection[str]) -> dict[str, object]:
    media = _media_type(request)
    raw = request.body or b""
    if not request.body_complete:
        return {"body_type": media, "body_omitted": _UNREAD}
    if len(raw) > MAX_BODY_BYTES:
        return {"body_type": media, "body_omitted": _TOO_LARGE}
    if not raw:
        return {}
    try:
        body = _masked(raw, media, also)
    except (ValueError, RecursionError):
        return {"body_type": media, "body_omitted": _MALFORMED}
    if len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_BODY_BYTES:
        return {"body_type": media, "body_omitted": _TOO_LARGE}
    return {"body_type": media, "body": body}


def _masked(raw: bytes, media: str, also: Collection[str]) -> object:
    if media == _FORM:
        return mask_query(raw.decode("latin-1"), also)
    text = raw.decode()
    return mask_json(json.loads(text), BODY_CAPS, also) if media.endswith("json") else mask_text(text)


def _struct(fields: dict[str, object]) -> struct_pb2.Struct | None:
    if not fields:
        return None
    return json_format.ParseDict(fields, struct_pb2.Struct())


def _media_type(request: RequestView) -> str:
    return request.header(b"content-type").partition(";")[0].strip().lower()[:64]


def _is_readable(media: str) -> bool:
    is_json = media == "application/json" or media.endswith("+json")
    return is_json or media == _FORM or media.startswith("text/")
