"""The command line as processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

COMMAND = [sys.executable, "-c", "from streamcodec.entry import console; console()"]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, error = process.communicate(timeout=40)
    assert process.returncode == 0, error
    return out, error


def has_address() -> bool:
    from aioice.ice import get_host_addresses

    return bool(get_host_addresses(use_ipv4=True, use_ipv6=False))


def refusal(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command says where it cannot do what is asked of it."""
    from streamcodec.cli import main

    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    return error
