"""Keys while a call runs: one press each, no Enter; without a terminal there are none."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from typing import Protocol

HELP = "m mutes, hold space to talk while muted, q leaves"


class MicrophoneSwitch:
    """Muted or not: ``m`` changes it, and a held space bar opens the microphone while muted (push to talk).

    A terminal tells of presses and of the keyboard's repetitions, never of releases: a first press holds until
    repetitions must have begun, each of these for a moment more.
    """

    FIRST_HOLD_S = 0.8
    REPEAT_HOLD_S = 0.3

    def __init__(self, *, muted: bool = False) -> None:
        self._muted = muted
        self._held_until_s = float("-inf")

    def press(self, key: str, now_s: float) -> None:
        """Take a key; others than ``m`` and the space bar do nothing."""
        if key == " ":
            held = now_s < self._held_until_s
            hold_s = self.REPEAT_HOLD_S if held else self.FIRST_HOLD_S
            self._held_until_s = now_s + hold_s
        elif key in ("m", "M"):
            self._muted = not self._muted
            self._held_until_s = float("-inf")

    def muted(self, now_s: float) -> bool:
        """Whether silence should be sent now."""
        return self._muted and now_s >= self._held_until_s


class Console(Protocol):
    """What is needed of ``msvcrt``, the console of Windows."""

    def kbhit(self) -> bool: ...

    def getwch(self) -> str: ...


POLL_S = 0.02
_FUNCTION_KEY = "\x00\xe0"
_INTERRUPT = "\x03"


@contextlib.contextmanager
def keys(descriptor: int, pressed: Callable[[str], None]) -> Iterator[bool]:
    """Call ``pressed`` on the running event loop for each key typed at a terminal, and leave it as it was.

    Yields whether there are keys at all: not where ``descriptor`` is no terminal or another program's at the moment.
    """
    console = _console()
    if not _is_ours(descriptor, console is None):
        yield False
    elif console is not None:
        with _polled(console, pressed):
            yield True
    else:
        with _watched(descriptor, pressed):
            yield True


def _console() -> Console | None:
    """The console on Windows, None elsewhere."""
    try:
        found: Console = importlib.import_module("msvcrt")
    except ImportError:
        return None
    return found


def _is_ours(descriptor: int, has_groups: bool) -> bool:
    """Whether keys typed now are meant for this program."""
    try:
        return os.isatty(descriptor) and (not has_groups or os.tcgetpgrp(descriptor) == os.getpgrp())
    except OSError:
        return False


@contextlib.contextmanager
def _polled(console: Console, pressed: Callable[[str], None]) -> Iterator[None]:
    """Windows tells of keys only when asked; it echoes none of them."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def poll() -> None:
        timers[:] = [loop.call_later(POLL_S, poll)]
        while console.kbhit():
            key = console.getwch()
            if key in _FUNCTION_KEY:
                console.getwch()
            elif key == _INTERRUPT:
                raise KeyboardInterrupt
            else:
                pressed(key)

    timers.append(loop.call_later(POLL_S, poll))
    try:
        yield
    finally:
        timers[0].cancel()


@contextlib.contextmanager
def _watched(descriptor: int, pressed: Callable[[str], None]) -> Iterator[None]:
    """A terminal that hands over every key at once, until the end."""
    import termios
    import tty

    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        try:
            typed = os.read(descriptor, 64)
        except OSError:
            typed = b""
        if not typed:
            loop.remove_reader(descriptor)
        for key in typed.decode("utf-8", "ignore"):
            pressed(key)

    tty.setcbreak(descriptor)
    try:
        loop.add_reader(descriptor, read)
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
