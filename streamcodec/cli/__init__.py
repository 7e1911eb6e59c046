"""The command line: parse, call the API, print. One file per command; nothing here but words and tables.

May import everything of ``streamcodec``; nothing imports this folder. Heavy imports happen inside commands.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from streamcodec.errors import StreamcodecError

COMMANDS = (
    "demo",
    "encode",
    "decode",
    "transcode",
    "restore",
    "info",
    "roundtrip",
    "loopback",
    "serve",
    "token",
    "call",
    "send",
    "listen",
    "eval",
    "bench",
    "train",
    "experiment",
    "export",
    "models",
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    import importlib

    import streamcodec

    parser = argparse.ArgumentParser(
        prog="streamcodec",
        description="Real-time streaming audio codec: 10 ms frames, 1.5 kbps speech and up.",
        epilog="example: streamcodec demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"streamcodec {streamcodec.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
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
    parsed = build_parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except StreamcodecError as error:
        print(f"streamcodec: {error}", file=sys.stderr)
        return 2
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        print(f"streamcodec: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("streamcodec: interrupted", file=sys.stderr)
        return 130
    return 0


def console() -> None:
    """Entry point of the installed script."""
    sys.exit(main())
