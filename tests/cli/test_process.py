"""What surrounds a command: Ctrl-C at any moment, streams that are closed or full, warnings in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

from native_dsp import compile_news
from streamcodec.cli import main, process
from streamcodec.cli.process import run_command
from streamcodec.errors import StreamcodecWarning

COMMAND = (sys.executable, "-m", "streamcodec")


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments], capture_output=True, text=True, timeout=100
    )


@pytest.mark.skipif(os.name != "posix", reason="signals, pipes and devices of POSIX")
@pytest.mark.parametrize("library", ["ctypes", "cffi"])
def test_ctrl_c_inside_a_callback_of_a_library_ends_the_command(library: str) -> None:
    """The compiler's cache calls back through ctypes, the sound library through cffi; an exception there is lost."""
    found = run(
        """
        import ctypes, io, os, signal, sys, time
        import numpy, soundfile
        from streamcodec.cli.process import run_command
        from streamcodec.codec.packet import Tier
        from streamcodec.codec.files import sound_file

        def interrupt(*_):
            os.kill(os.getpid(), signal.SIGINT)

        def through_ctypes():
            ctypes.CFUNCTYPE(None)(interrupt)()

        def through_cffi():
            file = io.BytesIO()
            soundfile.write(file, numpy.zeros(1_000), 8_000, format="WAV")
            real = sound_file._GuardedSource.read
            def read(self, count):
                interrupt()
                sound_file._GuardedSource.read = real
                return real(self, count)
            sound_file._GuardedSource.read = read
            sound_file.SoundReader(file, Tier.NEURAL)

        def command():
            globals()["through_" + sys.argv[1]]()
            end = time.monotonic() + 5
            while time.monotonic() < end:
                pass
            print("went on")

        sys.exit(run_command(command))
        """,
        library,
    )
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "")


@pytest.mark.skipif(os.name != "posix", reason="signals, pipes and devices of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_an_extension_module_is_loaded_ends_the_command(number: signal.Signals, code: int) -> None:
    """Some catch the exception and raise an ImportError instead; it comes when the module is there."""
    found = run(
        """
        import importlib.util, os, sys, time
        from streamcodec.cli.process import run_command

        sys.modules.pop("_decimal", None), sys.modules.pop("numbers", None)

        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "numbers":  # which the extension module imports as it starts up
                    os.kill(os.getpid(), int(sys.argv[1]))
                return None

        sys.meta_path.insert(0, Finder)

        def command():
            try:
                import _decimal
            except BaseException as error:
                print("inside", repr(error))
                raise
            end = time.monotonic() + 5
            while time.monotonic() < end:
                pass
            print("went on")

        sys.exit(run_command(command))
        """,
        str(int(number)),
    )
    assert (found.returncode, found.stdout, found.stderr) == (code, "", "")


@pytest.mark.skipif(os.name != "posix", reason="signals, pipes and devices of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_of_a_file_leaves_nothing(
    number: signal.Signals, code: int, speech_file: Path, tmp_path: Path
) -> None:
    target = tmp_path / "a.sc"
    target.write_bytes(b"older")
    found = run(
        """
        import os, sys
        from streamcodec.cli import console
        from streamcodec.codec.files.container_writer import FileWriter
        real, number = FileWriter.write, int(sys.argv.pop())
        def interrupted(self, *packet):
            real(self, *packet)
            os.kill(os.getpid(), number)
        FileWriter.write = interrupted
        console()
        """,
        "encode",
        str(speech_file),
        str(target),
        str(int(number)),
    )
    assert (found.returncode, found.stdout, found.stderr) == (code, "", "")
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.name != "posix", reason="signals, pipes and devices of POSIX")
@pytest.mark.parametrize(
    ("redirected", "says"),
    [
        ("encode - o.sc <&-", "standard input is closed"),
        ("encode SPEECH - >&-", "standard output is closed"),
        ("encode SPEECH - >/dev/full", "cannot write to standard output: No space left on device"),
        ("info t.sc >/dev/full", "No space left on device"),
    ],
)
def test_streams_that_are_closed_or_full_are_one_line(
    redirected: str, says: str, speech_file: Path, tmp_path: Path
) -> None:
    main(["encode", str(speech_file), str(tmp_path / "t.sc")])
    line = " ".join([*COMMAND, redirected.replace("SPEECH", str(speech_file))])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    found = subprocess.run(
        line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
    )
    assert found.returncode == 2
    assert says in found.stderr
    assert found.stderr.count("\n") == 1
    assert not (tmp_path / "o.sc").exists()


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes")
@pytest.mark.parametrize(
    ("encoding", "name", "said"), [("utf-8", b"a\xff.sc", r"a\udcff.sc"), ("ascii", "ü.sc".encode(), r"\xfc.sc")]
)
def test_names_that_the_terminal_cannot_show_are_shown_as_escapes(
    encoding: str, name: bytes, said: str, speech_file: Path, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONIOENCODING": f"{encoding}:strict",
    }
    found = subprocess.run(
        [*COMMAND, "encode", str(speech_file), os.fsdecode(name), "--tier", "lossless"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith(f"{said}: ")


def test_descriptors_that_the_caller_closed_are_not_taken_by_files(monkeypatch: pytest.MonkeyPatch) -> None:
    closed, opened = {1}, []
    monkeypatch.setattr(process, "_is_open", lambda number: number not in closed)
    monkeypatch.setattr(os, "open", lambda path, flags: opened.append(path))
    process.occupy_standard_streams()
    assert opened == [os.devnull]


def test_warnings_are_lines_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        for _ in range(2):
            warnings.warn("something was left out", StreamcodecWarning, stacklevel=1)

    assert run_command(command) == 0
    assert capsys.readouterr().err == "streamcodec: something was left out\n"


def test_any_error_of_the_system_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise OSError(28, "No space left on device", "a\udce9.wav")

    assert run_command(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("streamcodec: a")
    assert error.endswith(": No space left on device\n")
    assert error.count("\n") == 1


def test_importing_the_package_loads_nothing_heavy() -> None:
    """So that the command line can be stopped from its first moment on."""
    found = run(
        "import sys, streamcodec, streamcodec.cli; print(sorted({'numpy', 'numba', 'torch'} & {*sys.modules}))"
    )
    assert found.stdout == "[]\n"


def test_the_first_compilation_is_announced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([10.0, 10.5, 11.2, 15.0])
    monkeypatch.setattr(process.time, "monotonic", lambda: next(clock))

    def command() -> None:
        for kernel in "abcd":
            for listener in compile_news.listeners:
                listener(kernel)

    assert run_command(command) == 0
    assert capsys.readouterr().err == f"streamcodec: {process.COMPILING}\n"
    assert compile_news.listeners == []


def test_warmup_leaves_nothing_to_compile(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup"]) == 0
    capsys.readouterr()
    assert main(["warmup", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"compiled": 0}
