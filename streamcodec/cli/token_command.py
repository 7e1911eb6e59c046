"""``streamcodec token``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from streamcodec.cli.common import need, positive
from streamcodec.cli.network import SECRET_VARIABLE, read_secret
from streamcodec.errors import StreamcodecError

HELP = ("print a token that opens a room for a while", "streamcodec token standup --secret-file secret.txt --hours 2")

MAX_HOURS = 876_600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("room", metavar="ROOM", help="room that the token opens")
    parser.add_argument(
        "--secret-file", type=Path, metavar="FILE", help=f"file with the relay's secret (or {SECRET_VARIABLE})"
    )
    parser.add_argument("--hours", type=positive, default=12.0, help="how long the token is good (default 12)")
    parser.add_argument("--name", default="", help="who the holder is: shown to the others, whatever the holder says")
    parser.add_argument(
        "--seats", type=int, default=1, metavar="N", help="how many may be in the room with it at once (default 1)"
    )
    parser.add_argument("--minutes", type=positive, metavar="M", help="how long it is good once it is first used")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--listen-only", action="store_true", help="the holder may not speak")
    only.add_argument("--speak-only", action="store_true", help="the holder does not hear the others")


def run(options: argparse.Namespace) -> None:
    """Print it."""
    need("websockets")
    from streamcodec.net.relay.tokens import Grants, TokenSigner
    from streamcodec.net.signalling import check_room

    if options.hours > MAX_HOURS:
        raise StreamcodecError(f"--hours must be at most {MAX_HOURS} (a century), got {options.hours:g}")
    secret = read_secret(options.secret_file, SECRET_VARIABLE)
    if secret is None:
        raise StreamcodecError(f"give the relay's secret: --secret-file FILE, or {SECRET_VARIABLE}")
    check_room(options.room)
    grants = Grants(options.name, not options.listen_only, not options.speak_only, options.minutes, options.seats)
    print(TokenSigner(secret.encode()).issue(options.room, time.time() + 3_600.0 * options.hours, grants))
