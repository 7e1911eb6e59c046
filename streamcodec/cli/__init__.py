"""The command line: parse, call the API, print. One file per command; nothing here but words and tables.

May import everything of ``streamcodec``; nothing imports this folder. Heavy imports happen inside commands.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from streamcodec.cli.parser import Parser
from streamcodec.cli.process import occupy_standard_streams, run_command, take_names_of_any_bytes

COMMANDS = (
    "encode",
    "decode",
    "transcode",
    "play",
    "pack",
    "unpack",
    "restore",
    "similar",
    "info",
    "roundtrip",
    "loopback",
    "serve",
    "token",
    "call",
    "eval",
    "bench",
    "train",
    "experiment",
    "export",
    "warmup",
    "completion",
)


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of every command, or of one alone, which takes a tenth of the time."""
    import importlib

    import streamcodec

    parser = Parser(
        prog="streamcodec",
        description="Real-time streaming audio codec: speech from 1 kbps, any sound without loss.",
        epilog="example: streamcodec roundtrip",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"streamcodec {streamcodec.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS if only not in COMMANDS else (only,):
        module = importlib.import_module(f"streamcodec.cli.{name}_command")
        summary, example = module.HELP
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (2 for anything the user can mend)."""

    def run() -> None:
        words = list(sys.argv[1:] if arguments is None else arguments)
        parsed = build_parser(words[0] if words else None).parse_args(words)
        parsed.run(parsed)

    return run_command(run)


def console() -> None:
    """Entry point of the installed script."""
    occupy_standard_streams()
    take_names_of_any_bytes()
    code = main()
    # All is done and said: a late Ctrl-C changes nothing any more.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)
