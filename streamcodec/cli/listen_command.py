"""``streamcodec listen``."""

from __future__ import annotations

import argparse

from streamcodec.cli.call_session import add_session_arguments, run_session

HELP = (
    "hear what others send into a room",
    "streamcodec listen radio --server wss://relay.example --output heard.wav",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_session_arguments(parser, speaks=False, hears=True)


def run(options: argparse.Namespace) -> None:
    """Listen only."""
    run_session(options, speaks=False, hears=True)
