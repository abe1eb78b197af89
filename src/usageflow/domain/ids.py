"""Ids: UUIDv7 (RFC 9562) and the day that an id belongs to."""

from __future__ import annotations

import re

DAY_S = 86_400
ID_DAYS = 36
"""How many days the id of a report is known, today's and yesterday's among them."""
_UUID7 = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}")


def uuid7(now_us: int, random_bytes: bytes) -> str:
    """Returns a UUIDv7 of an instant (Unix time in microseconds) and 10 random bytes."""
    value = (now_us // 1000) << 80 | 7 << 76 | 2 << 62
    randomness = int.from_bytes(random_bytes[:10], "big")
    value |= (randomness >> 68 & 0xFFF) << 64 | randomness & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def day_of(record_id: str) -> int:
    """Returns the UTC day number in a UUIDv7, which alone chooses its partition; 0 for any other id."""
    if not _UUID7.fullmatch(record_id):
        return 0
    milliseconds = int(record_id[:8] + record_id[9:13], 16)
    return milliseconds // (DAY_S * 1000)
