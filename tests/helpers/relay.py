"""Clients and connections of a relay over real sockets, and how to run a test of them."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streamcodec.net.client import ClientConfig, Event, RelayClient
from streamcodec.net.relay.server import Relay
from streamcodec.net.relay.tokens import TokenSigner
from streamcodec.net.signalling import Join, PeerJoined, Welcome

SIGNER = TokenSigner(b"a secret for the tests of the relay")


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "did not come about in time"
        await asyncio.sleep(0.005)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Seat(RelayClient):
    """A client that keeps what it hears."""

    def __init__(self, url: str, room: str = "room", **config: Any) -> None:
        self.heard: list[tuple[int, bytes]] = []
        self.events: list[object] = []
        super().__init__(
            ClientConfig(url, room, **config), lambda peer, data: self.heard.append((peer, data)), self._note
        )

    def _note(self, event: Event) -> None:
        """Events without the identities, which are random."""
        if isinstance(event, Welcome):
            self.events.append(("welcome", event.peer, [(info.peer, info.name) for info in event.peers]))
        elif isinstance(event, PeerJoined):
            self.events.append(("joined", event.info.peer, event.info.name))
        else:
            self.events.append(event)


async def raw(relay: Relay, room: str | None = "room", session: str = "s" * 20, **options: Any) -> ClientConnection:
    """A bare websocket, in a room unless ``room`` is None."""
    connection = await connect(relay.url, compression=None, **options)
    if room is not None:
        await connection.send(Join(room, session).to_json())
        await connection.recv()
    return connection


async def ended(connection: ClientConnection) -> str:
    """Read a connection to its end; returns how it ended."""
    try:
        while True:
            await connection.recv()
    except ConnectionClosed as closed:
        return str(closed)


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Server and client contexts around a certificate made for the test."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay under test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(folder / "cert.pem"))
