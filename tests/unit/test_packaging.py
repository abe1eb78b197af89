"""Our distributions come from this tree: packages of the same names by somebody else stand on PyPI."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("usageflow-server", "."),
        ("usageflow-proto", "gen/python"),
        ("usageflow-client", "clients/python/client"),
        ("usageflow-fastapi", "clients/python/fastapi"),
    ],
)
def test_distributions_are_editable_from_this_tree(name: str, folder: str) -> None:
    text = importlib.metadata.distribution(name).read_text("direct_url.json")
    assert text is not None, f"{name} was installed from an index"
    origin = json.loads(text)
    assert origin["dir_info"]["editable"] is True
    assert Path(unquote(urlsplit(origin["url"]).path)).resolve() == (ROOT / folder).resolve()


@pytest.mark.parametrize("name", ["decision", "admin", "meter"])
def test_short_names_are_ours(name: str) -> None:
    owners = importlib.metadata.packages_distributions().get(name, [])
    assert set(owners) <= {"usageflow-server"}
    module = __import__(name)
    assert Path(str(module.__file__)).is_relative_to(ROOT / "src")


def test_the_namespace_is_shared() -> None:
    """No usageflow/__init__.py anywhere: server, stubs and clients share it."""
    assert [path for path in ROOT.glob("**/usageflow/__init__.py") if ".venv" not in path.parts] == []


def test_tracked_files_name_no_machine_and_no_registry() -> None:
    for name in ("requirements.lock", "pyproject.toml", "Makefile", "Dockerfile", "README.md"):
        text = (ROOT / name).read_text()
        assert "index_url".replace("_", "-") not in text, name
        assert str(ROOT) not in text, name
