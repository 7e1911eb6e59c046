"""A relay under idle sockets: thousands from one address that never say a word, and come back when they are closed.

    python bench/net/attack.py --sockets 5000 --seconds 10 --json attack.json
    python bench/net/attack.py --sockets 5000 --tls

Meanwhile somebody at another address joins again and again, and health is asked for at the relay's own port and at
its metrics port. Told are the time that each takes, and memory and descriptors of the relay before, during and after.
Loopback range only; the relay is a process of its own, stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import ipaddress
import json
import os
import resource
import secrets
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from websockets.asyncio.client import connect

from streamcodec.net.signalling import Join

ATTACKER, GUEST = "127.0.0.1", "127.0.0.2"
BUDGET_S = 1.0
MAX_SOCKETS = 20_000
PAUSE_S = 0.1


@dataclass(frozen=True)
class Result:
    """Times in seconds, memory in MB."""

    sockets: int
    tls: bool
    opened: int
    joins: int
    failed: int
    join_p50_s: float
    join_max_s: float
    health_max_s: float
    own_port_max_s: float
    rss_before_mb: float
    rss_peak_mb: float
    rss_after_mb: float
    descriptors_peak: int
    descriptors_after: int
    log_lines: int

    @property
    def holds(self) -> bool:
        """Whether everybody got in, in time."""
        return self.failed == 0 and max(self.join_max_s, self.health_max_s, self.own_port_max_s) < BUDGET_S


@contextlib.contextmanager
def relay(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``streamcodec serve``, and its URL."""
    command = [sys.executable, "-c", "from streamcodec.cli import console; console()", "serve", *arguments]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def certificate(folder: Path) -> ssl.SSLContext:
    """Write ``c.pem`` and ``k.pem`` for the loopback addresses; what a client needs to trust them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay under attack")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ATTACKER))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "c.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "k.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ssl.create_default_context(cafile=str(folder / "c.pem"))


def attack(port: int, count: int, seconds: float, begin: bool) -> None:
    """Hold ``count`` silent sockets, and open each again when it is closed; prints how many were opened.

    With ``begin`` each says the first bytes of a TLS handshake, and no more.
    """
    selector = selectors.DefaultSelector()
    opened = 0

    def open_one() -> None:
        nonlocal opened
        one = socket.socket()
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            one.connect((ATTACKER, port))
        selector.register(one, selectors.EVENT_READ | (selectors.EVENT_WRITE if begin else 0))
        opened += 1

    end_s = time.monotonic() + seconds
    held = 0
    told = False
    while time.monotonic() < end_s:
        for _ in range(min(100, count - held)):
            open_one()
            held += 1
        if opened >= count and not told:
            print("there", flush=True)
            told = True
        for key, events in selector.select(0.02)[:200]:
            if events & selectors.EVENT_WRITE:
                with contextlib.suppress(OSError):
                    key.fileobj.send(b"\x16\x03\x01")  # type: ignore[union-attr]
                selector.modify(key.fileobj, selectors.EVENT_READ)
                continue
            selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
            held -= 1
    print(opened)


async def join_s(url: str, context: ssl.SSLContext | None) -> float:
    """Seconds from the first SYN to the welcome."""
    began_s = time.monotonic()
    async with asyncio.timeout(5):
        connection = await connect(url, ssl=context, compression=None, proxy=None, local_addr=(GUEST, 0))
        await connection.send(Join("guests", secrets.token_urlsafe(24)).to_json())
        welcome = json.loads(await connection.recv())
    if welcome["type"] != "welcome":
        raise OSError(welcome["reason"])
    elapsed_s = time.monotonic() - began_s
    await connection.close()
    return elapsed_s


async def health_s(port: int, context: ssl.SSLContext | None) -> float:
    """Seconds until ``/health`` has answered."""
    began_s = time.monotonic()
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(
            ATTACKER, port, ssl=context, local_addr=(GUEST, 0), server_hostname=ATTACKER if context else None
        )
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read(64)
    writer.transport.abort()
    if b" 200 " not in answer:
        raise OSError("no health")
    return time.monotonic() - began_s


def memory_mb(process: subprocess.Popen[str]) -> float:
    """Resident memory."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors(process: subprocess.Popen[str]) -> int:
    """Open files."""
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def run(sockets: int, seconds: float, tls: bool, begin: bool) -> Result:
    """One attack on one relay."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context = certificate(folder) if tls else None
        secure = ("--cert", str(folder / "c.pem"), "--key", str(folder / "k.pem")) if tls else ()
        with socket.socket() as probe:
            probe.bind((ATTACKER, 0))
            own_port = probe.getsockname()[1]
        with relay(folder, "--port", "0", "--metrics", str(own_port), *secure) as (process, url):
            port = int(url.rpartition(":")[2])
            asyncio.run(join_s(url, context))
            before = memory_mb(process)
            attacker = subprocess.Popen(
                [
                    *(sys.executable, __file__, "--attack", str(port)),
                    *("--sockets", str(sockets), "--seconds", str(seconds)),
                    *(("--begin",) if begin else ()),
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert attacker.stdout is not None
            attacker.stdout.readline()
            joins, healths, own, failed = [], [], [], 0
            memory, files = before, descriptors(process)
            end_s = time.monotonic() + 0.7 * seconds
            while time.monotonic() < end_s:
                try:
                    joins.append(asyncio.run(join_s(url, context)))
                    healths.append(asyncio.run(health_s(port, context)))
                    own.append(asyncio.run(health_s(own_port, None)))
                except Exception as error:  # every way of not getting in counts the same
                    print(f"not let in: {error!r}", file=sys.stderr)
                    failed += 1
                memory, files = max(memory, memory_mb(process)), max(files, descriptors(process))
                time.sleep(PAUSE_S)
            opened = int(attacker.communicate(timeout=30)[0])
            time.sleep(6.0)
            after = memory_mb(process), descriptors(process)
        lines = len((folder / "log").read_text().splitlines())
    nothing = [5.0]
    return Result(
        sockets,
        tls,
        opened,
        len(joins),
        failed,
        round(float(np.median(joins or nothing)), 4),
        round(max(joins or nothing), 4),
        round(max(healths or nothing), 4),
        round(max(own or nothing), 4),
        round(before, 1),
        round(memory, 1),
        round(after[0], 1),
        files,
        after[1],
        lines,
    )


def main() -> int:
    """Attack, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tls", action="store_true", help="a relay with TLS, whose handshakes never begin")
    parser.add_argument("--begin", action="store_true", help="each handshake begins, and goes no further")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--attack", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    wanted = min(options.sockets, MAX_SOCKETS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, wanted + 200), hard), hard))
    if options.attack is not None:
        attack(options.attack, wanted, options.seconds, options.begin)
        return 0
    result = run(wanted, options.seconds, options.tls, options.begin)
    print(json.dumps(asdict(result), indent=1))
    print("holds" if result.holds else f"does NOT hold: everybody in within {BUDGET_S:g} s")
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(result), indent=1) + "\n")
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
