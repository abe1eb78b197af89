"""One process per data folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from usageflow.domain.errors import FailedPrecondition

LOCK_NAME = "usageflow.lock"


class FolderLock:
    """The right to use a data folder. It ends with ``release``, with the ``with`` block, or with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Gives the folder back; a second call does nothing. The file stays: deleting it would race with a new holder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_folder(path: Path) -> FolderLock:
    """Returns the lock of the folder, which is made where it is missing (readable by its owner only).

    Raises FailedPrecondition (reason DATA_FOLDER_IN_USE) where another holder has it, in this process too.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # flock and not POSIX locks: those would let a second holder of the same process in, and any close ends them.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise FailedPrecondition(_in_use(path, holder), reason="DATA_FOLDER_IN_USE") from error
    except BaseException:
        os.close(descriptor)
        raise
    return FolderLock(descriptor)


def _in_use(path: Path, holder: str) -> str:
    by = f" by process {holder}" if holder.isdigit() else ""
    return (
        f"the data folder {path} is in use{by}: stop that UsageFlow, or set USAGEFLOW_DATA to another folder"
    )
