"""FastRTC: a handler that puts a coded line between a browser and whatever speaks messages of packets.

``Stream(CodedLine(lambda: websockets.connect(url)), modality="audio", mode="send-receive")``: each visitor gets a
connection of its own. https://fastrtc.org
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.adapters.messages import MessageDecoder, MessageEncoder
from streamcodec.codec.audio_format import to_int16
from streamcodec.errors import PacketError
from streamcodec.extras import extra_imports

# FastRTC stands on Gradio, which reports its use unless this stands before it is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
with extra_imports("fastrtc"):
    from fastrtc import AsyncStreamHandler


class CodedLine(AsyncStreamHandler):  # type: ignore[misc]
    """Sound of a visitor as messages to ``connect()``'s connection, and its messages as sound to the visitor.

    ``connect`` gives an async context of something with ``send(bytes)`` and ``recv()``, as ``websockets.connect``
    does. ``options`` as for :class:`~streamcodec.StreamEncoder`. The line is coded at ``sample_rate_hz``; FastRTC
    resamples on both sides.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        bitrate_bps: float | None = None,
        *,
        sample_rate_hz: int = 24_000,
        **options: Any,
    ) -> None:
        super().__init__("mono", output_sample_rate=sample_rate_hz, input_sample_rate=sample_rate_hz)
        self._connect, self._options = connect, {"bitrate_bps": bitrate_bps, **options}
        self._rate_hz = sample_rate_hz
        self._opened = AsyncExitStack()
        self._ready = asyncio.Event()
        self._line: Any = None

    def copy(self) -> CodedLine:
        """A handler for another visitor."""
        return CodedLine(self._connect, sample_rate_hz=self._rate_hz, **self._options)

    async def start_up(self) -> None:
        """Load the codec off the event loop and open the line."""
        model = {key: self._options[key] for key in ("model", "backend") if key in self._options}
        self._encoder = await asyncio.to_thread(MessageEncoder, self._rate_hz, **self._options)
        self._decoder = await asyncio.to_thread(MessageDecoder, self._rate_hz, **model)
        self._line = await self._opened.enter_async_context(self._connect())
        self._ready.set()

    async def receive(self, frame: tuple[int, NDArray[np.int16]]) -> None:
        """Send what the visitor says; dropped until the line is open.

        Shape: ``(rate, [1, n])``.
        """
        if self._ready.is_set():
            message = self._encoder.push(np.ascontiguousarray(frame[1].reshape(-1)))
            if message:
                await self._line.send(message)

    async def emit(self) -> tuple[int, NDArray[np.int16]] | None:
        """The next sound for the visitor; None where a message holds none.

        Shape: ``(rate, [1, n])``.
        """
        await self._ready.wait()
        try:
            message = await self._line.recv()
        except Exception:
            if self._ready.is_set():
                raise
            return None
        if isinstance(message, str):
            return None
        try:
            sound = to_int16(self._decoder.push(message), self._decoder.stream.settings.bits_per_sample)
        except PacketError:
            return None
        return (self._rate_hz, sound[np.newaxis]) if sound.size else None

    async def shutdown(self) -> None:
        """Close the line when the visitor has gone; what is still waited for on it ends without an error."""
        self._ready.clear()
        await self._opened.aclose()
