"""LiveKit: a streamcodec call, file or line of messages brought into a track, and a track brought back.

The classes are those of LiveKit's Python SDK (``livekit.rtc``): an ``AudioSource`` that takes sound and an
``AudioStream`` that gives it. https://docs.livekit.io
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.adapters.coded_bytes import facts_of
from streamcodec.adapters.messages import MessageDecoder, MessageEncoder
from streamcodec.codec.audio_format import to_int16
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.decoding import decode_with_gaps, decoder_for
from streamcodec.codec.files.sound_file import open_binary
from streamcodec.codec.options import FRAME_MS
from streamcodec.extras import extra_imports

with extra_imports("livekit"):
    from livekit import rtc

if TYPE_CHECKING:
    from streamcodec.net.tracks import Listener, Speaker


async def play_file(path: str | Path, source: rtc.AudioSource) -> None:
    """Play a ``.sc`` file into a source, as fast as it takes it: the source's queue is what paces.

    Errors: AudioFormatError where the file's sound cannot come at the source's rate, FileFormatError.
    """
    header = facts_of(path).header
    decoder = decoder_for(header, source.sample_rate)
    with open_binary(path) as file:
        for block in decode_with_gaps(decoder, FileReader(file).packets()):
            await source.capture_frame(as_frame(block, source, header.bits_per_sample))
    await source.wait_for_playout()


async def play_messages(messages: AsyncIterator[bytes], source: rtc.AudioSource, **options: Any) -> None:
    """Play messages of packets, of a websocket for example, into a source until they end."""
    decoder = MessageDecoder(source.sample_rate, **options)
    async for message in messages:
        sound = decoder.push(message)
        if len(sound):
            await source.capture_frame(as_frame(sound, source, decoder.stream.settings.bits_per_sample))


async def play_call(speaker: Speaker, source: rtc.AudioSource) -> None:
    """Play what a streamcodec call sounds like into a source; it goes on until it is cancelled.

    The source's queue (``queue_size_ms``, 1 s unless said otherwise) paces it and is delay: make it short.
    """
    samples = source.sample_rate * FRAME_MS // 1_000
    while True:
        await source.capture_frame(as_frame(await speaker.pull(samples), source, 16))


async def feed(listener: Listener, stream: rtc.AudioStream) -> None:
    """Push a track's sound into a streamcodec call until the track ends; the stream must be of the call's rate."""
    async for event in stream:
        listener.push(_samples(event.frame))


async def messages_of(
    stream: rtc.AudioStream, bitrate_bps: float | None = None, **options: Any
) -> AsyncIterator[bytes]:
    """A track's sound as messages of packets, as it comes; ``options`` as for StreamEncoder."""
    encoder: MessageEncoder | None = None
    async for event in stream:
        if encoder is None:
            encoder = MessageEncoder(event.frame.sample_rate, bitrate_bps, **options)
        message = encoder.push(_samples(event.frame))
        if message:
            yield message
    if encoder is not None:
        yield encoder.flush()


def as_frame(samples: NDArray[Any], source: rtc.AudioSource, bits_per_sample: int) -> rtc.AudioFrame:
    """A frame for a source, whose channels all get mono sound; integers are samples of so many bits.

    Shape: ``[n]`` or ``[n, channels]``.
    """
    plane = to_int16(samples, bits_per_sample)
    plane = plane[:, np.newaxis] if plane.ndim == 1 else plane
    if plane.shape[1] == 1 and source.num_channels > 1:
        plane = np.repeat(plane, source.num_channels, axis=1)
    data = np.ascontiguousarray(plane).tobytes()
    return rtc.AudioFrame(data, source.sample_rate, plane.shape[1], len(plane))


def _samples(frame: rtc.AudioFrame) -> NDArray[np.float32]:
    """Mono floats of a frame.

    Shape: output ``[n]``.
    """
    plane = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels)
    return np.asarray(plane.mean(axis=1, dtype=np.float32) / np.float32(32_768.0), np.float32)
