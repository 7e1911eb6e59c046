"""What a call says while it runs: a live meter at a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

if TYPE_CHECKING:
    from rich.console import RenderableType


class Screen:
    """Writes to standard error, so that figures can be piped. Use as a context manager."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True) if sys.stderr is not None else Console(file=io.StringIO())
        self._live = Live(console=self._console, auto_refresh=False) if self._draws(quiet) else None

    def _draws(self, quiet: bool) -> bool:
        return self._console.is_terminal and not quiet

    @property
    def draws(self) -> bool:
        """Whether a meter would be seen."""
        return self._live is not None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """One line that stays."""
        if self._live is not None:
            self._console.print(text, markup=False, highlight=False)
        elif sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                print(text, file=sys.stderr, flush=True)

    def draw(self, table: RenderableType) -> None:
        """The meter, over the last one."""
        if self._live is not None:
            self._live.update(table, refresh=True)


@contextlib.contextmanager
def without_library_noise() -> Iterator[None]:
    """Keep what C libraries print about sound devices off the screen: ALSA and PortAudio write to descriptor 2.

    Python's own standard error goes where it went before. Nothing happens where that is no real file.
    """
    try:
        before = os.dup(2)
        same = sys.stderr is not None and sys.stderr.fileno() == 2
    except (OSError, ValueError, AttributeError):
        yield
        return
    usual = sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        if same:
            usual.flush()
            sys.stderr = os.fdopen(os.dup(before), "w", 1, usual.encoding, usual.errors)
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        if same:
            ours, sys.stderr = sys.stderr, usual
            ours.close()
        os.close(before)
        os.close(nowhere)
