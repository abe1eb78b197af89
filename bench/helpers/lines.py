"""Talks to the harness's own processes: a line of JSON in, a line of JSON out. The first line out says that it is ready."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from bench.figures import NotMeasured
from tools.processes import BIN, ROOT, clean_environment


class Helper:
    """A process of ``bench.helpers``. Use it in a ``with`` block: it ends with it."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [str(BIN / "python"), "-m", f"bench.helpers.{module}", *arguments]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self.answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, question: object) -> Any:
        """Sends a question; returns its answer."""
        self.tell(question)
        return self.answer()

    def tell(self, question: object) -> None:
        """Sends a question whose answer is read later."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Returns the next answer. Raises NotMeasured where the process ended."""
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise NotMeasured(f"{self._command[2]} ended; what it said stands above")
        return json.loads(line)


def say(answer: object) -> None:
    """Answers the harness."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def serve(answer: Callable[[Any], object], ready: object = None) -> None:
    """Answers each question until the harness goes away."""
    say(ready)
    for line in sys.stdin:
        say(answer(json.loads(line)))
