"""A run: the folder it works in, what it measured beside, and what it tells while it goes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from bench.figures import Beside

Made = TypeVar("Made")


@dataclass
class Run:
    """Handed to every measurement. ``folder`` is empty at first and goes when the run ends."""

    folder: Path
    besides: list[Beside] = field(default_factory=list)
    _made: dict[str, Any] = field(default_factory=dict)
    _folders: int = 0

    def say(self, text: str) -> None:
        """Tells progress, on stderr."""
        print(f"  {text}", file=sys.stderr, flush=True)  # noqa: T201 - progress of a command of people

    def beside(self, name: str, title: str, value: float, unit: str) -> None:
        """Notes a figure without a budget."""
        self.besides.append(Beside(name, title, value, unit))

    def once(self, name: str, make: Callable[[Run], Made]) -> Made:
        """Returns what ``make`` returns, made once in this run: for figures that share a costly measurement."""
        if name not in self._made:
            self._made[name] = make(self)
        return cast("Made", self._made[name])

    def new_folder(self) -> Path:
        """Returns a new, empty folder."""
        self._folders += 1
        made = self.folder / str(self._folders)
        made.mkdir()
        return made
