"""API keys and admin tokens: ``uf_test_`` / ``uf_live_`` / ``uf_admin_``, 256 random bits and a checksum, in base 62.

The checksum tells a mistyped key from an unknown one without a look-up, and lets secret scanners be sure.
Only the SHA-256 of a key is stored: 256 random bits need no slow hash.
"""

from __future__ import annotations

import hashlib
import re
import zlib

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(r"(uf_(?:test|live|admin)_)([0-9A-Za-z]{43})([0-9A-Za-z]{6})")


def make_key(prefix: str, random_bytes: bytes) -> str:
    """Returns the key of a prefix such as ``uf_live_`` and 32 random bytes."""
    body = prefix + _base62(int.from_bytes(random_bytes, "big"), 43)
    return body + _checksum(body)


def is_well_formed(key: str) -> bool:
    """Tells whether a key has the right shape and checksum."""
    match = _SHAPE.fullmatch(key)
    return match is not None and _checksum(match[1] + match[2]) == match[3]


def hash_of(key: str) -> bytes:
    """Returns what is stored of a key: its SHA-256, 32 bytes."""
    return hashlib.sha256(key.encode()).digest()


def display_prefix(key: str) -> str:
    """Returns what people may see of a key: the prefix and four characters."""
    head, _, tail = key.rpartition("_")
    return f"{head}_{tail[:4]}"


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), 6)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
