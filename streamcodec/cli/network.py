"""What the network commands share: secrets, where to connect, leaving on Ctrl-C, errors in one line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamcodec.errors import StreamcodecError

if TYPE_CHECKING:
    from streamcodec.net.room import RoomConfig

SERVER_VARIABLE = "STREAMCODEC_SERVER"
SECRET_VARIABLE = "STREAMCODEC_SECRET"
TOKEN_VARIABLE = "STREAMCODEC_TOKEN"
PASSPHRASE_VARIABLE = "STREAMCODEC_PASSPHRASE"
TURN_PASSWORD_VARIABLE = "STREAMCODEC_TURN_PASSWORD"


def read_secret(path: Path | None, variable: str) -> str | None:
    """First line of a file, or else what an environment variable holds; None where there is neither."""
    if path is None:
        return os.environ.get(variable) or None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise StreamcodecError(f"{path} is not a text file") from error
    if not lines or not lines[0].strip():
        raise StreamcodecError(f"{path} is empty")
    return lines[0].strip()


def add_room_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything that says where to, as whom, and with which secrets."""
    parser.add_argument("room", metavar="ROOM", help="letters, digits and . _ ~ -, up to 64")
    parser.add_argument(
        "--server",
        metavar="URL",
        default=os.environ.get(SERVER_VARIABLE),
        help=f"relay, ws://HOST:PORT or wss://HOST:PORT (or the environment variable {SERVER_VARIABLE})",
    )
    parser.add_argument(
        "--alternate", action="append", default=[], metavar="URL", help="another relay of the room (repeatable)"
    )
    parser.add_argument("--name", default="", help="how others see you")
    parser.add_argument(
        "--token", help=f"token of the room; better not on the command line: --token-file, or {TOKEN_VARIABLE}"
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="file that holds the token")
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help=f"file with the room's passphrase, for end-to-end encryption (or {PASSPHRASE_VARIABLE})",
    )
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificate authority of a private wss:// server")
    parser.add_argument("--stun", action="append", default=[], metavar="HOST:PORT", help="STUN server (repeatable)")
    parser.add_argument("--turn", action="append", default=[], metavar="HOST:PORT", help="TURN server (repeatable)")
    parser.add_argument("--turn-user", metavar="NAME", help="user name on the TURN servers")
    parser.add_argument(
        "--turn-password-file",
        type=Path,
        metavar="FILE",
        help=f"file with the password on the TURN servers (or {TURN_PASSWORD_VARIABLE})",
    )
    parser.add_argument(
        "--turn-only", action="store_true", help="direct lines over the TURN servers alone: nobody learns our address"
    )
    parser.add_argument("--relay-only", action="store_true", help="no direct lines: everything through the relay")


def room_config(options: argparse.Namespace, bitstream: str = "") -> RoomConfig:
    """Where to connect, from the arguments, and what we say that we send; raises StreamcodecError."""
    from streamcodec.net.client import ClientConfig
    from streamcodec.net.e2e import room_key_from_passphrase
    from streamcodec.net.room import RoomConfig
    from streamcodec.net.signalling import check_room

    for url in (options.server, *options.alternate):
        if not (url or "").startswith(("ws://", "wss://")):
            raise StreamcodecError(f"--server must be ws://HOST:PORT or wss://HOST:PORT, got {url or 'nothing'}")
    passphrase = read_secret(options.key_file, PASSPHRASE_VARIABLE)
    client = ClientConfig(
        options.server,
        check_room(options.room),
        name=options.name,
        alternates=tuple(options.alternate),
        token=options.token or read_secret(options.token_file, TOKEN_VARIABLE) or "",
        context=_trust(options.ca),
        bitstream=bitstream,
    )
    return RoomConfig(
        client,
        room_key=None if passphrase is None else room_key_from_passphrase(passphrase, options.room),
        webrtc=None if options.relay_only else _webrtc_config(options),
    )


def _webrtc_config(options: argparse.Namespace) -> Any:
    from streamcodec.net.webrtc import IceServer, WebRtcConfig

    password = read_secret(options.turn_password_file, TURN_PASSWORD_VARIABLE)
    stun = [IceServer(_with_scheme(host, "stun")) for host in options.stun]
    turn = [IceServer(_with_scheme(host, "turn"), options.turn_user, password) for host in options.turn]
    if options.turn_only and not turn:
        raise StreamcodecError("--turn-only needs --turn HOST:PORT")
    return WebRtcConfig(ice_servers=(*stun, *turn), turn_only=options.turn_only)


def _with_scheme(host: str, scheme: str) -> str:
    return host if host.startswith((f"{scheme}:", f"{scheme}s:")) else f"{scheme}:{host}"


def _trust(authority: Path | None) -> ssl.SSLContext | None:
    if authority is None:
        return None
    if not authority.is_file():
        raise StreamcodecError(f"there is no file {authority}")
    try:
        return ssl.create_default_context(cafile=str(authority))
    except ssl.SSLError as error:
        raise StreamcodecError(f"{authority} holds no certificate in PEM form") from error


def run_network(main: Coroutine[Any, Any, None], reached: str) -> None:
    """Run to the end; what the network refuses becomes one sentence about ``reached``."""
    from websockets.exceptions import WebSocketException

    try:
        asyncio.run(main)
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise StreamcodecError(f"{reached} does not answer") from error
    except ssl.SSLCertVerificationError as error:
        raise StreamcodecError(
            f"{reached} shows a certificate that is not trusted here; for a private one give --ca FILE"
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except OSError as error:
        reason = error.strerror or "the connection failed"
        raise StreamcodecError(f"cannot reach {reached}: {reason}") from error
    except WebSocketException as error:
        raise StreamcodecError(f"{reached} is not a streamcodec relay: {str(error).splitlines()[0]}") from error


def stop_on_signals() -> asyncio.Event:
    """An event that Ctrl-C and SIGTERM set, so that a command can say goodbye and keep what it has written."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Where the loop takes no handlers (Windows), Ctrl-C raises KeyboardInterrupt as usual.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    return stop
