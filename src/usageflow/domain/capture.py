"""What is kept of a reported request, by the application's capture level. The client does the same before it sends anything; here it
is done again, because a report may come from anybody. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from usageflow.domain.applications import Capture
from usageflow.domain.identity import PATH_PARAMETER, network_of
from usageflow.domain.masking import (
    BODY_CAPS,
    METADATA_CAPS,
    mask_headers,
    mask_json,
    mask_path,
    mask_query,
    mask_text,
    plain_name,
)
from usageflow.domain.sources import Location

MAX_CAPTURED_BYTES = 16 * 1024
_MOST_SENT_BYTES = 64 * 1024
_OMISSIONS = frozenset({"TOO_LARGE", "MALFORMED", "UNREAD"})
_MAX_MEDIA_TYPE = 64
_FORM = "application/x-www-form-urlencoded"
_NAMED = frozenset({Location.HEADER, Location.QUERY, Location.BODY})


@dataclass(frozen=True, slots=True)
class CaptureRules:
    """``secrets`` are plain names of what strategies call sensitive. Where a strategy calls the address or a route's parameter so,
    neither is kept.
    """

    level: Capture = Capture.STANDARD
    secrets: frozenset[str] = frozenset()
    hides_address: bool = False
    hides_paths: bool = False

    @classmethod
    def of(cls, level: Capture, sensitive: Iterable[tuple[str, str]]) -> CaptureRules:
        """Returns the rules for a level and the (location, name) of sensitive fields."""
        fields = list(sensitive)
        locations = {location for location, _ in fields}
        # Of a path into a body the last name counts, wherever it stands.
        named = {plain_name(name.rpartition(".")[2]) for location, name in fields if location in _NAMED}
        return cls(
            level, frozenset(named - {""}), Location.CLIENT_IP in locations, PATH_PARAMETER in locations
        )


def kept_path(path: str, rules: CaptureRules) -> str:
    """Returns what is kept of a raw path."""
    if not path or rules.level is Capture.MINIMAL or rules.hides_paths:
        return ""
    return mask_path(path.partition("?")[0].partition("#")[0])


def kept_detail(detail_json: str, captured_json: str, rules: CaptureRules) -> str:
    """Returns the JSON that an event keeps: of ``detail_json`` (metadata, client_ip, user_agent, reservation_id) and of
    ``captured_json`` (headers, query, body) what the level allows, masked; "" for nothing.
    """
    if not detail_json and not captured_json:
        return ""
    kept = _detail(json.loads(detail_json), rules) if detail_json else {}
    is_kept = rules.level is not Capture.MINIMAL and 0 < len(captured_json) <= _MOST_SENT_BYTES
    if is_kept and (captured := _captured(json.loads(captured_json), rules)):
        kept["captured"] = captured
    return _dumped(kept) if kept else ""


def _detail(sent: dict[str, Any], rules: CaptureRules) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if metadata := sent.get("metadata"):
        kept["metadata"] = mask_json(metadata, METADATA_CAPS, rules.secrets)
    if rules.level is not Capture.MINIMAL:
        address = sent.get("client_ip", "")
        if address and not rules.hides_address and network_of(address):
            kept["client_ip"] = address
        if agent := sent.get("user_agent", ""):
            kept["user_agent"] = mask_text(agent)
    if reservation := sent.get("reservation_id", ""):
        kept["reservation_id"] = reservation
    return kept


def _captured(sent: dict[str, Any], rules: CaptureRules) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    headers, query = sent.get("headers"), sent.get("query")
    if isinstance(headers, dict):
        fields = [(name, value) for name, value in sorted(headers.items()) if isinstance(value, str)]
        if shown := mask_headers(fields, rules.secrets):
            kept["headers"] = shown
    if isinstance(query, str) and (masked := mask_query(query, rules.secrets)):
        kept["query"] = masked
    if rules.level is Capture.FULL:
        whole = kept | _body(sent, rules)
        if len(_dumped(whole).encode()) <= MAX_CAPTURED_BYTES:
            return whole
        return kept | {"body_omitted": "TOO_LARGE"}
    return kept


def _body(sent: dict[str, Any], rules: CaptureRules) -> dict[str, Any]:
    media, omitted = sent.get("body_type"), sent.get("body_omitted")
    kept: dict[str, Any] = {}
    if isinstance(media, str) and media:
        kept["body_type"] = mask_text(media[:_MAX_MEDIA_TYPE])
    if omitted in _OMISSIONS:
        kept["body_omitted"] = omitted
    if "body" in sent:
        body = sent["body"]
        is_form = isinstance(body, str) and media == _FORM
        kept["body"] = mask_query(body, rules.secrets) if is_form else _text_or_json(body, rules)
    return kept


def _text_or_json(body: Any, rules: CaptureRules) -> Any:
    return mask_text(body) if isinstance(body, str) else mask_json(body, BODY_CAPS, rules.secrets)


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
