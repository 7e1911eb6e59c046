"""How long a call is silent when its relay dies: two processes, one relay at a time, killed and started again.

    python bench/net/reconnect.py --rounds 5

Each side sends a datagram every 20 ms and notes when those of the other come; the time counted is from the moment the
new relay listens (or, with ``--alternate``, from the death of the first of two that share the room over NATS) to the
first datagram heard again, with the same room and nobody doing anything. Loopback range only, stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from streamcodec.net.client import ClientConfig
from streamcodec.net.relay.cluster import NatsBackbone
from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.server import Relay
from streamcodec.net.room import Room, RoomConfig

BUDGET_S = 2.0
AWAY_S = 1.0
PACKET_S = 0.02
Pipe = multiprocessing.connection.Connection


def serve(pipe: Pipe, port: int, nats: str) -> None:
    """A relay, until it is killed."""

    async def main() -> None:
        async with Relay(RelayConfig(port=port), backbone=NatsBackbone(nats) if nats else None) as relay:
            pipe.send(relay.url)
            await relay.serve_forever()

    asyncio.run(main())


def talk(pipe: Pipe, url: str, alternates: tuple[str, ...]) -> None:
    """One side: answers ``since`` with when it first heard something after a moment, and stops on ``stop``."""

    async def main() -> None:
        heard_s: list[float] = []
        config = RoomConfig(ClientConfig(url, "bench", alternates=alternates), webrtc=None)
        async with Room(config, lambda identity, datagram: heard_s.append(time.monotonic())) as room:
            pipe.send("in")
            while True:
                room.send(bytes(60))
                if pipe.poll():
                    asked = pipe.recv()
                    if asked == "stop":
                        return
                    while not (later := [at_s for at_s in heard_s if at_s > asked]):
                        room.send(bytes(60))
                        await asyncio.sleep(PACKET_S)
                    pipe.send(later[0])
                    heard_s.clear()
                await asyncio.sleep(PACKET_S)

    asyncio.run(main())


class Process:
    """A process of its own, and a pipe to it."""

    def __init__(self, target: object, *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(theirs, *arguments), daemon=True)  # type: ignore[arg-type]
        self._process.start()
        self.first = self.pipe.recv()

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()
        self._process.join()


@contextmanager
def nats_server() -> Iterator[str]:
    """A NATS server of our own."""
    program = shutil.which("nats-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        sys.exit("nats-server is not installed")
    port = free_port()
    server = subprocess.Popen([program, "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
    time.sleep(1.0)
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def silent_s(sides: list[Process], since_s: float) -> float:
    """Until both sides have heard the other again."""
    for side in sides:
        side.pipe.send(since_s)
    return max(side.pipe.recv() for side in sides) - since_s


def returns(rounds: int) -> list[float]:
    """The relay dies and comes back at its address."""
    port = free_port()
    relay = Process(serve, port, "")
    sides = [Process(talk, relay.first, ()) for _ in range(2)]
    found = []
    for _ in range(rounds):
        time.sleep(1.0)
        relay.kill()
        time.sleep(AWAY_S)
        relay = Process(serve, port, "")
        found.append(silent_s(sides, time.monotonic()))
    for process in (*sides, relay):
        process.kill()
    return found


def moves(rounds: int) -> list[float]:
    """One of two relays dies for good: the side that was there goes to the other."""
    found = []
    with nats_server() as nats:
        for _ in range(rounds):
            one, two = Process(serve, 0, nats), Process(serve, 0, nats)
            sides = [Process(talk, one.first, (two.first,)), Process(talk, two.first, (one.first,))]
            time.sleep(2.0)
            one.kill()
            found.append(silent_s(sides, time.monotonic()))
            for process in (*sides, two):
                process.kill()
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="deaths of a relay, at most 50")
    parser.add_argument("--alternate", action="store_true", help="two relays over NATS, and no return")
    options = parser.parse_args()
    if not 1 <= options.rounds <= 50:
        parser.error("rounds must be 1 to 50")
    found = moves(options.rounds) if options.alternate else returns(options.rounds)
    p50_s, p95_s = (round(float(np.percentile(found, share)), 3) for share in (50, 95))
    result = {
        "rounds": len(found),
        "p50_s": p50_s,
        "p95_s": p95_s,
        "max_s": round(max(found), 3),
        "budget_s": BUDGET_S,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
