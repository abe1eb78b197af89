"""What names a block in stores and to programs."""

from __future__ import annotations

import hashlib
import json

from usageflow.domain.policies import Block

ID_LENGTH = 20


def stored_key(block: Block) -> str:
    """Returns what one block has and no other: its methods, path and identity, as they are stored (identity by hash)."""
    return json.dumps(list(block.key), ensure_ascii=False, separators=(",", ":"))


def block_id(block: Block) -> str:
    """Returns the id of a block, 20 hex digits: the beginning of its key's SHA-256."""
    return hashlib.sha256(stored_key(block).encode()).hexdigest()[:ID_LENGTH]
