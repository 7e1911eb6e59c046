"""``streamcodec token``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from streamcodec.cli.common import need, positive
from streamcodec.cli.network import SECRET_VARIABLE, read_secret
from streamcodec.errors import StreamcodecError

HELP = ("print a token that opens a room for a while", "streamcodec token standup --secret-file secret.txt --hours 2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("room", metavar="ROOM", help="room that the token opens")
    parser.add_argument(
        "--secret-file", type=Path, metavar="FILE", help=f"file with the relay's secret (or {SECRET_VARIABLE})"
    )
    parser.add_argument("--hours", type=positive, default=12.0, help="how long the token is good (default 12)")


def run(options: argparse.Namespace) -> None:
    """Print it."""
    need("websockets")
    from streamcodec.net.relay.tokens import TokenSigner
    from streamcodec.net.signalling import check_room

    secret = read_secret(options.secret_file, SECRET_VARIABLE)
    if secret is None:
        raise StreamcodecError(f"give the relay's secret: --secret-file FILE, or {SECRET_VARIABLE}")
    check_room(options.room)
    print(TokenSigner(secret.encode()).issue(options.room, time.time() + 3_600.0 * options.hours))
