"""The command that adds an extra is one of the tool that installed this."""

from __future__ import annotations

import json
import subprocess
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


WITHOUT = """
import sys
missing, wanted = sys.argv[1].split(","), sys.argv[2]
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
from streamcodec.errors import StreamcodecError
try:
    exec(wanted)
except StreamcodecError as error:
    assert isinstance(error, ImportError)
    print(error)
"""


@pytest.mark.parametrize(
    ("missing", "wanted", "extra"),
    [
        ("websockets", "from streamcodec.net import Call", "net"),
        ("websockets", "from streamcodec.net import Relay", "net"),
        ("websockets", "import streamcodec.net.client", "net"),
        ("aiortc", "from streamcodec.net import Call", "net"),
        ("aiortc", "from streamcodec.net import SpeakerTrack", "net"),
        ("av", "from streamcodec.net import feed", "net"),
        ("cryptography", "from streamcodec.net.e2e import new_passphrase", "net"),
        ("xkcdpass", "from streamcodec.net.e2e import new_passphrase; new_passphrase()", "net"),
        ("pipecat", "import streamcodec.adapters.pipecat", "pipecat"),
        ("fastrtc", "import streamcodec.adapters.fastrtc", "fastrtc"),
        ("lhotse", "import streamcodec.adapters.lhotse", "lhotse"),
        ("pyarrow,datasets", "import streamcodec.adapters.datasets", "datasets"),
        ("livekit,aiortc,av", "import streamcodec.adapters.livekit", "livekit"),
    ],
)
def test_a_missing_package_is_told_with_the_extra_that_has_it(missing: str, wanted: str, extra: str) -> None:
    words = [sys.executable, "-c", WITHOUT, missing, wanted]
    found = subprocess.run(words, check=True, capture_output=True, text=True, timeout=100)
    package = missing.partition(",")[0]
    assert found.stdout == f"this needs {package}: run '{command_for(extra)}' and try again\n"
