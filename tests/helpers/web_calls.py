"""What pages of browsers talk to: a relay with its page, and a Python peer that speaks."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.codec.bitstream import bitstream_of
from streamcodec.codec.float_stream import FloatEncoder
from streamcodec.codec.options import DEFAULT_MODEL, TierName, tier_of
from streamcodec.net.call import Call, CallConfig
from streamcodec.net.client import ClientConfig
from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.media import MediaConfig
from streamcodec.net.room import RoomConfig

ROOT = Path(__file__).parents[2]
RATE_HZ = 24_000
BLOCK = RATE_HZ // 50


def serve() -> tuple[subprocess.Popen[str], str]:
    """``streamcodec serve --web`` as a process of its own, and its address."""
    command = [sys.executable, "-m", "streamcodec", "serve", "--web", "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("ws://")
    return process, url


class PythonPeer(threading.Thread):
    """A Python peer that speaks, and keeps what it hears; loses a share of what it sends."""

    def __init__(
        self,
        url: str,
        room: str,
        speech: NDArray[np.float32],
        loss: float = 0.0,
        tier: TierName = "neural",
        **room_config: Any,
    ) -> None:
        super().__init__(daemon=True)
        self._loss, self._random = loss, random.Random(5)
        self._speech = speech
        self._tier = tier
        client = ClientConfig(url, room, name="Py", bitstream=bitstream_of(tier_of(tier), DEFAULT_MODEL))
        congestion = CongestionConfig(start_bps=6_000, maximum_bps=6_000) if tier == "neural" else None
        self._config = CallConfig(RoomConfig(client, **room_config), MediaConfig(RATE_HZ, congestion=congestion))
        self._ending = threading.Event()
        self.heard: list[NDArray[np.float32]] = []
        self.peers: dict[str, Any] = {}
        self.redundancy = 0
        self.start()

    def run(self) -> None:
        asyncio.run(self._talk())

    def end(self) -> None:
        self._ending.set()
        self.join(10.0)
        assert not self.is_alive()

    def _lost(self) -> bool:
        return self._random.random() < self._loss

    async def _talk(self) -> None:
        if self._tier == "neural":
            encoder: Any = StreamEncoder(RATE_HZ, 6_000, backend="compiled")
        else:
            encoder = FloatEncoder(StreamEncoder(RATE_HZ, tier=self._tier, key_period_s=0.5))

        def make_decoder() -> StreamDecoder:
            return StreamDecoder(RATE_HZ, backend="compiled")

        call = Call(self._config, encoder, make_decoder, encoder.encode_redundant if self._tier == "neural" else None)
        send = call._send
        call._send = lambda all_: send([each for each in all_ if not self._lost()])  # type: ignore[method-assign]
        async with call:
            loop = asyncio.get_running_loop()
            start_s, blocks = loop.time(), len(self._speech) // BLOCK
            tick = 0
            while not self._ending.is_set():
                at = tick % blocks * BLOCK
                call.push(self._speech[at : at + BLOCK], live=True)
                self.heard.append(await call.pull(BLOCK))
                self.peers = call.peers
                rate = call.sender_stats.rate
                self.redundancy = 0 if rate is None else max(self.redundancy, rate.redundancy)
                tick += 1
                await asyncio.sleep(max(0.0, start_s + 0.02 * tick - loop.time()))
