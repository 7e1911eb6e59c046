"""``streamcodec serve``."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import os
import ssl
import sys
from pathlib import Path

from streamcodec.cli.common import need
from streamcodec.cli.network import SECRET_VARIABLE, read_secret, run_network, stop_on_signals
from streamcodec.errors import StreamcodecError

HELP = (
    "run a relay: rooms, signalling, and media where peers cannot reach each other",
    "streamcodec serve --host 0.0.0.0 --port 8443 --cert cert.pem --key key.pem --secret-file secret.txt",
)
NATS_VARIABLE = "STREAMCODEC_NATS_URL"
START_TIMEOUT_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=_port, default=8080, help="port to listen on, 0 for any (default 8080)")
    parser.add_argument("--cert", type=Path, metavar="FILE", help="TLS certificate chain (PEM); makes it wss://")
    parser.add_argument("--key", type=Path, metavar="FILE", help="private key of the certificate (PEM)")
    parser.add_argument(
        "--secret-file",
        type=Path,
        metavar="FILE",
        help=f"file with the secret that signs tokens, 16 characters or more (or {SECRET_VARIABLE})",
    )
    parser.add_argument(
        "--origin", action="append", metavar="ORIGIN", help="web page that may connect (repeatable; default any)"
    )
    parser.add_argument("--room-peers", type=int, default=8, metavar="N", help="people in a room (default 8)")
    parser.add_argument("--max-rooms", type=int, default=500, metavar="N", help="rooms (default 500)")
    parser.add_argument("--max-participants", type=int, default=1_000, metavar="N", help="people (default 1000)")
    parser.add_argument(
        "--nats",
        metavar="URL",
        default=os.environ.get(NATS_VARIABLE),
        help=f"share rooms with other relays over this NATS server (or {NATS_VARIABLE})",
    )


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"must be 0 to 65535, got {text}")
    return value


def run(options: argparse.Namespace) -> None:
    """Listen until Ctrl-C."""
    need("websockets")
    need("aiortc")
    if options.nats is not None:
        need("nats")
    run_network(_serve(options), f"port {options.port} of {options.host} or the servers it needs")


async def _serve(options: argparse.Namespace) -> None:
    from streamcodec.net.relay.cluster import NatsBackbone
    from streamcodec.net.relay.config import RelayConfig
    from streamcodec.net.relay.server import Relay
    from streamcodec.net.relay.tokens import TokenSigner

    secret = read_secret(options.secret_file, SECRET_VARIABLE)
    config = RelayConfig(
        host=options.host,
        port=options.port,
        room_peers=options.room_peers,
        max_rooms=options.max_rooms,
        max_participants=options.max_participants,
        origins=None if options.origin is None else tuple(options.origin),
    )
    relay = Relay(
        config,
        None if secret is None else TokenSigner(secret.encode()),
        context=_tls_context(options.cert, options.key),
        backbone=None if options.nats is None else NatsBackbone(options.nats),
    )
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("streamcodec").setLevel(logging.INFO)
    try:
        # The library of the backbone would try for ever.
        await asyncio.wait_for(relay.start(), START_TIMEOUT_S)
    except (OSError, asyncio.TimeoutError):
        raise
    except Exception as error:
        # The library of the backbone has errors of its own; its address may hold a password, so it is not repeated.
        if options.nats is None:
            raise
        raise StreamcodecError(f"cannot use the NATS server: {type(error).__name__}") from error
    stop = stop_on_signals()
    try:
        print(relay.url, flush=True)
        if secret is None:
            print("anyone may join any room: give --secret-file to ask for tokens", file=sys.stderr)
        if options.cert is None and not _is_local(options.host):
            print("not encrypted on the way: give --cert and --key for wss://", file=sys.stderr)
        await stop.wait()
    finally:
        await relay.close()


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise StreamcodecError("--key needs --cert")
        return None
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise StreamcodecError(f"there is no file {path}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise StreamcodecError(f"{certificate} and its key do not make a certificate: {error.reason}") from error
    return context
