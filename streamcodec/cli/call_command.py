"""``streamcodec call``."""

from __future__ import annotations

import argparse

from streamcodec.cli.call_session import add_session_arguments, run_session

HELP = (
    "be in a call: talk and listen, or only one of the two, peer to peer or over the relay",
    "streamcodec call standup --server wss://relay.example --input me.wav --output them.wav",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_session_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Go into the room and stay."""
    run_session(options)
