from __future__ import annotations

import shutil
import subprocess

import pytest

from streamcodec.cli import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("encode", "unpack", "--shards"))
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    main(["completion", "bash"])
    ask = "\nCOMP_WORDS=(streamcodec unp); COMP_CWORD=1; _shtab_streamcodec; echo ${COMPREPLY[@]}\n"
    told = subprocess.run(["bash", "-c", capsys.readouterr().out + ask], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["unpack"]
