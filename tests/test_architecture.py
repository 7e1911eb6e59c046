"""Imports point one way, downwards, and torch stays where it belongs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each folder, and what it may import besides itself. Loading of shipped models and configuration is torch-free.
ALLOWED = {
    "native_dsp": set(),
    "streamcodec.models": {"native_dsp", "streamcodec.errors"},
    "streamcodec.runtime": {"native_dsp", "streamcodec.models", "streamcodec.errors"},
    "streamcodec.codec": {"native_dsp", "streamcodec.models", "streamcodec.runtime", "streamcodec.errors"},
    "streamcodec.evaluation.latency": {
        "native_dsp",
        "streamcodec.models",
        "streamcodec.runtime",
        "streamcodec.codec",
        "streamcodec.errors",
    },
    "streamcodec.net": {"native_dsp", "streamcodec.codec", "streamcodec.errors"},
    "streamcodec.live": {
        "native_dsp",
        "streamcodec.models",
        "streamcodec.runtime",
        "streamcodec.codec",
        "streamcodec.net",
        "streamcodec.errors",
    },
    "streamcodec.training": {
        "native_dsp",
        "streamcodec.models",
        "streamcodec.codec",
        "streamcodec.runtime",
        "streamcodec.errors",
    },
    "streamcodec.evaluation": {"native_dsp", "streamcodec.models", "streamcodec.codec", "streamcodec.errors"},
    "streamcodec.research.experiments": {
        "native_dsp",
        "streamcodec.models",
        "streamcodec.codec",
        "streamcodec.runtime",
        "streamcodec.training",
        "streamcodec.evaluation",
        "streamcodec.errors",
    },
}
TORCH_FOLDERS = {"streamcodec.models", "streamcodec.training", "streamcodec.research.experiments"}
# The torch backend, and what loads it when it is chosen.
TORCH_FILES = {"runtime/torch_step.py", "runtime/backend.py", "cli/train_command.py"}


def folder_of(module: str) -> str:
    parts = module.split(".")
    return parts[0] if parts[0] == "native_dsp" else ".".join(parts[:2])


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "streamcodec":
                found |= {f"streamcodec.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("folder", ALLOWED)
def test_arrows_point_one_way(folder: str) -> None:
    files = list((ROOT / folder.replace(".", "/")).rglob("*.py"))
    assert files
    for path in files:
        for module in imports_of(path):
            if module.split(".")[0] in ("streamcodec", "native_dsp"):
                assert folder_of(module) in ALLOWED[folder] | {folder}, f"{path} imports {module}"


def test_torch_is_imported_only_where_it_belongs() -> None:
    for path in ROOT.glob("streamcodec/**/*.py"):
        package = folder_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        uses = any(m.split(".")[0] == "torch" for m in imports_of(path))
        file = path.relative_to(ROOT / "streamcodec").as_posix()
        assert not uses or package in TORCH_FOLDERS or file in TORCH_FILES, path


@pytest.mark.parametrize("folder", ALLOWED)
def test_every_folder_says_what_lives_there(folder: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / folder.replace(".", "/") / "__init__.py").read_text()))
    assert docstring
    assert "import" in docstring
