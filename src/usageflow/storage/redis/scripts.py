"""The Lua scripts: one per operation in lua/, each behind the preludes that it needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis runs it. ``sha`` is what EVALSHA names it by."""

    name: str
    body: bytes
    sha: bytes


def source(*names: str) -> str:
    """Returns files of lua/ one after another."""
    folder = files(__package__).joinpath("lua")
    return "\n".join(folder.joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in names)


def _script(name: str, *preludes: str) -> Script:
    body = source(*preludes, name).encode()
    return Script(name, body, hashlib.sha1(body, usedforsecurity=False).hexdigest().encode())


TAKE = _script("take", "arithmetic", "counters", "records", "questions", "takes")
PEEK = _script("peek", "arithmetic", "counters", "records", "questions", "takes")
AMEND = _script("amend", "arithmetic", "counters", "records")
RESTORE = _script("restore", "arithmetic", "counters")
