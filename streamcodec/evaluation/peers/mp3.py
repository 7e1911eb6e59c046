"""MP3 as a codec under test: LAME and FFmpeg's decoder, by PyAV."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.errors import EvaluationError, require
from streamcodec.evaluation.systems import Coded

RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
DELAY_SAMPLES = 576 + 529
"""LAME's encoder delay, and that of any decoder's filter bank; FFmpeg's decoder drops them."""


@dataclass(frozen=True)
class Mp3Peer:
    """Codes a clip at a constant bit rate, resampled to ``coded_hz`` if given; the delay is removed."""

    coded_hz: int | None = None

    def __call__(self, samples: NDArray[np.float32], sample_rate_hz: int, kbps: float) -> Coded:
        """Shape: samples ``[samples]``; decoded at the input's length, at ``coded_hz`` if given."""
        rate_hz = self.coded_hz or sample_rate_hz
        if rate_hz not in RATES_HZ:
            raise EvaluationError(f"MP3 has no rate of {rate_hz} Hz: choose from {', '.join(map(str, RATES_HZ))}.")
        av = require("av", "MP3")
        sound = resample(samples, sample_rate_hz, rate_hz).astype(np.float32)
        encoder = av.CodecContext.create("libmp3lame", "w")
        encoder.sample_rate, encoder.format, encoder.layout = rate_hz, "fltp", "mono"
        encoder.bit_rate = round(kbps * 1000)
        encoder.open()
        length = encoder.frame_size
        padding = -(len(sound) + DELAY_SAMPLES) % length + DELAY_SAMPLES + length
        packets = []
        for start, block in enumerate(np.pad(sound, (0, padding)).reshape(-1, 1, length)):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate_hz, start * length
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
        decoder = av.CodecContext.create("mp3float", "r")
        frames = [frame for packet in packets for frame in decoder.decode(packet)]
        decoded = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        payload_bytes = sum(packet.size for packet in packets)
        return Coded(
            samples=np.asarray(decoded[: len(sound)], np.float32),
            sample_rate_hz=rate_hz,
            payload_bytes=payload_bytes,
            packets=len(packets),
            wire_bytes=payload_bytes,
        )
