"""What the network commands share: secrets, where to connect, leaving on Ctrl-C, errors in one line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

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
    parser.add_argument(
        "--new-passphrase",
        type=Path,
        metavar="FILE",
        help="draw a passphrase, keep it in this new file, show it and use it; the others need it for --key-file",
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

    if options.relay_only and options.turn_only:
        raise StreamcodecError("--relay-only leaves no direct line for --turn-only: give one of them")
    client = ClientConfig(
        options.server,
        check_room(options.room),
        name=options.name,
        alternates=tuple(options.alternate),
        token=options.token or read_secret(options.token_file, TOKEN_VARIABLE) or "",
        context=_trust(options.ca),
        bitstream=bitstream,
    )
    passphrase = _passphrase(options)
    return RoomConfig(
        client,
        room_key=None if passphrase is None else room_key_from_passphrase(passphrase, options.room),
        webrtc=None if options.relay_only else _webrtc_config(options),
    )


def _passphrase(options: argparse.Namespace) -> str | None:
    """The passphrase to use, new or known; None for no end-to-end encryption."""
    from streamcodec.net.e2e import check_passphrase, new_passphrase

    if options.new_passphrase is None:
        passphrase = read_secret(options.key_file, PASSPHRASE_VARIABLE)
        if passphrase is not None:
            check_passphrase(passphrase)
        return passphrase
    if options.key_file is not None:
        raise StreamcodecError("give --key-file for a known passphrase or --new-passphrase to draw one, not both")
    passphrase = new_passphrase()
    write_secret(options.new_passphrase, passphrase)
    print(f"passphrase: {passphrase}", file=sys.stderr)
    print(
        f"kept in {options.new_passphrase}; tell it to the others by another way than this relay, for --key-file",
        file=sys.stderr,
    )
    return passphrase


def write_secret(path: Path, secret: str) -> None:
    """Keep a secret in a new file that nobody else here can read. Errors: StreamcodecError if it exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise StreamcodecError(f"{path} exists, and may hold somebody's passphrase: name a new file") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secret + "\n")


def _webrtc_config(options: argparse.Namespace) -> Any:
    from streamcodec.net.webrtc import IceServer, WebRtcConfig

    password = read_secret(options.turn_password_file, TURN_PASSWORD_VARIABLE)
    stun = [IceServer(_with_scheme(host, "stun")) for host in options.stun]
    turn = [IceServer(_with_scheme(host, "turn"), options.turn_user, password) for host in options.turn]
    if options.turn_only and not turn:
        raise StreamcodecError("--turn-only needs --turn HOST:PORT")
    if turn and (options.turn_user is None) != (password is None):
        raise StreamcodecError("--turn-user and --turn-password-file go together: give both, or neither")
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
    from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

    proxy = proxy_of(reached)
    through = (
        f" through the proxy {proxy} (environment variable http_proxy, https_proxy or all_proxy)" if proxy else ""
    )
    try:
        asyncio.run(main)
    except TimeoutError as error:
        raise StreamcodecError(f"{reached} does not answer{through}") from error
    except ssl.SSLCertVerificationError as error:
        raise StreamcodecError(
            f"{reached} shows a certificate that is not trusted here; for a private one give --ca FILE"
        ) from error
    except ssl.SSLError as error:
        if "WRONG_VERSION_NUMBER" in str(error) or "UNEXPECTED_MESSAGE" in str(error):
            plain = reached.replace("wss://", "ws://", 1)
            raise StreamcodecError(f"{reached} does not speak TLS: is it {plain}?") from error
        raise StreamcodecError(f"no secure connection to {reached}: {error.reason or error}") from error
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except OSError as error:
        if reached.startswith("wss://") and isinstance(error, ConnectionError) and not _is_refusal(error):
            plain = reached.replace("wss://", "ws://", 1)
            raise StreamcodecError(
                f"{reached} ended the connection before it was secure{through}: is it {plain}?"
            ) from error
        raise StreamcodecError(f"cannot reach {reached}{through}: {_reason(error)}") from error
    except InvalidStatus as error:
        status = error.response.status_code
        why = "this page or program is not among its --origin" if status == 403 else f"it answers with HTTP {status}"
        raise StreamcodecError(f"{reached} is not a streamcodec relay, or refuses us{through}: {why}") from error
    except (InvalidHandshake, EOFError) as error:
        secure = reached.replace("ws://", "wss://", 1)
        hint = f": is it {secure}?" if secure != reached and not proxy else f"{through}: {_line(error)}"
        raise StreamcodecError(f"{reached} is not a streamcodec relay, or not without TLS{hint}") from error
    except WebSocketException as error:
        raise StreamcodecError(f"{reached} is not a streamcodec relay{through}: {_line(error)}") from error


def proxy_of(url: str) -> str:
    """The proxy that the environment sends a connection to ``url`` through, without its password; empty for none."""
    from websockets.proxy import get_proxy
    from websockets.uri import parse_uri

    from streamcodec.net.client import uses_proxy

    try:
        found = (get_proxy(parse_uri(url)) if uses_proxy(url) else None) or ""
        parts = urlsplit(found)
        return f"{parts.scheme}://{parts.hostname}:{parts.port}" if parts.username else found
    except Exception:  # a relay's own address, or what is no URL: there is no proxy in between
        return ""


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _is_refusal(error: OSError) -> bool:
    return isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error)


def _reason(error: OSError) -> str:
    """What the system says, without asyncio's own words around it."""
    if isinstance(error, socket.gaierror) or not error.errno or error.errno < 0:
        text = error.strerror or str(error)
        # asyncio lists what each address of a name answered.
        return text.partition("] ")[2].partition(",")[0] if "[Errno" in text else text or "the connection failed"
    return os.strerror(error.errno)


def stop_on_signals() -> asyncio.Event:
    """An event that Ctrl-C, SIGTERM and the end of the terminal set, so that a command can say goodbye and keep what
    it has written.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    hangup = getattr(signal, "SIGHUP", None)
    # Who starts with nohup wants to go on.
    hangups = () if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN else (hangup,)
    for number in (signal.SIGINT, signal.SIGTERM, *hangups):
        # Where the loop takes no handlers (Windows), Ctrl-C raises KeyboardInterrupt as usual.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    return stop
