"""Band-gain calibration: how loud each band of decoded sound is beside the original at each quality index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.model import NeuralModel
from streamcodec.models.spectrum import mel_matrix
from streamcodec.training.coded_rate import independent_packets

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

BANDS = 24
FFT_SAMPLES, HOP_SAMPLES = 1024, 256
FRAME_RANGE_DB, BAND_RANGE_DB = 40.0, 60.0
"""Frames so far below a clip's loudest band, and bands so far below it, are pauses and missing bandwidth."""
FLOOR_POWER = 1e-9
LARGEST_BAND_GAIN_DB = 4.0
"""What is further off than this is not for a gain to mend."""


def band_centres_hz(sample_rate_hz: int) -> Float64Array:
    """Where the bands lie.

    Shape: output ``[BANDS]``.
    """
    peaks = mel_matrix(sample_rate_hz, FFT_SAMPLES, BANDS).argmax(axis=1)
    return np.asarray(peaks * (sample_rate_hz / FFT_SAMPLES), np.float64)


def band_powers_db(samples: Float32Array, sample_rate_hz: int) -> Float64Array:
    """Power of each band over time.

    Shape: ``[n]`` -> ``[frames, BANDS]``.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, FFT_SAMPLES)[::HOP_SAMPLES] * np.hanning(FFT_SAMPLES)
    power = np.abs(np.fft.rfft(frames)) ** 2 @ mel_matrix(sample_rate_hz, FFT_SAMPLES, BANDS).T
    return np.asarray(10.0 * np.log10(np.maximum(power, FLOOR_POWER)), np.float64)


def measure_band_gains_db(
    runtime: NeuralModel, clips: Sequence[Float32Array], latents: Sequence[Float32Array]
) -> Float64Array:
    """By how much the decoded sound is louder than the original, mean over time of the difference in decibels.

    Little is known of a band at coarse qualities, and the middle of what it may hold is quieter than its mean: the
    decoder errs towards silence, the more so the less it is told.

    Shape: clips ``[n]`` at the model's rate, latents as :func:`~streamcodec.training.coded_rate.latents_of` gives
    them -> ``[qualities, BANDS]``.
    """
    config = runtime.model.config
    sums = np.zeros((config.qualities, BANDS))
    counts = np.zeros(BANDS)
    lag = config.overlap_samples
    for clip, packets in zip(clips, latents, strict=True):
        length = len(packets) * config.frame_samples - lag
        wanted = band_powers_db(clip[:length], config.sample_rate_hz)
        loudest = wanted.max()
        active = (wanted.max(axis=1, keepdims=True) > loudest - FRAME_RANGE_DB) & (wanted > loudest - BAND_RANGE_DB)
        counts += active.sum(axis=0)
        for quality_index in range(config.qualities):
            found = band_powers_db(_decoded(runtime, packets, quality_index)[lag:], config.sample_rate_hz)
            sums[quality_index] += ((found - wanted) * active).sum(axis=0)
    return np.asarray(sums / np.maximum(counts, 1.0), np.float64)


def _decoded(runtime: NeuralModel, latents: Float32Array, quality_index: int) -> Float32Array:
    decoder = NeuralDecoder(runtime)
    return np.concatenate(
        [decoder.decode(packet)[0] for packet in independent_packets(runtime, latents, quality_index)]
    )
