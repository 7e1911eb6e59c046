"""The post-filter in training: gains as tensors, filters inside the pass, so that losses hear what listeners do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from native_dsp.filters.envelope_network import EnvelopeWeights, no_envelope_weights
from native_dsp.filters.post_filter import PostFilterParameters
from native_dsp.filters.temporal_envelope import TemporalWeights, no_temporal_weights
from native_dsp.transforms.windows import low_delay_pair
from streamcodec.codec.neural.post_filter import PostFilter
from streamcodec.codec.neural.synthesis import LEAST_OVERLAP
from streamcodec.models.codec import CodecOutput
from streamcodec.models.config import NeuralConfig
from streamcodec.training.band_gains import LARGEST_BAND_GAIN_DB, band_centres_hz
from streamcodec.training.schedule import QualityCurve, by_quality
from streamcodec.training.task import TrainingError

PITCH_STRENGTHS: QualityCurve = ((0.0, 4.0), (0.2, 4.0), (0.27, 1.4), (0.33, 1.2), (0.45, 0.7), (1.0, 0.6))
"""Strength of the pitch filter by quality where a recipe says nothing else."""
LOW_NOISE_GAINS: QualityCurve = ((0.0, 0.85), (0.35, 0.85), (0.53, 0.8), (1.0, 0.8))
"""Gain of the decoder's noise below ``NOISE_RAMP_HZ`` by quality, 0 coarsest to 1 finest, likewise."""
NOISE_RAMP_HZ = (3_000.0, 5_000.0)
TOPS_HZ = (10_580.0, 10_875.0, 11_430.0)
"""Up there the decoder has learnt little but constants, which come out as tones at multiples of its hop rate (11.5
kHz): from the first frequency on what it predicts is lowered, from the second on only its noise is heard, from the
third on nothing."""
PREDICTED_SHARE, NOISE_LIFT = 0.6, 1.2
LINE_REACH_HZ = 100.0
"""How far from a line what is predicted is lowered."""


def post_filter_parameters(
    config: NeuralConfig,
    low_noise_gains: QualityCurve = LOW_NOISE_GAINS,
    pitch_strengths: QualityCurve = PITCH_STRENGTHS,
    envelope: EnvelopeWeights | None = None,
    *,
    cut_top: bool = True,
) -> PostFilterParameters:
    """Parameters from a few curves over quality and from a fitted envelope filter.

    Trained on a distribution, the decoder draws as much noise as the original has; between the harmonics of a voice
    a little less is closer to the waveform and no duller, most of all at coarse qualities (figures in
    ``docs/research/index.md``). What :func:`calibrated` then undoes is how loud bands come out.

    ``cut_top`` leaves out what a decoder has not learnt at the top of the band (:data:`TOPS_HZ`); one in training
    still may.
    """
    bins_hz = np.arange(config.bins) * (config.sample_rate_hz / config.fft_samples)
    start_hz, end_hz = NOISE_RAMP_HZ
    rise = ((bins_hz - start_hz) / (end_hz - start_hz)).clip(0.0, 1.0)
    drawn = by_quality(low_noise_gains, config.qualities)
    low = np.append(drawn, drawn[0])[:, None]
    noise = low + (1.0 - low) * rise
    predicted, lift = top_of_band(bins_hz) if cut_top else (np.ones_like(bins_hz), np.ones_like(bins_hz))
    return PostFilterParameters(
        band_gains=_as_stored(np.ones((config.qualities + 1, 1)) * predicted),
        noise_gains=_as_stored(noise * lift),
        pitch_strengths=by_quality(pitch_strengths, config.qualities),
        envelope=no_envelope_weights() if envelope is None else envelope,
        temporal=no_temporal_weights(),
    )


def calibrated(
    config: NeuralConfig, parameters: PostFilterParameters, band_gains_db: NDArray[np.float64]
) -> PostFilterParameters:
    """Parameters that undo how much too loud bands come out through ``parameters``; sound and noise scaled alike.

    Shape: band_gains_db ``[qualities, BANDS]``.
    """
    bins_hz = np.arange(config.bins) * (config.sample_rate_hz / config.fft_samples)
    centres_hz = band_centres_hz(config.sample_rate_hz)
    by_bin_db = np.stack([np.interp(bins_hz, centres_hz, row) for row in band_gains_db])
    by_bin_db = by_bin_db.clip(-LARGEST_BAND_GAIN_DB, LARGEST_BAND_GAIN_DB)
    scales = np.ones((config.qualities + 1, config.bins))
    # The decoder's output is companded: amplitudes are its squares.
    scales[: config.qualities] = 10.0 ** (-by_bin_db / 40.0)
    return parameters._replace(
        band_gains=_as_stored(parameters.band_gains * scales), noise_gains=_as_stored(parameters.noise_gains * scales)
    )


def without_lines(
    config: NeuralConfig, parameters: PostFilterParameters, lines_hz: Sequence[float]
) -> PostFilterParameters:
    """Parameters that lower what is predicted where a decoder has learnt constants, and lift the noise there.

    A constant at every hop is a line at a multiple of the hop rate, as at the top of the band (:data:`TOPS_HZ`); the
    edge of sounds of 16 kHz among those of training is such a place.

    Shape: lines_hz any number of frequencies in Hz.
    """
    bins_hz = np.arange(config.bins) * (config.sample_rate_hz / config.fft_samples)
    near = np.zeros(config.bins, bool)
    for line_hz in lines_hz:
        near |= np.abs(bins_hz - line_hz) <= LINE_REACH_HZ
    predicted, noise = (np.where(near, share, 1.0).astype(np.float64) for share in (PREDICTED_SHARE, NOISE_LIFT))
    return parameters._replace(
        band_gains=_as_stored(parameters.band_gains.astype(np.float64) * predicted),
        noise_gains=_as_stored(parameters.noise_gains.astype(np.float64) * noise),
    )


def top_of_band(bins_hz: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of what is predicted and of noise that are played: see :data:`TOPS_HZ`.

    Shape: ``[bins]``, as both outputs.
    """
    first_hz, second_hz, third_hz = TOPS_HZ
    predicted = np.where(bins_hz >= first_hz, PREDICTED_SHARE, 1.0) * (bins_hz < second_hz)
    lift = np.where(bins_hz >= first_hz, NOISE_LIFT, 1.0) * (bins_hz < third_hz)
    return predicted, lift


def _as_stored(gains: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rounded as a model's file rounds them, so that training hears the same."""
    return gains.astype(np.float16).astype(np.float32)


def parameters_to_tensors(parameters: PostFilterParameters) -> dict[str, Tensor]:
    """For a checkpoint."""
    arrays = parameters._asdict()
    for network in ("envelope", "temporal"):
        arrays |= {f"{network}.{name}": array for name, array in arrays.pop(network)._asdict().items()}
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def parameters_from_tensors(tensors: object) -> PostFilterParameters:
    """Back from a checkpoint; raises TrainingError."""
    try:
        if not isinstance(tensors, Mapping):
            raise TypeError("no tensors by name")
        arrays = {name: values.cpu().numpy() for name, values in tensors.items()}
        envelope = EnvelopeWeights(**{name: arrays.pop(f"envelope.{name}") for name in EnvelopeWeights._fields})
        # Checkpoints from before there was such a filter have none.
        temporal = no_temporal_weights()
        if "temporal.hidden" in arrays:
            temporal = TemporalWeights(**{name: arrays.pop(f"temporal.{name}") for name in TemporalWeights._fields})
        return PostFilterParameters(**arrays, envelope=envelope, temporal=temporal)
    except (KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"the checkpoint's post-filter is damaged ({error})") from error


def output_gains(parameters: PostFilterParameters) -> Tensor:
    """What the decoder network's output is scaled by at each quality index.

    Shape: output ``[qualities + 1, 3 * bins]``.
    """
    bands, noise = (torch.from_numpy(gains) for gains in (parameters.band_gains, parameters.noise_gains))
    return torch.cat([bands, bands, noise], dim=1)


def as_played(
    post_filter: PostFilter, out: CodecOutput, quality_index: Tensor, lost: Tensor
) -> tuple[Tensor, Tensor]:
    """Both draws of decoded sound as they leave the post-filter, which runs on the CPU: one copy there and one back.

    Gradients pass as if nothing had been filtered, which is right for what repeats and for gains about 1.

    Shape: quality_index, lost ``[batch, frames]`` -> as the draws, ``[batch, frames * frame_samples]``.
    """
    config = post_filter.config
    batch, frames = quality_index.shape
    hops, kept = config.hops_per_frame, post_filter.spectrum_bins
    spectra = out.decoded.detach().float().reshape(batch, frames, hops, 3, config.bins)[..., :kept]
    draws = torch.stack([out.samples, out.second]).detach().float()
    ahead = torch.stack([out.tails, out.second_tails]).detach().float() / torch.from_numpy(tail_share(config)).to(
        out.tails.device
    )
    parts = [part.reshape(-1) for part in (spectra, draws, ahead)]
    moved = torch.cat(parts).cpu().numpy()
    ends = np.cumsum([part.numel() for part in parts])
    spectra_here = np.ascontiguousarray(moved[: ends[0]].reshape(batch, frames, hops, 3, kept))
    heard = moved[ends[0] : ends[1]].reshape(2, batch, frames, -1)
    ahead_here = moved[ends[1] :].reshape(2, batch, frames, -1)
    last_decoded = _last_decoded(quality_index, lost)
    for draw in range(2):
        post_filter.filter_batch(last_decoded, spectra_here, ahead_here[draw], heard[draw])
    filtered = torch.from_numpy(heard.reshape(draws.shape)).to(draws.device)
    first, second = (
        x + (y - x).detach() for x, y in zip((out.samples, out.second), filtered.to(out.samples.dtype), strict=True)
    )
    return first, second


def tail_share(config: NeuralConfig) -> NDArray[np.float32]:
    """Share of the sound after a frame that overlap-add has by its end, as rendering reckons it.

    Shape: output ``[overlap_samples]``.
    """
    analysis, synthesis = low_delay_pair(config.fft_samples, config.hop_samples, config.overlap_samples)
    support = config.hop_samples + config.overlap_samples
    half = analysis[config.fft_samples - support + config.hop_samples :] * synthesis[-config.overlap_samples :]
    return np.asarray(np.maximum(half, LEAST_OVERLAP), np.float32)


def _last_decoded(quality_index: Tensor, lost: Tensor) -> NDArray[np.int64]:
    """Quality index of the last frame that was decoded, as the decoder remembers it; -1 before the first.

    Shape: ``[batch, frames]``, as output.
    """
    indices = np.where(lost.cpu().numpy(), -1, quality_index.cpu().numpy())
    frames = np.arange(indices.shape[1])
    newest = np.maximum.accumulate(np.where(indices >= 0, frames, 0), axis=1)
    return np.ascontiguousarray(np.take_along_axis(indices, newest, axis=1))
