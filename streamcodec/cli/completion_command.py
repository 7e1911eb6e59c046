"""``streamcodec completion``."""

from __future__ import annotations

import argparse

from streamcodec.cli.common import need

HELP = (
    "print what completes this command's words in your shell",
    "streamcodec completion bash > ~/.local/share/bash-completion/completions/streamcodec",
)
SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")


def run(options: argparse.Namespace) -> None:
    """Print the script, made of the parser itself."""
    need("shtab")
    import shtab

    from streamcodec.cli import build_parser

    print(shtab.complete(build_parser(), options.shell))
