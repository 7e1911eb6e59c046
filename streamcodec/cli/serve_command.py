"""``streamcodec serve``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import gc
import ipaddress
import logging
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from streamcodec.cli.common import need
from streamcodec.cli.network import SECRET_VARIABLE, read_secret, run_network, stop_on_signals
from streamcodec.errors import StreamcodecError

if TYPE_CHECKING:
    from streamcodec.net.relay.pages import Pages

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
    parser.add_argument(
        "--web", action="store_true", help="serve a page for calls from browsers at the relay's own address"
    )
    parser.add_argument("--room-peers", type=int, default=8, metavar="N", help="people in a room (default 8)")
    parser.add_argument("--max-rooms", type=int, default=500, metavar="N", help="rooms (default 500)")
    parser.add_argument("--max-participants", type=int, default=1_000, metavar="N", help="people (default 1000)")
    parser.add_argument(
        "--max-waiting", type=int, default=200, metavar="N", help="connections that have not joined yet (default 200)"
    )
    parser.add_argument(
        "--address-people", type=int, default=64, metavar="N", help="people of one address (default 64, 0 for any)"
    )
    parser.add_argument(
        "--address-rooms",
        type=int,
        default=32,
        metavar="N",
        help="rooms that people of one address are in (default 32, 0 for any)",
    )
    parser.add_argument(
        "--trusted-proxy",
        action="append",
        metavar="ADDRESS",
        help="proxy or network of proxies whose X-Forwarded-For is believed (repeatable; default this machine)",
    )
    parser.add_argument(
        "--metrics",
        metavar="[HOST:]PORT",
        type=_address,
        help="answer /health and, for Prometheus, /metrics on a port of their own (HOST by default 127.0.0.1)",
    )
    parser.add_argument(
        "--nats",
        metavar="URL",
        default=os.environ.get(NATS_VARIABLE),
        help=f"share rooms with other relays over this NATS server (or {NATS_VARIABLE})",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= (value := int(text)) <= 65_535:
        raise argparse.ArgumentTypeError(f"must be 0 to 65535, got {text}")
    return value


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal():
        raise argparse.ArgumentTypeError(f"must be PORT or HOST:PORT, got {text}")
    return host.strip("[]") or "127.0.0.1", _port(port)


def run(options: argparse.Namespace) -> None:
    """Listen until Ctrl-C."""
    need("websockets")
    need("aiortc")
    if options.nats is not None:
        need("nats")
    if options.metrics is not None:
        need("prometheus_client")
    run_network(_serve(options), f"port {options.port} of {options.host} or the servers it needs")


def _cannot_listen(error: OSError, host: str, port: int) -> Exception:
    """What to raise where a port cannot be had; another error as it is."""
    if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
        return error
    return StreamcodecError(f"cannot listen on port {port} of {host}: {os.strerror(error.errno)}; choose another")


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
        max_waiting=options.max_waiting,
        address_waiting=min(50, options.max_waiting),
        address_people=options.address_people,
        address_rooms=options.address_rooms,
        trusted_proxies=tuple(options.trusted_proxy or RelayConfig().trusted_proxies),
        origins=None if options.origin is None else tuple(options.origin),
    )
    relay = Relay(
        config,
        None if secret is None else TokenSigner(secret.encode()),
        context=_tls_context(options.cert, options.key),
        backbone=None if options.nats is None else NatsBackbone(options.nats),
        pages=_pages() if options.web else None,
    )
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("streamcodec").setLevel(logging.INFO)
    try:
        # The library of the backbone would try for ever.
        await asyncio.wait_for(relay.start(), START_TIMEOUT_S)
    except OSError as error:
        raise _cannot_listen(error, options.host, options.port) from error
    except TimeoutError:
        raise
    except Exception as error:
        # The library of the backbone has errors of its own; its address may hold a password, so it is not repeated.
        if options.nats is None:
            raise
        raise StreamcodecError(f"cannot use the NATS server: {type(error).__name__}") from error
    stop = stop_on_signals()
    # What is loaded stays: looking through it for garbage again and again would hold the media up.
    gc.collect()
    gc.freeze()
    try:
        async with contextlib.AsyncExitStack() as opened:
            if options.metrics is not None:
                from streamcodec.net.metrics import MetricsServer

                host, port = options.metrics
                try:
                    server = await opened.enter_async_context(MetricsServer(host, port, lambda: relay.stats))
                except OSError as error:
                    raise _cannot_listen(error, host, port) from error
                logging.getLogger("streamcodec.relay").info(
                    "health and metrics on port %d of %s", server.port, options.metrics[0]
                )
            urls = reachable_urls(relay.url, options.host)
            print(urls[0], flush=True)
            for line in _advice(options, urls, secret is not None):
                print(line, file=sys.stderr, flush=True)
            await stop.wait()
    finally:
        await relay.close()


def _pages() -> Pages:
    from streamcodec.net.relay.pages import Pages
    from streamcodec.web.files import web_files

    return Pages(web_files(), "call.html")


def reachable_urls(url: str, host: str) -> list[str]:
    """Under which addresses others find a relay that listens on ``host``, likeliest first.

    A relay that listens everywhere has no address of its own: those of this machine are found out.
    """
    if host not in ("", "0.0.0.0", "::"):
        return [url]
    scheme, _, rest = url.partition("://")
    port = rest.rpartition(":")[2]
    found = _own_addresses(6 if host == "::" else 4) or ["127.0.0.1"]
    return [f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}" for address in found]


def _own_addresses(version: int) -> list[str]:
    """Of this machine's interfaces, the one that leads outside first; nothing is sent to find it."""
    family, outside = (socket.AF_INET6, "2001:db8::1") if version == 6 else (socket.AF_INET, "192.0.2.1")
    found: list[str] = []
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((outside, 9))
        found.append(str(probe.getsockname()[0]))
    with contextlib.suppress(OSError):
        found += [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, family)]
    if version == 6:
        found += _own_addresses(4)
    usable = [address for address in dict.fromkeys(found) if "%" not in address]
    return [address for address in usable if not ipaddress.ip_address(address).is_loopback]


def _advice(options: argparse.Namespace, urls: list[str], asks_tokens: bool) -> list[str]:
    """What to hand to a friend, and what is still open."""
    url = urls[0]
    token = " --token-file TOKEN" if asks_tokens else ""
    lines = [f"join with: streamcodec call ROOM --server {url}{token}"]
    if options.web:
        page = f"http{url.removeprefix('ws')}/#room=ROOM"
        lines.append(f"or in a browser: {page}{'&token=TOKEN' if asks_tokens else ''}")
        if options.cert is None and not _is_local(options.host):
            lines.append(
                "browsers give a microphone to pages of other machines only over https: give --cert and --key"
            )
    if asks_tokens:
        secret = f" --secret-file {options.secret_file}" if options.secret_file else ""
        lines.append(f"a token for each person: streamcodec token ROOM{secret}")
    else:
        lines.append("anyone may join any room: give --secret-file to ask for tokens")
    if _is_local(options.host):
        lines.append("only this machine can connect: --host 0.0.0.0 lets others in")
        return lines
    lines += [f"also reached as {other}" for other in urls[1:]]
    address = url.partition("://")[2].rpartition(":")[0].strip("[]")
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).is_private:
            port = url.rpartition(":")[2]
            lines.append(
                f"{address} is an address of this network: from outside, forward TCP port {port} on the router to it "
                "and hand out the router's own address, or run the relay on a server"
            )
    if options.cert is None:
        lines.append("not encrypted on the way: give --cert and --key for wss://")
    return lines


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
