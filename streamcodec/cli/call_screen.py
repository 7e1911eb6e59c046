"""What a call says while it runs: a live meter at a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

if TYPE_CHECKING:
    from rich.table import Table


class Screen:
    """Writes to standard error, so that figures can be piped. Use as a context manager."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True)
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
        else:
            print(text, file=sys.stderr, flush=True)

    def draw(self, table: Table) -> None:
        """The meter, over the last one."""
        if self._live is not None:
            self._live.update(table, refresh=True)
