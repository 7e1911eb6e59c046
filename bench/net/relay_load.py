"""How many people one relay process holds: rooms of two, 50 packets per second each, delay through the relay.

    python bench/net/relay_load.py --participants 50,100,200,400,600,800,1000 --seconds 10 --json relay_load.json

The relay runs in a process of its own, and so does each of ``--clients`` load clients, which play the participants
with a minimal websocket client; the clients' own share of the delay is in the figures. A step holds if its 99th
percentile stays below 10 ms and nothing is lost; where the clients themselves were late for more than one in a
hundred of their sends, the delays say more about them than about the relay, and its share of a core, with the
processor time of one packet, says how far it would go. Talks to the loopback range only, takes at most 1,000
participants and 60 seconds a step, and stops by itself.
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
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.server import Relay
from streamcodec.net.signalling import EVERYONE, Join

MAX_PARTICIPANTS = 1_000
MAX_SECONDS = 60.0
PACKET_S = 0.02
PAYLOAD_BYTES = 60
WARM_UP_S = 1.0
P99_BUDGET_MS = 10.0
ROUNDS_PER_PACKET = 20
"""A load client sends for a twentieth of its people at a time."""
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
    relay_us_per_packet: float
    """Processor time of the relay for one packet, in and out."""
    relay_rss_mb: float
    hung_up: int
    """Participants that the relay gave up, as it does with those who do not read."""
    late_share: float
    """Of the rounds of the load clients, those begun more than 5 ms late."""

    @property
    def holds(self) -> bool:
        """Whether the relay carried this load as it should."""
        return self.p99_ms < P99_BUDGET_MS and self.received == self.sent


@dataclass
class ClientResult:
    """One load client's part of a step."""

    sent: int
    delays_ms: list[float]
    rounds: int
    late_rounds: int
    hung_up: int


def run_on(loop: str, main: Coroutine[Any, Any, None]) -> None:
    """Run on the event loop of this name."""
    if loop == "uvloop":
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


def serve(pipe: multiprocessing.connection.Connection, host: str, loop_name: str) -> None:
    """The relay's process: report the port, run until told to stop, answer questions about CPU and memory."""

    async def main() -> None:
        config = RelayConfig(
            host=host,
            max_rooms=MAX_PARTICIPANTS,
            max_participants=MAX_PARTICIPANTS,
            max_waiting=MAX_PARTICIPANTS,
            # Everybody comes from this machine here.
            address_waiting=0,
            address_people=0,
            address_rooms=0,
            address_join_burst=float(MAX_PARTICIPANTS),
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

    run_on(loop_name, main())


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
        """One datagram to the other person, stamped with the time; none once the relay has hung up."""
        if self.transport.is_closing():
            return
        self._write(0x82, bytes((EVERYONE,)) + _STAMP.pack(time.monotonic_ns()) + bytes(PAYLOAD_BYTES - _STAMP.size))

    def _write(self, first: int, payload: bytes) -> None:
        # A mask of zeros is a mask: it saves the load client the work, not the relay.
        length = len(payload)
        size = bytes((0x80 | length,)) if length < 126 else bytes((0x80 | 126,)) + length.to_bytes(2, "big")
        self.transport.write(bytes((first,)) + size + bytes(4) + payload)


async def join(host: str, port: int, names: list[str], delays_ms: list[float]) -> list[Participant]:
    """Two people in each of these rooms."""
    loop = asyncio.get_running_loop()
    people: list[Participant] = []
    for name in names:
        for _ in range(2):
            _, person = await loop.create_connection(lambda name=name: Participant(name, delays_ms), host, port)
            await asyncio.wait_for(person.joined, 10)
            people.append(person)
    return people


def play(pipe: multiprocessing.connection.Connection, host: str, port: int, names: list[str], seconds: float) -> None:
    """A load client's process: join, say so, wait for the word, send, answer with what was measured."""

    async def main() -> None:
        delays_ms: list[float] = []
        people = await join(host, port, names, delays_ms)
        pipe.send("ready")
        pipe.recv()
        result = await load(people, delays_ms, seconds)
        for person in people:
            person.transport.close()
        await asyncio.sleep(0.2)
        pipe.send(result)

    asyncio.run(main())


async def load(people: list[Participant], delays_ms: list[float], seconds: float) -> ClientResult:
    """Everyone's packets for ``seconds``, after a warm-up, and a moment for the last of them to come."""
    loop = asyncio.get_running_loop()
    slots = [people[slot::ROUNDS_PER_PACKET] for slot in range(ROUNDS_PER_PACKET)]
    round_s = PACKET_S / ROUNDS_PER_PACKET
    warm_up_rounds = round(WARM_UP_S / round_s)
    rounds = round(seconds / round_s)
    sent = late = 0
    begin_s = loop.time()
    for index in range(warm_up_rounds + rounds):
        if index == warm_up_rounds:
            # What was sent before is to arrive before the count begins.
            await asyncio.sleep(0.5)
            begin_s += 0.5
            delays_ms.clear()
            sent = late = 0
        late += loop.time() - begin_s - index * round_s > 0.005
        for person in slots[index % ROUNDS_PER_PACKET]:
            person.send()
            sent += 1
        await asyncio.sleep(max(0.0, begin_s + (index + 1) * round_s - loop.time()))
    await asyncio.sleep(1.0)
    hung_up = sum(person.transport.is_closing() for person in people)
    return ClientResult(sent, delays_ms, rounds, late, hung_up)


def step(relay: Process, host: str, port: int, participants: int, seconds: float, clients: int) -> StepResult:
    """Hold ``participants`` for ``seconds`` and measure."""
    names = [f"room-{index}" for index in range(participants // 2)]
    players = [Process(play, host, port, names[index::clients], seconds) for index in range(clients)]
    for player in players:
        player.pipe.recv()
    before_s, _ = usage(relay)
    for player in players:
        player.pipe.send("go")
    parts: list[ClientResult] = [player.pipe.recv() for player in players]
    cpu_s, rss_mb = usage(relay)
    for player in players:
        player.end()
    sent = sum(part.sent for part in parts)
    delays_ms = sorted(delay_ms for part in parts for delay_ms in part.delays_ms)
    cuts = statistics.quantiles(delays_ms, n=100)
    # The relay worked in the warm-up too.
    packet_us = 1e6 * (cpu_s - before_s) / (len(delays_ms) * (seconds + WARM_UP_S) / seconds)
    return StepResult(
        participants=participants,
        sent=sent,
        received=len(delays_ms),
        p50_ms=round(cuts[49], 3),
        p95_ms=round(cuts[94], 3),
        p99_ms=round(cuts[98], 3),
        max_ms=round(delays_ms[-1], 3),
        relay_cpu=round(packet_us * 1e-6 * participants / PACKET_S, 3),
        relay_us_per_packet=round(packet_us, 2),
        relay_rss_mb=round(rss_mb, 1),
        hung_up=sum(part.hung_up for part in parts),
        late_share=round(sum(part.late_rounds for part in parts) / sum(part.rounds for part in parts), 4),
    )


class Process:
    """A process of its own, and a pipe to it."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
        self._process.start()

    def end(self) -> None:
        """Wait for its end."""
        self._process.join(10)


def usage(relay: Process) -> tuple[float, float]:
    """(CPU seconds so far, highest resident memory in MB)."""
    relay.pipe.send("usage")
    cpu_s, rss_mb = relay.pipe.recv()
    return cpu_s, rss_mb


def main() -> int:
    """Run the steps and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", default="50,100,200", help="comma-separated steps, even numbers")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured time of a step, at most 60")
    parser.add_argument("--clients", type=int, default=2, help="processes that play the participants (default 2)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="the relay's event loop")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    steps = [int(count) for count in options.participants.split(",")]
    if not ipaddress.ip_address(options.host).is_loopback:
        parser.error("load goes to the loopback range only")
    if not all(2 <= count <= MAX_PARTICIPANTS and count % 2 == 0 for count in steps):
        parser.error(f"participants must be even, from 2 to {MAX_PARTICIPANTS}")
    if not 0 < options.seconds <= MAX_SECONDS:
        parser.error(f"seconds must be at most {MAX_SECONDS:.0f}")
    if not 1 <= options.clients <= 8:
        parser.error("clients must be 1 to 8")
    relay = Process(serve, options.host, options.loop)
    port = relay.pipe.recv()
    results = []
    try:
        print("people   sent/s   lost   p50    p95    p99    max ms   of a core  us/packet  RSS MB  hung up  late")
        for count in steps:
            result = step(relay, options.host, port, count, options.seconds, options.clients)
            results.append(result)
            print(
                f"{result.participants:6d} {result.sent / options.seconds:8.0f} {result.sent - result.received:6d} "
                f"{result.p50_ms:6.2f} {result.p95_ms:6.2f} {result.p99_ms:6.2f} {result.max_ms:7.2f}     "
                f"{result.relay_cpu:8.3f} {result.relay_us_per_packet:9.2f} {result.relay_rss_mb:8.1f} "
                f"{result.hung_up:7d} {result.late_share:9.2%}{'' if result.holds else '  does not hold'}",
                flush=True,
            )
    finally:
        relay.pipe.send("stop")
        relay.end()
    if options.json:
        settings = {
            "loop": options.loop,
            "clients": options.clients,
            "seconds": options.seconds,
            "payload_bytes": PAYLOAD_BYTES,
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
        }
        rows = [{**asdict(result), "holds": result.holds} for result in results]
        options.json.write_text(json.dumps({"settings": settings, "steps": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
