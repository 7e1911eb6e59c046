"""``streamcodec send``."""

from __future__ import annotations

import argparse

from streamcodec.cli.call_session import add_session_arguments, run_session

HELP = (
    "send one stream of sound into a room",
    "streamcodec send radio --server wss://relay.example --input show.flac",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_session_arguments(parser, speaks=True, hears=False)


def run(options: argparse.Namespace) -> None:
    """Talk only."""
    run_session(options, speaks=True, hears=False)
