from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.processes import ROOT

REDIS_7 = 'echo "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc bits=64"'
POSTGRES_15 = 'echo "postgres (PostgreSQL) 15.10"'


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH with nothing on it but an `id` that is not root."""
    add(tmp_path, "id", "echo 1000")
    return tmp_path


def add(folder: Path, name: str, script: str = ":") -> None:
    (folder / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
    (folder / name).chmod(0o755)


def services(path: Path) -> subprocess.CompletedProcess[str]:
    bash = str(shutil.which("bash"))
    return subprocess.run(
        [bash, str(ROOT / "tools" / "services.sh")],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_silent_where_everything_is_here(programs: Path) -> None:
    add(programs, "redis-server", REDIS_7)
    add(programs, "postgres", POSTGRES_15)
    add(programs, "h2load")
    result = services(programs)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_it_says_what_to_install_in_one_line_each(programs: Path) -> None:
    add(programs, "postgres", POSTGRES_15)
    result = services(programs)
    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        "missing: redis-server 7 or newer (Debian's package redis-server)",
        "missing: h2load (Debian's package nghttp2-client)",
    ]


def test_an_old_redis_is_a_missing_one(programs: Path) -> None:
    add(programs, "redis-server", REDIS_7.replace("v=7", "v=6"))
    add(programs, "postgres", POSTGRES_15)
    add(programs, "h2load")
    assert services(programs).stderr.startswith("missing: redis-server 7 or newer")


def test_root_without_apt_is_told_too(programs: Path) -> None:
    add(programs, "id", "echo 0")
    add(programs, "redis-server", REDIS_7)
    add(programs, "postgres", POSTGRES_15)
    result = services(programs)
    assert result.returncode == 0
    assert result.stderr == "missing: h2load (Debian's package nghttp2-client)\n"
