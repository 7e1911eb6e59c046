"""The command that adds an extra is one of the tool that installed this."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from streamcodec.extras import PIPX_RECEIPT, UV_RECEIPT, command_for


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment that this runs in, as a tool's."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path


def test_pip_is_named_where_no_tool_is(tool: Path) -> None:
    assert command_for("tags") == 'pip install "streamcodec[tags]"'


@pytest.mark.parametrize(
    ("requirement", "command"),
    [
        ('name = "streamcodec"', 'uv tool install "streamcodec[tags]"'),
        ('name = "streamcodec", extras = ["live", "net"]', 'uv tool install "streamcodec[live,net,tags]"'),
        ('name = "streamcodec", extras = ["tags"], path = "/d/s.whl"', 'uv tool install "/d/s.whl[tags]"'),
    ],
)
def test_uv_keeps_what_it_has(requirement: str, command: str, tool: Path) -> None:
    (tool / UV_RECEIPT).write_text(f'[tool]\nrequirements = [{{ {requirement} }}, {{ name = "shtab" }}]\n')
    assert command_for("tags") == command


@pytest.mark.parametrize(
    ("asked", "command"),
    [
        ("streamcodec", 'pipx install --force "streamcodec[tags]"'),
        ("streamcodec[live, net]", 'pipx install --force "streamcodec[live,net,tags]"'),
        ("/d/s.whl[live]", 'pipx install --force "/d/s.whl[live,tags]"'),
    ],
)
def test_pipx_keeps_what_it_has(asked: str, command: str, tool: Path) -> None:
    (tool / PIPX_RECEIPT).write_text(json.dumps({"main_package": {"package_or_url": asked}}))
    assert command_for("tags") == command


@pytest.mark.parametrize("written", ["", "[tool", "[tool]\nrequirements = 3\n"])
def test_a_receipt_that_cannot_be_read_is_no_error(written: str, tool: Path) -> None:
    (tool / UV_RECEIPT).write_text(written)
    assert command_for("tags") == 'pip install "streamcodec[tags]"'
