"""Entries of the audit log as lines of JSON, and the check of their chain."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from usageflow.domain.audit import AuditEntry, ChainBreak, ChainCheck, ChainedEntry

_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-fA-F]{64})")
_TYPES = {field.name: int if field.type == "int" else str for field in fields(AuditEntry)}


@dataclass(frozen=True, slots=True)
class Head:
    """An entry that somebody keeps elsewhere: its sequence and hash."""

    sequence: int
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> Head:
        """Returns the head of ``SEQUENCE:HASH``. Raises ValueError with the fix."""
        match = _HEAD.fullmatch(text.strip())
        if match is None:
            raise ValueError("write SEQUENCE:HASH as `usageflow audit verify` printed it")
        return cls(int(match[1]), bytes.fromhex(match[2]))

    def __str__(self) -> str:
        return f"{self.sequence}:{self.digest.hex()}"


class ChainFollower:
    """Follows a chain, and looks for what is expected on the way. After ``found`` is set nothing more is followed."""

    def __init__(self) -> None:
        self._check = ChainCheck()
        self._expected: dict[int, bytes] = {}
        self.found: ChainBreak | None = None

    @property
    def head(self) -> Head:
        """Returns the last entry that is whole."""
        return Head(self._check.sequence, self._check.digest)

    def expect(self, heads: Iterable[Head]) -> None:
        """Says what must be met: to be called before these entries are followed."""
        for head in heads:
            known = self._expected.setdefault(head.sequence, head.digest)
            if known != head.digest:
                self._break(head.sequence, "has another hash than the one that was expected")

    def follow(self, links: Iterable[ChainedEntry]) -> bool:
        """Takes the next entries; tells whether the chain is whole so far."""
        for link in links:
            if self.found is None:
                self.found = self._check.follow(link)
            if self.found is None and self._expected.get(link.entry.sequence, link.digest) != link.digest:
                self._break(link.entry.sequence, "has another hash than the one that was expected")
            if self.found is not None:
                return False
        return True

    def end(self) -> ChainBreak | None:
        """Returns what is wrong with the whole chain, None where nothing is."""
        missing = [sequence for sequence in self._expected if sequence > self._check.sequence]
        if self.found is None and missing:
            self._break(self._check.sequence + 1, f"is missing: there must be entries up to {max(missing)}")
        return self.found

    def _break(self, sequence: int, problem: str) -> None:
        if self.found is None:
            self.found = ChainBreak(sequence, problem)


def to_line(link: ChainedEntry) -> str:
    """Returns an entry as one line of JSON."""
    return json.dumps({**asdict(link.entry), "digest": link.digest.hex()})


def from_line(line: str) -> ChainedEntry:
    """Returns the entry of a line. Raises ValueError, whose text says what is wrong."""
    try:
        document: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(document, dict) or set(document) != {*_TYPES, "digest"}:
        raise ValueError("does not have the fields of an entry")
    digest = document.pop("digest")
    for name, kind in _TYPES.items():
        if type(document[name]) is not kind or not _is_text(document[name]):
            raise ValueError(f"has no {'number' if kind is int else 'text'} in {name}")
    if not isinstance(digest, str) or re.fullmatch("[0-9a-f]{64}", digest) is None:
        raise ValueError("has no hash in digest")
    return ChainedEntry(AuditEntry(**document), bytes.fromhex(digest))


def of_message(message: Any) -> ChainedEntry:
    """Returns the entry of a message of the contract."""
    values: Sequence[Any] = [getattr(message, name) for name in _TYPES]
    return ChainedEntry(AuditEntry(*values), message.digest)


def _is_text(value: object) -> bool:
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return True
