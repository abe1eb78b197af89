"""Keyed hashes of sensitive identities (design: Identity; cases: spec/vectors/identity_hash).

The hash key belongs to the installation. Each application hashes under a key derived from it, so that one value has
unrelated hashes in two applications.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from functools import partial

_PURPOSE = "usageflow/identity/v1/"
_DISPLAY_DIGITS = 12

KeyOf = Callable[[str], bytes]
"""Returns an application's key, 32 bytes, by its name."""


def derive_key(hash_key: bytes, application: str) -> bytes:
    """Returns the application's key, 32 bytes: what WatchPlan hands out."""
    return keyed_hash(hash_key, _PURPOSE + application)


def keys_under(hash_key: bytes) -> KeyOf:
    """Returns what derives applications' keys from the installation's hash key."""
    return partial(derive_key, hash_key)


def keyed_hash(key: bytes, value: str) -> bytes:
    """Returns HMAC-SHA256 of the value's UTF-8 under ``key``, 32 bytes.

    The value is hashed as it is: no trimming, no Unicode normalisation. Lone surrogates are hashed as their own
    three bytes, so that no header value can raise here.
    """
    return hmac.digest(key, value.encode("utf-8", "surrogatepass"), hashlib.sha256)


def display(hash_: bytes) -> str:
    """Returns the form that people read: ``hash:`` and the first 12 hex digits."""
    return f"hash:{hash_.hex()[:_DISPLAY_DIGITS]}"
