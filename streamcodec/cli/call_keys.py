"""Keys while a call runs: one press each, no Enter; without a terminal there are none."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator

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


@contextlib.contextmanager
def keys(descriptor: int, pressed: Callable[[str], None]) -> Iterator[bool]:
    """Call ``pressed`` on the running event loop for each key typed at a terminal, and leave it as it was.

    Yields whether there are keys at all: not where ``descriptor`` is no terminal or another program's at the moment,
    nor on systems whose terminals or event loops do not work this way.
    """
    try:
        import termios
        import tty

        usable = os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except (ImportError, OSError):
        usable = False
    if not usable:
        yield False
        return
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
        yield True
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
