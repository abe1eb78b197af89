"""Snapshot files: what an edge replica decides from, without a database.

``encode`` writes one, ``decode`` reads one, FileControlStore serves one and follows it when it is replaced. SnapshotCache keeps one
for a process with a database.
"""

from __future__ import annotations

from usageflow.storage.file.atomic import replace_file
from usageflow.storage.file.cache import SnapshotCache
from usageflow.storage.file.control import FileControlStore
from usageflow.storage.file.document import FORMAT, Exported, decode, encode, encode_application
from usageflow.storage.file.gathering import gather

__all__ = [
    "FORMAT",
    "Exported",
    "FileControlStore",
    "SnapshotCache",
    "decode",
    "encode",
    "encode_application",
    "gather",
    "replace_file",
]
