"""Which identities a policy is enforced for while it is rolled out."""

from __future__ import annotations

from hashlib import sha256


def picked(policy: str, identity_key: str, percent: int) -> bool:
    """Tells whether an identity is among the ``percent`` (0 to 100) that a policy is enforced for.

    A stable hash places each identity at one of 100 positions, another for each policy; those below ``percent`` are in. So a
    higher percentage only adds identities.
    """
    digest = sha256(f"{policy}\0{identity_key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % 100 < percent
