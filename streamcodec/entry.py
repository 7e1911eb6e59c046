"""Where the installed command begins: from here on Ctrl-C ends it without a word, whatever is being imported."""

from __future__ import annotations

import os
import signal

INTERRUPTED = 130


def _stop(*_: object) -> None:
    # Nothing has happened yet that would have to be undone; importing cannot be broken off by an exception.
    os._exit(INTERRUPTED)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _stop)


def console() -> None:
    """Run the command line and exit with its code."""
    from streamcodec import cli

    cli.console()
