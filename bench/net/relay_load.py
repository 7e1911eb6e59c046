"""How many people one relay process holds: rooms of two, 50 packets per second each, delay through the relay.

    python bench/net/relay_load.py --participants 50,100,200 --seconds 10

The relay runs in a process of its own; this process plays all the participants on one event loop with a minimal
websocket client, so its own share of the delay is in the figures too. It talks to the loopback range only, takes
at most 1,000 participants and 60 seconds a step, and stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import multiprocessing
import multiprocessing.connection
import os
import resource
import statistics
import struct
import sys
import time
from dataclasses import asdict, dataclass

from streamcodec.net.relay import Relay
from streamcodec.net.relay_config import RelayConfig
from streamcodec.net.signalling import EVERYONE, Join

MAX_PARTICIPANTS = 1_000
MAX_SECONDS = 60.0
PACKET_S = 0.02
PAYLOAD_BYTES = 60
WARM_UP_S = 1.0
_STAMP = struct.Struct(">Q")


@dataclass(frozen=True)
class StepResult:
    """One load; delays in milliseconds from before the sender's write to the receiver's callback."""

    participants: int
    sent: int
    received: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    relay_cpu: float
    """Share of one core that the relay process used."""
    client_cpu: float
    relay_rss_mb: float
    late_sends: int
    """Rounds that this process began more than 5 ms late: beyond a few, the load client itself was the bottleneck."""


def serve(pipe: multiprocessing.connection.Connection, host: str) -> None:
    """The relay's process: report the port, run until told to stop, answer questions about CPU and memory."""

    async def main() -> None:
        config = RelayConfig(
            host=host, max_rooms=MAX_PARTICIPANTS, max_participants=MAX_PARTICIPANTS, max_waiting=MAX_PARTICIPANTS
        )
        async with Relay(config) as relay:
            pipe.send(relay.port)
            loop = asyncio.get_running_loop()
            done = loop.create_future()

            def asked() -> None:
                if pipe.recv() == "stop":
                    done.set_result(None)
                else:
                    usage = resource.getrusage(resource.RUSAGE_SELF)
                    pipe.send((usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))

            loop.add_reader(pipe.fileno(), asked)
            await done
            loop.remove_reader(pipe.fileno())

    asyncio.run(main())


class Participant(asyncio.Protocol):
    """A websocket client that can only join and exchange short datagrams."""

    _HANDSHAKE = (
        b"GET / HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: bG9hZCBjbGllbnQgMDAwMQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )

    def __init__(self, room: str, delays_ms: list[float]) -> None:
        self._room = room
        self._delays_ms = delays_ms
        self._received = bytearray()
        self._open = False
        self.joined = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        received = self._received
        received += data
        if not self._open:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            del received[: end + 4]
            self._open = True
            self._write(0x81, Join(self._room, os.urandom(16).hex()).to_json().encode())
        while len(received) >= 2:
            length, start = received[1], 2
            if length == 126:
                if len(received) < 4:
                    return
                length, start = int.from_bytes(received[2:4], "big"), 4
            if len(received) < start + length:
                return
            if received[0] == 0x82:
                self._delays_ms.append((now_ns - _STAMP.unpack_from(received, start + 1)[0]) / 1e6)
            elif received[0] == 0x81 and not self.joined.done():
                self.joined.set_result(None)
            elif received[0] == 0x89:
                self._write(0x8A, bytes(received[start : start + length]))
            del received[: start + length]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError("the relay closed the connection"))

    def send(self) -> None:
        """One datagram to the other person, stamped with the time."""
        self._write(0x82, bytes((EVERYONE,)) + _STAMP.pack(time.monotonic_ns()) + bytes(PAYLOAD_BYTES - _STAMP.size))

    def _write(self, first: int, payload: bytes) -> None:
        # A mask of zeros is a mask: it saves the load client the work, not the relay.
        length = len(payload)
        size = bytes((0x80 | length,)) if length < 126 else bytes((0x80 | 126,)) + length.to_bytes(2, "big")
        self.transport.write(bytes((first,)) + size + bytes(4) + payload)


async def step(host: str, port: int, participants: int, seconds: float, relay: _RelayProcess) -> StepResult:
    """Hold ``participants`` for ``seconds`` and measure."""
    loop = asyncio.get_running_loop()
    delays_ms: list[float] = []
    people: list[Participant] = []
    for index in range(participants):
        _, person = await loop.create_connection(
            lambda index=index: Participant(f"room-{index // 2}", delays_ms), host, port
        )
        await asyncio.wait_for(person.joined, 10)
        people.append(person)
    sent = late = 0
    slots = [people[slot::20] for slot in range(20)]
    begin_s = loop.time()
    measured_from: tuple[float, float, float, int] | None = None
    tick = 0
    while (now_s := loop.time()) < begin_s + WARM_UP_S + seconds:
        if measured_from is None and now_s >= begin_s + WARM_UP_S:
            delays_ms.clear()
            measured_from = (now_s, relay.usage()[0], time.process_time(), sent)
            late = 0
        due_s = begin_s + tick * PACKET_S / 20
        late += now_s - due_s > 0.005
        for person in slots[tick % 20]:
            person.send()
            sent += 1
        tick += 1
        await asyncio.sleep(max(0.0, begin_s + tick * PACKET_S / 20 - loop.time()))
    assert measured_from is not None
    elapsed_s = loop.time() - measured_from[0]
    cpu_s, rss_mb = relay.usage()
    client_cpu_s = time.process_time() - measured_from[2]
    await asyncio.sleep(0.5)
    for person in people:
        person.transport.close()
    await asyncio.sleep(0.2)
    ordered = sorted(delays_ms)
    cuts = statistics.quantiles(ordered, n=100)
    return StepResult(
        participants=participants,
        sent=sent - measured_from[3],
        received=len(ordered),
        p50_ms=round(cuts[49], 3),
        p95_ms=round(cuts[94], 3),
        p99_ms=round(cuts[98], 3),
        max_ms=round(ordered[-1], 3),
        relay_cpu=round((cpu_s - measured_from[1]) / elapsed_s, 3),
        client_cpu=round(client_cpu_s / elapsed_s, 3),
        relay_rss_mb=round(rss_mb, 1),
        late_sends=late,
    )


class _RelayProcess:
    """The relay in a process of its own."""

    def __init__(self, host: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, host), daemon=True)
        self._process.start()
        self.port: int = self._pipe.recv()

    def usage(self) -> tuple[float, float]:
        """(CPU seconds so far, highest resident memory in MB)."""
        self._pipe.send("usage")
        cpu_s, rss_mb = self._pipe.recv()
        return cpu_s, rss_mb

    def stop(self) -> None:
        self._pipe.send("stop")
        self._process.join(10)


def main() -> int:
    """Run the steps and print one line each, and JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", default="50,100,200", help="comma-separated steps, even numbers")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured time of a step, at most 60")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    options = parser.parse_args()
    steps = [int(count) for count in options.participants.split(",")]
    if not ipaddress.ip_address(options.host).is_loopback:
        parser.error("load goes to the loopback range only")
    if not all(2 <= count <= MAX_PARTICIPANTS and count % 2 == 0 for count in steps):
        parser.error(f"participants must be even, from 2 to {MAX_PARTICIPANTS}")
    if not 0 < options.seconds <= MAX_SECONDS:
        parser.error(f"seconds must be at most {MAX_SECONDS:.0f}")
    relay = _RelayProcess(options.host)
    results = []
    try:
        print("people   sent/s  lost   p50    p95    p99    max ms   relay  client CPU   RSS MB  late")
        for count in steps:
            result = asyncio.run(step(options.host, relay.port, count, options.seconds, relay))
            results.append(result)
            print(
                f"{result.participants:6d} {result.sent / options.seconds:8.0f} {result.sent - result.received:5d} "
                f"{result.p50_ms:6.2f} {result.p95_ms:6.2f} {result.p99_ms:6.2f} {result.max_ms:6.2f}     "
                f"{result.relay_cpu:6.2f} {result.client_cpu:6.2f}      {result.relay_rss_mb:6.1f} "
                f"{result.late_sends:5d}",
                flush=True,
            )
    finally:
        relay.stop()
    print(json.dumps([asdict(result) for result in results]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
