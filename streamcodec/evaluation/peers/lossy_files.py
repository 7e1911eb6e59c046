"""MP3 and AAC as codecs under test: LAME, FFmpeg's encoder of AAC, and FFmpeg's decoders, by PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.errors import EvaluationError, require
from streamcodec.evaluation.systems import Coded


@dataclass(frozen=True)
class LossyFilePeer:
    """Codes a clip at a constant bit rate, resampled to ``coded_hz`` if given; the delay is removed."""

    coded_hz: int | None = None

    title: ClassVar[str]
    encoder: ClassVar[str]
    decoder: ClassVar[str]
    rates_hz: ClassVar[tuple[int, ...]]
    delay_samples: ClassVar[int]
    """Of encoder and decoder together."""
    delay_is_dropped: ClassVar[bool]
    """By the decoder; else it comes out as samples before the sound."""

    def __call__(self, samples: NDArray[np.float32], sample_rate_hz: int, kbps: float) -> Coded:
        """Shape: samples ``[samples]``; decoded at the input's length, at ``coded_hz`` if given."""
        rate_hz = self.coded_hz or sample_rate_hz
        if rate_hz not in self.rates_hz:
            rates = ", ".join(map(str, self.rates_hz))
            raise EvaluationError(f"{self.title} has no rate of {rate_hz} Hz: choose from {rates}.")
        av = require("av", self.title)
        sound = resample(samples, sample_rate_hz, rate_hz).astype(np.float32)
        encoder = av.CodecContext.create(self.encoder, "w")
        encoder.sample_rate, encoder.format, encoder.layout = rate_hz, "fltp", "mono"
        encoder.bit_rate = round(kbps * 1000)
        encoder.open()
        length = encoder.frame_size
        padding = -(len(sound) + self.delay_samples) % length + self.delay_samples + length
        packets = []
        for start, block in enumerate(np.pad(sound, (0, padding)).reshape(-1, 1, length)):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate_hz, start * length
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
        decoder = av.CodecContext.create(self.decoder, "r")
        decoder.extradata = encoder.extradata
        frames = [frame for packet in packets for frame in decoder.decode(packet)]
        decoded = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        first = 0 if self.delay_is_dropped else self.delay_samples
        payload_bytes = sum(packet.size for packet in packets)
        return Coded(
            samples=np.asarray(decoded[first : first + len(sound)], np.float32),
            sample_rate_hz=rate_hz,
            payload_bytes=payload_bytes,
            packets=len(packets),
            wire_bytes=payload_bytes,
        )


class Mp3Peer(LossyFilePeer):
    """MP3 by LAME."""

    title, encoder, decoder = "MP3", "libmp3lame", "mp3float"
    rates_hz = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
    # LAME's, and that of any decoder's filter bank.
    delay_samples, delay_is_dropped = 576 + 529, True


class AacPeer(LossyFilePeer):
    """AAC-LC by FFmpeg."""

    title, encoder, decoder = "AAC", "aac", "aac"
    rates_hz = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
    delay_samples, delay_is_dropped = 1024, False
