"""UUIDv7 (RFC 9562, section 5.7) from an injected clock and injected randomness."""

from __future__ import annotations

RANDOM_BYTES = 10

_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62


def uuid7(unix_ms: int, random: bytes) -> str:
    """Returns a UUIDv7 in its usual spelling.

    `unix_ms` is milliseconds since 1970 (48 bits are used); `random` is 10 random bytes, of which 74 bits are used.
    """
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"uuid7 needs {RANDOM_BYTES} random bytes, not {len(random)}; use os.urandom(10)")
    noise = int.from_bytes(random, "big")
    rand_a = (noise >> 62) & 0xFFF
    rand_b = noise & ((1 << 62) - 1)
    value = ((unix_ms & ((1 << 48) - 1)) << 80) | _VERSION | (rand_a << 64) | _VARIANT | rand_b
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
