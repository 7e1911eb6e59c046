"""pipecat: a serializer that sends speech as packets in place of PCM, for both ends of a websocket.

Give it to a websocket transport (``FastAPIWebsocketParams(serializer=StreamcodecSerializer())``, or a client's).
Binary messages are sound (:mod:`streamcodec.adapters.messages`), text messages are JSON. https://docs.pipecat.ai
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np

from streamcodec.adapters.messages import MessageDecoder, MessageEncoder
from streamcodec.codec.options import check_sample_rate
from streamcodec.errors import AudioFormatError, PacketError
from streamcodec.extras import extra_imports

with extra_imports("pipecat"):
    from pipecat.frames.frames import (
        AudioRawFrame,
        CancelFrame,
        EndFrame,
        Frame,
        InputAudioRawFrame,
        InputTransportMessageFrame,
        InterruptionFrame,
        OutputTransportMessageFrame,
        OutputTransportMessageUrgentFrame,
    )
    from pipecat.serializers.base_serializer import FrameSerializer

INTERRUPTION = "interruption"
WAV_HEADER_BYTES = 44
"""What pipecat's client transport puts before every piece of sound unless it is told not to (``add_wav_header``)."""


class StreamcodecSerializer(FrameSerializer):  # type: ignore[misc]
    """Sound as packets of ``bitrate_bps``; interruptions and transport messages as JSON text.

    ``packet_ms`` is the length of a packet: 40 ms, as long as the pieces that pipecat's transports write, unless said
    otherwise. ``sample_rate_hz`` is the rate of the sound that comes out, the pipeline's input rate where it is None.
    What the other side coded at any rate is decoded to it. Sound that does not fill a packet waits for what comes
    next; the end of the pipeline sends it. Errors: AudioFormatError, BitrateError.
    """

    def __init__(
        self,
        bitrate_bps: float | None = None,
        *,
        packet_ms: int = 40,
        sample_rate_hz: int | None = None,
        params: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(params)
        self._encoding = {"bitrate_bps": bitrate_bps, "packet_ms": packet_ms, **options}
        self._model = {key: options[key] for key in ("model", "backend") if key in options}
        self._rate_hz = sample_rate_hz
        self._setting_up, self._rates_hz = asyncio.Lock(), (0, 0)
        self._encoder: MessageEncoder | None = None
        self._decoder: MessageDecoder | None = None

    async def setup(self, setup: Any) -> None:
        """Load the codec for the pipeline's rates, off the event loop.

        A transport's input and output both ask for it; the second finds what the first has loaded, for by then sound
        may have been decoded.
        """
        async with self._setting_up:
            self._rate_hz = check_sample_rate(self._rate_hz or setup.audio_in_sample_rate)
            rates_hz = (self._rate_hz, setup.audio_out_sample_rate or self._rate_hz)
            if rates_hz != self._rates_hz:
                self._encoder = await asyncio.to_thread(MessageEncoder, rates_hz[1], **self._encoding)
                self._decoder = await asyncio.to_thread(MessageDecoder, rates_hz[0], **self._model)
                self._rates_hz = rates_hz

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """A message for a frame: None where it carries nothing, or its sound fills no packet yet."""
        if isinstance(frame, AudioRawFrame):
            return self._coded(frame) or None
        if isinstance(frame, EndFrame | CancelFrame):
            return (self._encoder.flush() or None) if self._encoder is not None else None
        if isinstance(frame, InterruptionFrame):
            return json.dumps({"type": INTERRUPTION})
        if isinstance(frame, OutputTransportMessageFrame | OutputTransportMessageUrgentFrame):
            return None if self.should_ignore_frame(frame) else json.dumps({"type": "message", "data": frame.message})
        return None

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """The frame of a message; None for what is none of this serializer's."""
        if isinstance(data, str):
            return _of_text(data)
        if self._decoder is None:
            self._decoder = MessageDecoder(self._rate_hz or 16_000, **self._model)
        try:
            sound = self._decoder.push_int16(data)
        except PacketError:
            return None
        return InputAudioRawFrame(sound, self._decoder.stream.sample_rate_hz, 1) if sound else None

    def _coded(self, frame: AudioRawFrame) -> bytes:
        if self._encoder is None:
            self._encoder = MessageEncoder(check_sample_rate(frame.sample_rate), **self._encoding)
        rate_hz = self._encoder.stream.sample_rate_hz
        if frame.sample_rate != rate_hz:
            raise AudioFormatError(
                f"a frame has {frame.sample_rate} samples per second where the pipeline's output has {rate_hz}: "
                "resample before the transport"
            )
        audio = frame.audio
        if audio[:4] == b"RIFF" and audio[8:16] == b"WAVEfmt ":
            audio = audio[WAV_HEADER_BYTES:]
        return self._encoder.push(np.frombuffer(audio, "<i2").reshape(-1, frame.num_channels))


def _of_text(text: str) -> Frame | None:
    try:
        message = json.loads(text)
    except ValueError:
        return None
    kind = message.get("type") if isinstance(message, dict) else None
    if kind == INTERRUPTION:
        return InterruptionFrame()
    return InputTransportMessageFrame(message=message.get("data")) if kind == "message" else None
