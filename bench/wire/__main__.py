"""What a call costs on the wire: every byte on a network device, for every transport, packet length and rate.

    python -m bench.wire --json bench/results/wire.json

Two processes talk to each other, both at once, in two network namespaces joined by a bridge; the relay stands beside
it. Counted are IP packets as the devices of the two namespaces count them: media, reports, acknowledgements,
heartbeats, consent checks, pings. Without root, loopback is counted as a whole and halved. aiortc's own Opus is
measured in the same run, as it comes and trimmed as our own lines are. Needs the ``net`` extra.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import ipaddress
import json
import platform
import secrets
import signal
import ssl
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.wire.network import Network, Place, network
from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.server import Relay

BARS = {
    ("SRTP", 6.0, 20): 30.0,
    ("SRTP", 6.0, 60): 16.0,
    ("SRTP", 3.0, 60): 13.0,
    ("relay, wss", 6.0, 20): 42.0,
    ("relay, wss", 6.0, 60): 20.0,
}
"""Wire kbps per direction that must not be exceeded, by transport, payload kbps and packet length."""
TRIES, LEAST_REAL_TIME = 4, 0.97
"""A measurement is repeated so often where the machine was too busy to speak in real time."""
OWN = (
    ("SRTP", {"transport": "srtp"}),
    ("SRTP, GCM", {"transport": "srtp", "srtp": "gcm"}),
    ("SRTP, room key", {"transport": "srtp", "key": True}),
    ("data channel", {"transport": "data-channel"}),
    ("relay, ws", {"transport": "relay"}),
    ("relay, wss", {"transport": "relay", "tls": True}),
    ("relay, wss, room key", {"transport": "relay", "tls": True, "key": True}),
)


@dataclass(frozen=True)
class Case:
    """One measurement."""

    system: str
    kbps: float
    packet_ms: int
    job: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """What one measurement gave; means of both peers and directions."""

    system: str
    asked_kbps: float
    packet_ms: int
    payload_kbps: float
    wire_kbps: float
    datagrams_per_s: float
    """IP packets of any kind, per direction."""
    meter_kbps: float | None
    """What the call itself says of its wire rate."""
    cpu_ms_per_s: float
    """Of one process: encoding, decoding, sending and receiving one stream each."""
    lost: int
    real_time: float
    """Sound sent per second; below 1 this machine was too busy, and rates are too low by as much."""
    bar_kbps: float | None


def cases(options: argparse.Namespace) -> list[Case]:
    """All that is to be measured."""
    base = {"codec": "own", "srtp": "sha1-80", "key": False, "copies": 0, "tls": False}
    found = [
        Case(name, kbps, packet_ms, {**base, **job})
        for name, job in OWN
        if options.only is None or name in options.only
        for packet_ms in options.packet_ms
        for kbps in options.kbps
    ]
    if options.only is None or "Opus" in options.only:
        found += [
            Case(
                f"Opus, aiortc{', trimmed' if trimmed else ''}",
                kbps,
                packet_ms,
                {"codec": "opus", "trimmed": trimmed},
            )
            for trimmed in (False, True)
            for packet_ms in options.packet_ms
            for kbps in options.opus_kbps
        ]
    return found


class Peer:
    """One peer's process."""

    def __init__(self, place: Place) -> None:
        self.place = place

    async def start(self) -> None:
        """Run it where it belongs."""
        self._process = await asyncio.create_subprocess_exec(
            *self.place.prefix,
            sys.executable,
            "-m",
            "bench.wire.peer",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )

    def tell(self, message: dict[str, Any]) -> None:
        """One line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        """One line from it. Errors: RuntimeError if it has ended, or could not do what it was told."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("a peer ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    async def stop(self) -> None:
        """No more work."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def in_time(case: Case, peers: Sequence[Peer], urls: dict[bool, str], ca: Path, seconds: float) -> Row:
    """A measurement in which both peers kept up with real time, or the best of a few."""
    rows: list[Row] = []
    while len(rows) < TRIES and not any(_in_time(row) for row in rows):
        rows.append(await measured(case, peers, urls, ca, seconds))
    return min(rows, key=lambda row: abs(row.real_time - 1.0))


def _in_time(row: Row) -> bool:
    # A little more than real time is the packet that lies across the beginning.
    return LEAST_REAL_TIME <= row.real_time <= 2.0 - LEAST_REAL_TIME


async def measured(case: Case, peers: Sequence[Peer], urls: dict[bool, str], ca: Path, seconds: float) -> Row:
    """Have both peers do it at once."""
    tls = case.job.get("tls", False)
    room = secrets.token_hex(8)
    for index, peer in enumerate(peers):
        peer.tell(
            {
                **case.job,
                "kbps": case.kbps,
                "packet_ms": case.packet_ms,
                "seconds": seconds,
                "device": peer.place.device,
                "url": urls[tls],
                "ca": str(ca) if tls else None,
                "room": room,
                "offers": index == 0,
            }
        )
    if case.job["codec"] == "opus":
        first, second = peers
        second.tell(await first.hear())
        first.tell(await second.hear())
    answers = [await peer.hear() for peer in peers]
    shared = peers[0].place.shared
    elapsed_s = sum(answer["seconds"] for answer in answers)

    def kbps(name: str, share: float = 1.0) -> float:
        return share * 0.008 * sum(answer[name] for answer in answers) / elapsed_s

    # A shared device counts both peers at both, and what passes a relay twice.
    share = 0.5 / (2 if case.job.get("transport") == "relay" else 1) if shared else 1.0
    packets = share * sum(answer["sent_packets"] + answer["received_packets"] for answer in answers) / 2
    own = case.job["codec"] == "own"
    return Row(
        case.system,
        case.kbps,
        case.packet_ms,
        payload_kbps=round(kbps("payload_bytes"), 2),
        wire_kbps=round((kbps("sent_bytes", share) + kbps("received_bytes", share)) / 2, 2),
        datagrams_per_s=round(packets / elapsed_s, 1),
        meter_kbps=round((kbps("meter_sent_bytes") + kbps("meter_received_bytes")) / 2, 2) if own else None,
        cpu_ms_per_s=round(1_000 * sum(answer["cpu_seconds"] for answer in answers) / elapsed_s, 1),
        lost=sum(answer.get("lost", 0) for answer in answers),
        real_time=round(sum(answer["packets"] for answer in answers) * case.packet_ms / 1_000 / elapsed_s, 3),
        bar_kbps=BARS.get((case.system, case.kbps, case.packet_ms)),
    )


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the authority that clients are to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    return context, chain


async def run(options: argparse.Namespace, place: Network, folder: Path) -> list[Row]:
    """Everything, one after the other."""
    context, ca = certificate(folder, place.relay_host)
    config = RelayConfig(host=place.relay_host)
    peers = [Peer(each) for each in place.places]
    async with Relay(config) as plain, Relay(config, context=context) as sealed:
        for peer in peers:
            await peer.start()
        try:
            urls = {False: plain.url, True: sealed.url}
            todo = cases(options)
            shown = track(todo, "measuring", console=Console(stderr=True))
            return [await in_time(case, peers, urls, ca, options.seconds) for case in shown]
        finally:
            for peer in peers:
                await peer.stop()


def table(rows: Sequence[Row]) -> Table:
    """One line per measurement."""
    figures = ("payload kbps", "wire kbps", "bar", "own meter", "packets/s", "CPU ms/s", "lost", "real time")
    out = Table("system", "packet ms", *figures)
    for row in rows:
        late = row.bar_kbps is not None and row.wire_kbps > row.bar_kbps
        out.add_row(
            row.system,
            str(row.packet_ms),
            f"{row.payload_kbps:.2f}",
            f"{row.wire_kbps:.1f}",
            "" if row.bar_kbps is None else f"{row.bar_kbps:g}{' MISSED' if late else ''}",
            "" if row.meter_kbps is None else f"{row.meter_kbps:.1f}",
            f"{row.datagrams_per_s:.1f}",
            f"{row.cpu_ms_per_s:.0f}",
            str(row.lost),
            f"{row.real_time:.0%}",
        )
    return out


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser("python -m bench.wire", description="What a call costs on the wire.")
    options.add_argument("--seconds", type=float, default=8.0, help="of each measurement (default 8)")
    options.add_argument("--packet-ms", type=int, nargs="+", default=[20, 40, 60], metavar="MS")
    options.add_argument("--kbps", type=float, nargs="+", default=[3.0, 6.0, 9.0], metavar="KBPS")
    options.add_argument("--opus-kbps", type=float, nargs="+", default=[6.0, 12.0, 24.0], metavar="KBPS")
    options.add_argument(
        "--only", nargs="+", choices=[*(name for name, _ in OWN), "Opus"], metavar="SYSTEM", help="only these"
    )
    options.add_argument("--json", type=Path, help="write the rows here")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 where a bar is missed."""
    options = parser().parse_args(arguments)
    # Namespaces are to go whatever ends this.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with network() as place, tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(run(options, place, Path(folder)))
        Console(width=None if sys.stdout.isatty() else 140).print(table(rows))
    if options.json:
        settings = {
            "seconds": options.seconds,
            "counted_on": place.name,
            "redundancy": "off",
            "python": platform.python_version(),
        }
        report = {"settings": settings, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    slow = [row for row in rows if not _in_time(row)]
    if slow:
        print(f"{len(slow)} measurements fell behind real time: this machine is too busy", file=sys.stderr)
    return int(any(row.bar_kbps is not None and row.wire_kbps > row.bar_kbps for row in rows))


if __name__ == "__main__":
    sys.exit(main())
