"""One peer of a call as a process of its own: sends packets, counts what it hears, prints one line of JSON.

Arguments: relay URL, room, room key in hex (or ``-``), number of packets, and ``direct`` to wait for a direct line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from streamcodec.codec.packet import Packet
from streamcodec.errors import PacketError
from streamcodec.net.client import ClientConfig
from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.jitter_types import Play
from streamcodec.net.room import Room, RoomConfig
from streamcodec.net.webrtc import WebRtcConfig
from tests.helpers.simulation import packet

READY = b"ready"
ETHERNET_BYTES = 14


def device_bytes(name: str = "veth0") -> tuple[int, int] | None:
    """Bytes of IP packets (sent, received) of a network device since it was made; None where there is none."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        device, _, fields = line.partition(":")
        if device.strip() == name:
            values = [int(field) for field in fields.split()]
            return values[8] - ETHERNET_BYTES * values[9], values[0] - ETHERNET_BYTES * values[1]
    return None


async def main(url: str, room_name: str, key: str, count: int, direct: bool) -> None:
    buffer = JitterBuffer()
    heard: list[bytes] = []
    damaged = 0
    begin = asyncio.Event()

    def receive(identity: str, datagram: bytes) -> None:
        nonlocal damaged
        if datagram == READY:
            begin.set()
            return
        try:
            buffer.put(Packet.from_bytes(datagram), time.monotonic() * 1_000.0)
        except PacketError:
            damaged += 1

    config = RoomConfig(
        ClientConfig(url, room_name),
        room_key=None if key == "-" else bytes.fromhex(key),
        webrtc=WebRtcConfig() if direct else None,
    )
    async with Room(config, receive) as room:
        while not room.peers or (direct and "direct" not in room.paths.values()):
            await asyncio.sleep(0.01)
        # Both begin together, however long either took to get here.
        while not begin.is_set():
            room.send(READY)
            await asyncio.sleep(0.02)
        for _ in range(5):
            room.send(READY)
        await asyncio.sleep(0.2)
        start_s = time.monotonic()
        device, meter = device_bytes(), room.wire_bytes
        for tick in range(count + 20):
            if tick == count:
                counted, metered = device_bytes(), room.wire_bytes
            if tick < count:
                room.send(packet(tick).to_bytes())
            decision = buffer.get(time.monotonic() * 1_000.0)
            if isinstance(decision, Play):
                heard.append(decision.packet.payload)
            await asyncio.sleep(max(0.0, start_s + 0.02 * (tick + 1) - time.monotonic()))
        stats = buffer.stats
        print(
            json.dumps(
                {
                    "heard": [payload.decode() for payload in heard],
                    "received": stats.received,
                    "lost": stats.lost,
                    "paths": list(room.paths.values()),
                    "damaged": damaged,
                    "unopened": room.stats.unopened,
                    "device_bytes": counted and device and [b - a for a, b in zip(device, counted, strict=True)],
                    "meter_bytes": [metered.sent - meter.sent, metered.received - meter.received],
                }
            )
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), "direct" in sys.argv[5:]))
