"""Keys of a running call: the switch on a clock of the test's, a simulated terminal, and a call at one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from streamcodec.cli.call_keys import MicrophoneSwitch, keys
from tests.helpers.commands import COMMAND, finish, start
from tests.helpers.relay import run, until

pytest.importorskip("aiortc")
pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")


def test_m_mutes_and_opens_again() -> None:
    switch = MicrophoneSwitch()
    assert not switch.muted(0.0)
    switch.press("m", 1.0)
    assert switch.muted(1.0)
    switch.press("x", 1.5)
    assert switch.muted(100.0)
    switch.press("M", 101.0)
    assert not switch.muted(101.0)


def test_a_held_space_bar_opens_the_microphone_and_nothing_more() -> None:
    switch = MicrophoneSwitch(muted=True)
    assert switch.muted(0.0)
    # Pressed once and let go at once: open for as long as a keyboard waits before it repeats.
    switch.press(" ", 1.0)
    assert not switch.muted(1.7)
    assert switch.muted(1.9)
    # KernelArguments: the keyboard repeats after 0.6 s, then every 40 ms, and stops at 13.0 s.
    switch.press(" ", 10.0)
    times = [10.6 + 0.04 * index for index in range(61)]
    for at_s in times:
        assert not switch.muted(at_s)
        switch.press(" ", at_s)
    assert not switch.muted(times[-1] + 0.2)
    assert switch.muted(times[-1] + 0.31)


def test_keys_at_a_console_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for ``msvcrt``: arrow keys come as two characters, and nothing is asked after the end."""
    typed = list("m \xe0Hq")

    class Console(ModuleType):
        asked = 0

        def kbhit(self) -> bool:
            self.asked += 1
            return bool(typed)

        def getwch(self) -> str:
            return typed.pop(0)

    console = Console("msvcrt")
    monkeypatch.setitem(sys.modules, "msvcrt", console)
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    got: list[str] = []

    async def test() -> None:
        with keys(0, got.append) as usable:
            assert usable
            await until(lambda: len(got) == 3)
        before = console.asked
        await asyncio.sleep(0.05)
        assert console.asked == before

    run(test())
    assert got == ["m", " ", "q"]


def test_muting_ends_a_held_space_bar() -> None:
    switch = MicrophoneSwitch()
    switch.press(" ", 0.0)
    switch.press("m", 0.1)
    assert switch.muted(0.1)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """(the keyboard's end, the program's end)."""
    keyboard, program = pty.openpty()
    yield keyboard, program
    os.close(keyboard)
    os.close(program)


def test_keys_reach_the_loop_one_by_one_and_the_terminal_is_left_as_it_was(
    terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    keyboard, program = terminal
    monkeypatch.setattr(os, "tcgetpgrp", lambda descriptor: os.getpgrp())
    before = termios.tcgetattr(program)

    async def test() -> None:
        pressed: list[str] = []
        with keys(program, pressed.append) as usable:
            assert usable
            os.write(keyboard, b"m")
            await until(lambda: pressed == ["m"])
            os.write(keyboard, "  é".encode())
            await until(lambda: pressed == ["m", " ", " ", "é"])
        os.write(keyboard, b"m")
        await asyncio.sleep(0.01)
        assert len(pressed) == 4

    run(test())
    assert termios.tcgetattr(program) == before


def test_without_a_terminal_there_are_no_keys(terminal: tuple[int, int], tmp_path: Path) -> None:
    async def test() -> None:
        with (tmp_path / "file").open("w+b") as file, keys(file.fileno(), lambda key: None) as usable:
            assert not usable
        # A terminal that is not ours: reading from it would stop the program.
        with keys(terminal[1], lambda key: None) as usable:
            assert not usable

    run(test())


def test_a_call_at_a_terminal_shows_a_meter_and_obeys_keys(tmp_path: Path, speech_file: Path) -> None:
    """Ann's terminal is a pair of ours. She mutes after a second, opens again, and leaves with q."""
    sound, rate_hz = soundfile.read(speech_file)
    soundfile.write(tmp_path / "ann.wav", np.tile(sound, 6), rate_hz)
    soundfile.write(tmp_path / "bob.wav", np.zeros(rate_hz), rate_hz)
    relay = start("serve", "--port", "0")
    assert relay.stdout is not None
    call = ("call", "room", "--server", relay.stdout.readline().strip(), "--relay-only")
    ann_process, keyboard = pty.fork()
    if ann_process == 0:
        arguments = [
            *call,
            "--name",
            "Ann",
            "--input",
            str(tmp_path / "ann.wav"),
            "--output",
            str(tmp_path / "a.wav"),
        ]
        os.environ.update({"COLUMNS": "140", "TERM": "xterm"})
        os.execv(sys.executable, [*COMMAND, *arguments])
    shown = ""

    def read_until(text: str) -> None:
        nonlocal shown
        begin = len(shown)
        while text not in shown[begin:]:
            shown += os.read(keyboard, 65_536).decode("utf-8", "replace")

    try:
        read_until("m mutes")
        heard_file = tmp_path / "heard.wav"
        files = ("--input", str(tmp_path / "bob.wav"), "--output", str(heard_file))
        bob = start("call", *call[1:], "--name", "Bob", *files, "--seconds", "60", "--json")
        read_until("talking")
        os.write(keyboard, b"m")
        read_until("MUTED")
        time.sleep(1.5)
        os.write(keyboard, b"m")
        read_until("talking")
        time.sleep(0.8)
        os.write(keyboard, b"q")
        read_until("kbps payload")
        _, status = os.waitpid(ann_process, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        os.close(keyboard)
    for process in (bob, relay):
        process.send_signal(signal.SIGINT)
    out, _ = finish(bob)
    finish(relay)
    (peer,) = json.loads(out)["peers"]
    assert peer["name"] == "Ann"
    assert peer["talked_s"] > 0.5
    for word in ("you", "Bob", "relay", "dBFS", "payload", "buffer"):
        assert word in shown
    heard, heard_hz = soundfile.read(heard_file)
    frame = heard_hz // 10
    level = np.sqrt(np.mean(np.square(heard[: len(heard) // frame * frame].reshape(-1, frame)), axis=1))
    loud = np.flatnonzero(level > 0.01)
    quiet = level[loud[0] : loud[-1]] < 0.003
    # Between speech and speech, a second and more of what was muted.
    longest = max(map(len, "".join("q" if each else " " for each in quiet).split()))
    assert longest >= 10
