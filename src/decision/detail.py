"""What an event says beside its columns, as expressions read it: JSON, all numbers as floats."""

from __future__ import annotations

import json
from collections.abc import Mapping


def metadata_of(detail_json: str) -> tuple[Mapping[str, object], str]:
    """Returns metadata and client address of the JSON that the handler made of an event."""
    if not detail_json:
        return {}, ""
    detail = json.loads(detail_json, parse_int=float)
    return detail.get("metadata", {}), detail.get("client_ip", "")
