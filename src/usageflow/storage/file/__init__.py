"""Snapshot files: what an edge replica decides from, without a database.

``encode`` writes one, ``decode`` reads one, FileControlStore serves one and follows it when it is replaced.
"""

from __future__ import annotations

from usageflow.storage.file.atomic import replace_file
from usageflow.storage.file.control import FileControlStore
from usageflow.storage.file.document import FORMAT, Exported, decode, encode

__all__ = ["FORMAT", "Exported", "FileControlStore", "decode", "encode", "replace_file"]
