from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from usageflow.domain.errors import FailedPrecondition
from usageflow.storage.sql import lock_folder

_HOLD = """
import sys
from pathlib import Path
from usageflow.storage.sql import lock_folder
lock = lock_folder(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_told_the_folder_and_the_fix(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(FailedPrecondition) as raised:
        lock_folder(tmp_path)
    assert raised.value.reason == "DATA_FOLDER_IN_USE"
    assert str(tmp_path) in str(raised.value)
    assert "USAGEFLOW_DATA" in str(raised.value)


def test_a_released_folder_can_be_locked_again(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path)
    lock.release()
    lock.release()
    with lock_folder(tmp_path):
        pass


def test_other_folders_are_free(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "a"), lock_folder(tmp_path / "b"):
        pass


def test_a_missing_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "folder"
    with lock_folder(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(FailedPrecondition, match=f"process {holder.pid}"):
            lock_folder(tmp_path)
        holder.kill()
        holder.wait()
        with lock_folder(tmp_path):
            pass
