"""Distances between spectra: log-spectral and mel."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import Samples
from streamcodec.evaluation.errors import UnscorableError

FFT_SAMPLES = 1024
HOP_SAMPLES = 256
MEL_BANDS = 80
MEL_FLOOR = 1e-5
LSD_FLOOR_DB = -80.0


def magnitudes(samples: Samples, hop_samples: int = HOP_SAMPLES) -> NDArray[np.float64]:
    """Magnitude spectra of centred, periodic-Hann frames, the ends padded with silence.

    Shape: input ``[samples]``, output ``[1 + samples // hop_samples, 513]``.
    """
    if not len(samples):
        raise UnscorableError("The two sounds share no samples after delay removal.")
    window = np.hanning(FFT_SAMPLES + 1)[:-1]
    padded = np.pad(samples, FFT_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::hop_samples]
    return np.abs(np.fft.rfft(frames * window))


def _mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's mel scale (Auditory Toolbox): linear to 1 kHz, then 27 steps per factor 6.4."""
    above = 15.0 + np.log(np.maximum(frequency_hz, 1000.0) / 1000.0) * 27.0 / np.log(6.4)
    return np.where(frequency_hz < 1000.0, frequency_hz * 3.0 / 200.0, above)


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of :func:`_mel`."""
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0))


def mel_filters(sample_rate_hz: int) -> NDArray[np.float64]:
    """Triangular mel filters of equal area, from 0 Hz to half the rate.

    Shape: output ``[80, 513]``.
    """
    return slaney_filters(sample_rate_hz, FFT_SAMPLES, MEL_BANDS)


@functools.cache
def slaney_filters(sample_rate_hz: int, fft_samples: int, bands: int) -> NDArray[np.float64]:
    """The same for other transforms.

    Shape: output ``[bands, fft_samples // 2 + 1]``.
    """
    edges = _hz(np.linspace(0.0, _mel(np.array([sample_rate_hz / 2.0]))[0], bands + 2))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(fft_samples // 2 + 1) * sample_rate_hz / fft_samples
    triangles = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    return np.asarray(triangles * 2.0 / (high - low))


def mel_distance(reference: Samples, decoded: Samples, sample_rate_hz: int) -> float:
    """Mean absolute difference of log10 mel magnitudes, floored at 1e-5.

    Shape: inputs ``[samples]``, aligned.
    """
    filters = mel_filters(sample_rate_hz).T
    first, second = (np.log10(np.maximum(magnitudes(x) @ filters, MEL_FLOOR)) for x in (reference, decoded))
    return float(np.mean(np.abs(first - second)))


def log_spectral_distance(reference: Samples, decoded: Samples) -> float:
    """Log-spectral distance in dB: root mean square over bins, mean over frames, magnitudes floored at -80 dB.

    0 dB is a magnitude of 1 in an unnormalised transform of full scale 1.

    Shape: inputs ``[samples]``, aligned.
    """
    return _rms_log_distance(reference, decoded, HOP_SAMPLES)


def spectral_distortion(reference: Samples, decoded: Samples) -> float:
    """Root-mean-square log spectral distance in dB (Gray and Markel, 1976).

    Frames of 1,024 with half overlap at the sound's own rate, as the near-lossless autoencoders are reported with.

    Shape: inputs ``[samples]``, aligned.
    """
    return _rms_log_distance(reference, decoded, FFT_SAMPLES // 2)


def _rms_log_distance(reference: Samples, decoded: Samples, hop_samples: int) -> float:
    """Root mean square over bins, mean over frames, in dB, magnitudes floored."""
    floor = 10.0 ** (LSD_FLOOR_DB / 20.0)
    first, second = (20.0 * np.log10(np.maximum(magnitudes(x, hop_samples), floor)) for x in (reference, decoded))
    return float(np.mean(np.sqrt(np.mean((first - second) ** 2, axis=1))))
