"""What probes look at: frozen latents of the shipped codec, and log-mel frames of the same shape to compare with."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.latents import latents as latents_of_sound
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.encoder import NeuralEncoder
from streamcodec.codec.neural.model import NeuralModel, load_runtime
from streamcodec.codec.options import NeuralOptions
from streamcodec.codec.packet import SEQUENCE_MODULUS, Packet, Tier
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.models.spectrum import mel_matrix

Features = NDArray[np.float32]
SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 480
MEL_BANDS = 96
MEL_FFT_SAMPLES = 1024
MEL_FLOOR = 1e-3
CODED_BITRATE_BPS = 6_000


def latents(samples: Features) -> Features:
    """Latents of the shipped encoder before quantisation, one row per frame.

    Shape: ``[frames * 480]`` at 24 kHz -> ``[frames, 96]``.
    """
    return latents_of_sound(samples, SAMPLE_RATE_HZ)


def coded_latents(samples: Features) -> Features:
    """Latents as a decoder gets them at 6 kbps, every packet decodable alone.

    Shape: ``[frames * 480]`` at 24 kHz -> ``[frames, 96]``.
    """
    runtime: NeuralModel = load_runtime(DEFAULT_MODEL)
    encoder, decoder = (
        NeuralEncoder(NeuralOptions(SAMPLE_RATE_HZ, CODED_BITRATE_BPS), runtime),
        NeuralDecoder(runtime),
    )
    rows = []
    for number, block in enumerate(samples.reshape(-1, FRAME_SAMPLES)):
        coded = encoder.encode(block)
        assert coded is not None
        time = number % SEQUENCE_MODULUS
        packet = Packet(Tier.NEURAL, time, time, coded.quality_index, coded.flags, coded.payload)
        rows.append(decoder.latents_of(packet))
    return np.stack(rows)


@lru_cache(maxsize=1)
def _mel() -> Features:
    return mel_matrix(SAMPLE_RATE_HZ, MEL_FFT_SAMPLES, MEL_BANDS)


def log_mel(samples: Features) -> Features:
    """Log-mel magnitudes of Hann windows that end with each frame: as many rows and columns as latents.

    Shape: ``[frames * 480]`` at 24 kHz -> ``[frames, 96]``.
    """
    padded = np.pad(samples, (MEL_FFT_SAMPLES - FRAME_SAMPLES, 0))
    frames = np.lib.stride_tricks.sliding_window_view(padded, MEL_FFT_SAMPLES)[::FRAME_SAMPLES]
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(MEL_FFT_SAMPLES)))
    return np.asarray(np.log(magnitude @ _mel().T + MEL_FLOOR), np.float32)


FEATURES: dict[str, Callable[[Features], Features]] = {
    "latents": latents,
    "latents at 6 kbps": coded_latents,
    "log-mel": log_mel,
}
"""By the name that tables use."""
