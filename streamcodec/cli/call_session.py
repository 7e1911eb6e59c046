"""One stay in a room, shared by ``call``, ``send`` and ``listen``: paced sound in and out, and what happened."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamcodec.cli.call_sound import DeviceSink, DeviceSource, FileSink, FileSource, Sink, Source
from streamcodec.cli.common import add_model_argument, add_packet_argument, device, need, positive, print_json
from streamcodec.cli.network import add_room_arguments, room_config, run_network, stop_on_signals
from streamcodec.errors import StreamcodecError
from streamcodec.live import DuplexSound

if TYPE_CHECKING:
    from streamcodec import StreamEncoder
    from streamcodec.net.call import Call, PeerStats
    from streamcodec.net.room import RoomConfig

DEVICE_RATE_HZ = 48_000
FILE_RATE_HZ = 24_000
"""Of a file that is written where none is read."""
BLOCK_S = 0.01
LOOK_EVERY_BLOCKS = 20
TAIL_S = 1.0
"""How long a scripted call goes on after its sound, so that the others hear the end of it."""


@dataclass(frozen=True)
class Stay:
    """How to spend the time in the room."""

    source: Source | None
    sink: Sink | None
    sample_rate_hz: int
    wait_s: float
    """How long to wait for somebody before the sound begins; a call on devices waits for ever."""
    seconds: float | None
    """How long to stay after that; None: to the end of the source and a little more, or until everybody has left."""


def add_session_arguments(parser: argparse.ArgumentParser, *, speaks: bool, hears: bool) -> None:
    """Arguments of a command that goes into a room."""
    add_room_arguments(parser)
    if speaks:
        parser.add_argument("--input", metavar="FILE", help="sound file to send in place of the microphone")
        parser.add_argument("--kbps", type=positive, default=6.0, help="highest payload rate in kbps (default 6)")
        add_packet_argument(parser, "default 20")
        parser.add_argument("--dtx", action="store_true", help="send next to nothing while there is only background")
    if hears:
        parser.add_argument("--output", metavar="FILE", help="sound file to write in place of the loudspeaker")
    parser.add_argument("--input-device", type=device, help="microphone: number or part of its name")
    parser.add_argument("--output-device", type=device, help="loudspeaker: number or part of its name")
    parser.add_argument(
        "--wait", type=positive, default=60.0, metavar="S", help="with files: longest wait for others (60)"
    )
    parser.add_argument("--seconds", type=positive, metavar="S", help="stay this long once somebody is there")
    parser.add_argument("--json", action="store_true", help="print figures as JSON at the end")
    add_model_argument(parser)


def run_session(options: argparse.Namespace, *, speaks: bool, hears: bool) -> None:
    """Go into the room, stay, leave, say what happened."""
    need("websockets")
    need("aiortc")
    config = room_config(options)
    spoken = options.input if speaks else None
    heard = options.output if hears else None
    with contextlib.ExitStack() as opened:
        source: Source | None = None
        sink: Sink | None = None
        rate_hz = DEVICE_RATE_HZ
        if spoken:
            source = file = FileSource(spoken)
            rate_hz = file.sample_rate_hz
        elif heard:
            rate_hz = FILE_RATE_HZ
        # Loading and compiling come before the devices start: they would starve them.
        encoder = _encoder(options, rate_hz)
        if (speaks and not spoken) or (hears and not heard):
            sound = opened.enter_context(DuplexSound(rate_hz, options.input_device, options.output_device))
            source = DeviceSource(sound) if speaks and not spoken else source
            sink = DeviceSink(sound) if hears and not heard else None
        if heard:
            sink = FileSink(heard, rate_hz)
            opened.callback(sink.close)
        stay = Stay(source, sink, rate_hz, options.wait if spoken or heard else math.inf, options.seconds)
        run_network(_main(options, config, stay, encoder), options.server)


def _encoder(options: argparse.Namespace, rate_hz: int) -> StreamEncoder:
    from streamcodec import StreamEncoder

    if "kbps" not in options:
        return StreamEncoder(rate_hz, model=options.model)
    return StreamEncoder(
        rate_hz, 1_000 * options.kbps, dtx=options.dtx, model=options.model, packet_ms=options.packet_ms
    )


async def _main(options: argparse.Namespace, config: RoomConfig, stay: Stay, encoder: StreamEncoder) -> None:
    from streamcodec import StreamDecoder
    from streamcodec.net.call import Call, CallConfig
    from streamcodec.net.congestion import CongestionConfig

    stop = stop_on_signals()
    rates = CongestionConfig()
    if "kbps" in options:
        highest_bps = round(1_000 * options.kbps)
        rates = CongestionConfig(
            minimum_bps=min(rates.minimum_bps, highest_bps), start_bps=highest_bps, maximum_bps=highest_bps
        )
    call = Call(
        CallConfig(config, stay.sample_rate_hz, rates),
        encoder,
        lambda: StreamDecoder(stay.sample_rate_hz, model=options.model),
        encoder.coarser,
    )
    session = Session(call, stay, stop)
    async with call:
        print(f"in room {options.room}; Ctrl-C leaves", file=sys.stderr)
        await session.run()
    if options.json:
        print_json(session.figures())
    else:
        print(session.summary())


class Session:
    """Moves sound between a call and its source and sink in real time, and keeps count of who was there."""

    def __init__(self, call: Call, stay: Stay, stop: asyncio.Event) -> None:
        self._call = call
        self._stay = stay
        self._stop = stop
        self._seen: dict[str, PeerStats] = {}
        self._here: set[str] = set()
        self._seconds = 0.0

    async def run(self) -> None:
        """Wait for somebody, then talk and listen to the end; raises StreamcodecError."""
        start_s = time.monotonic()
        while not self._call.peers and not self._stop.is_set():
            self._check()
            if time.monotonic() - start_s > self._stay.wait_s:
                raise StreamcodecError(f"nobody else came within {self._stay.wait_s:g} s")
            await asyncio.sleep(0.02)
        await self._talk()
        self._look()

    async def _talk(self) -> None:
        stay, block = self._stay, round(BLOCK_S * self._stay.sample_rate_hz)
        block_s = block / stay.sample_rate_hz
        start_s = time.monotonic()
        silence = np.zeros(block, np.float32)
        if stay.source is not None:
            # What a microphone heard while nobody was there is nobody's business.
            stay.source.read(0)
        end_s = stay.seconds
        index = 0
        while not self._stop.is_set() and (end_s is None or self._seconds < end_s):
            # Late blocks are made up for at once; the pace is that of the clock, whatever a block costs.
            await asyncio.sleep(max(0.0, start_s + index * block_s - time.monotonic()))
            if stay.source is not None:
                samples = stay.source.read(block)
                if samples is None and end_s is None:
                    end_s = self._seconds + TAIL_S
                # A speaker who has finished is still there.
                self._call.push(silence if samples is None else samples)
            heard = self._call.pull(block if stay.sink is None else stay.sink.wanted(block))
            if stay.sink is not None:
                stay.sink.write(heard)
            if index % LOOK_EVERY_BLOCKS == 0:
                self._look()
                if stay.source is None and end_s is None and not self._here:
                    return
            index += 1
            self._seconds = index * block_s

    def _check(self) -> None:
        if self._call.failed is not None:
            raise self._call.failed

    def _look(self) -> None:
        """Note who is there, and say who came and went."""
        self._check()
        peers = self._call.peers
        for identity in peers.keys() - self._here:
            print(f"{peers[identity].name or 'somebody'} is here", file=sys.stderr)
        for identity in self._here - peers.keys():
            print(f"{self._seen[identity].name or 'somebody'} has left", file=sys.stderr)
        self._here = set(peers)
        for identity, peer in peers.items():
            # Somebody on their way out has no path any more; the one that there was is what tells.
            known = self._seen.get(identity)
            self._seen[identity] = replace(peer, path=known.path) if known and peer.path == "none" else peer

    def figures(self) -> dict[str, Any]:
        """What was sent, and what was received from whom."""
        sent = self._call.sender_stats
        seconds = max(self._seconds, BLOCK_S)
        return {
            "seconds": round(self._seconds, 3),
            "sent": {
                "packets": sent.packets,
                "payload_bytes": sent.payload_bytes,
                "wire_bytes": sent.wire_bytes,
                "payload_kbps": round(0.008 * sent.payload_bytes / seconds, 3),
                "wire_kbps": round(0.008 * sent.wire_bytes / seconds, 3),
            },
            "peers": [
                {
                    "name": peer.name,
                    "path": peer.path,
                    "round_trip_ms": peer.round_trip_ms,
                    "received": peer.stream.jitter.received,
                    "late": peer.stream.jitter.late,
                    "lost": peer.stream.jitter.lost,
                    "recovered": peer.stream.jitter.recovered,
                    "concealed": peer.stream.jitter.concealed,
                    "damaged": peer.stream.damaged,
                }
                for peer in self._seen.values()
            ],
        }

    def summary(self) -> str:
        """The same in a few lines."""
        figures = self.figures()
        sent = figures["sent"]
        lines = [
            f"{figures['seconds']:.1f} s; sent {sent['packets']} packets, {sent['payload_kbps']:.2f} kbps payload, "
            f"{sent['wire_kbps']:.1f} kbps on the wire"
        ]
        lines += [
            f"{peer['name'] or 'somebody'} ({peer['path']}): {peer['received']} packets, {peer['lost']} lost, "
            f"{peer['recovered']} recovered, {peer['late']} late, {peer['concealed']} concealed"
            for peer in figures["peers"]
        ]
        return "\n".join(lines)
