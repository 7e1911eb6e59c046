"""Fit the weights of the spectral-envelope post-filter, from how decoded speech differs from its original.

Segments are coded at quality indices from coarse to fine, in packets that decode alone and of which a few are lost,
by the codec as it is used; the features are kept where there is a voice, and by how many nepers each bin's energy in
each block of 5 ms is off. The network is then fitted to that by least squares, low frequencies weighted as the ear
does. ``streamcodec.training.release`` runs it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import nn

from native_dsp.filters.envelope_filter import FFT_SAMPLES, take_in
from native_dsp.filters.envelope_network import (
    BIN_FEATURES,
    BINS,
    FRAME_FEATURES,
    LEAK,
    LOWEST_BIN,
    PAST_SUBFRAMES,
    REACH,
    SUBFRAMES,
    TOP_BIN,
    EnvelopeWeights,
    bin_features,
    frame_features,
    no_envelope_weights,
)
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.model import NeuralModel
from streamcodec.codec.neural.post_filter import PostFilter
from streamcodec.models.spectrum import mel_density
from streamcodec.training.coded_rate import independent_packets, latents_of
from streamcodec.training.learning_rate import WarmupCosine

Float32Array = NDArray[np.float32]
QUALITY_PASSES = (2, 2, 3, 0, 1, 2, 3, 4, 6, 8, 11)
"""Quality indices that each segment in turn is coded at, where the model has them."""
SEGMENT_PACKETS = 100
LOST_SHARE = 0.06
VOICED_FROM, VOICED_TO = 0.15, 0.45
"""Correlations between which a block comes to count."""
FARTHEST_NEPERS = 2.0
"""What is further off than that has other reasons."""
BATCH_PACKETS = 128
SCHEDULE = WarmupCosine(peak=2e-3, final=0.0, warmup_steps=100)


@dataclass(frozen=True)
class EnvelopeExamples:
    """Features of voiced frames, and the gains that would be right.

    Shape: band_energy float16 ``[frames, PAST_SUBFRAMES + SUBFRAMES, COLUMNS]``; correlations, lags ``[frames,
    SUBFRAMES]``; quality ``[frames]``; frame_inputs float16 ``[frames, FRAME_FEATURES]``; wanted float16 ``[frames,
    BINS, SUBFRAMES]``, nepers.
    """

    band_energy: NDArray[np.float16]
    correlations: Float32Array
    lags: NDArray[np.int64]
    quality: Float32Array
    frame_inputs: NDArray[np.float16]
    wanted: NDArray[np.float16]

    @property
    def weight(self) -> Float32Array:
        """How much each block counts.

        Shape: output ``[frames, SUBFRAMES]``.
        """
        spread = (self.correlations - VOICED_FROM) / (VOICED_TO - VOICED_FROM)
        return np.asarray(np.clip(spread, 0.0, 1.0), np.float32)

    def inputs(self, rows: NDArray[np.int64]) -> Float32Array:
        """Features of each bin of some frames.

        Shape: ``[n]`` -> ``[n, BINS, BIN_FEATURES]``.
        """
        described = np.empty((len(rows), BINS, BIN_FEATURES), np.float32)
        for row, told in zip(rows, described, strict=True):
            energy = self.band_energy[row].astype(np.float32)
            bin_features(energy, self.correlations[row], self.lags[row], float(self.quality[row]), told)
        return described


def examples_of(
    runtime: NeuralModel, segments: Float32Array, quality_index: NDArray[np.int64], seed: int = 0
) -> EnvelopeExamples:
    """Code segments at one quality index each, and keep what the envelope filter would have to do.

    Shape: segments ``[n, samples]``, quality_index ``[n]``.
    """
    random = np.random.default_rng(seed)
    pairs = list(zip(segments, quality_index, strict=True))
    parts = [_examples_of_one(runtime, segment, int(index), random) for segment, index in track(pairs, "coding")]
    return EnvelopeExamples(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(EnvelopeExamples)
        }
    )


def _examples_of_one(
    runtime: NeuralModel, segment: Float32Array, quality_index: int, random: np.random.Generator
) -> EnvelopeExamples:
    config = runtime.model.config
    parameters = runtime.model.post_filter._replace(envelope=no_envelope_weights())
    runtime = replace(runtime, post_filter=PostFilter(config, parameters))
    decoder = NeuralDecoder(runtime)
    seen, true = decoder.state().post_filter.envelope, decoder.state().post_filter.envelope
    late = np.concatenate([np.zeros(config.overlap_samples, np.float32), segment])
    quality = config.quality(quality_index)
    energy, correlations, lags, frame_inputs, true_energy = [], [], [], [], []
    for k, packet in enumerate(independent_packets(runtime, latents_of(runtime, [segment])[0], quality_index)):
        sound, _ = decoder.decode(packet if k == 0 or random.random() >= LOST_SHARE else None)
        state = decoder.state()
        pitch, envelope = state.post_filter.pitch, state.post_filter.envelope
        seen.ahead[:] = envelope.ahead
        take_in(seen, sound)
        energy.append(seen.band_energy.copy())
        correlations.append(pitch.correlations)
        lags.append(pitch.lags)
        frame_features(envelope.features)
        frame_inputs.append(envelope.features.frame_inputs)
        start = k * config.frame_samples
        take_in(true, late[start : start + config.frame_samples])
        true_energy.append(true.band_energy.copy())
    # The first packets have no past, the last one has no future.
    used = np.array([k for k in range(2, len(energy) - 1) if (correlations[k] > VOICED_FROM).any()], np.int64)
    found = _bins_of(np.array(energy)[used], PAST_SUBFRAMES)
    # A packet later, all that its windows reach is known.
    wanted = _bins_of(np.array(true_energy)[used + 1], PAST_SUBFRAMES - SUBFRAMES)
    return EnvelopeExamples(
        np.array(energy, np.float16)[used],
        np.array(correlations)[used],
        np.array(lags)[used],
        np.full(used.size, quality, np.float32),
        np.array(frame_inputs, np.float16)[used],
        (wanted - found).astype(np.float16),
    )


def _bins_of(band_energy: Float32Array, first_row: int) -> Float32Array:
    """A frame's worth of band energies, of those bins that are changed.

    Shape: ``[frames, PAST_SUBFRAMES + SUBFRAMES, COLUMNS]`` -> ``[frames, BINS, SUBFRAMES]``.
    """
    rows = band_energy[:, first_row : first_row + SUBFRAMES, REACH:-REACH]
    return np.ascontiguousarray(rows.transpose(0, 2, 1))


class EnvelopeNetwork(nn.Module):
    """One hidden layer for each bin, the same for all, and one for the frame; what they say is added.

    Shape: ``[frames, BINS, BIN_FEATURES]``, ``[frames, FRAME_FEATURES]`` -> ``[frames, BINS, SUBFRAMES]``, nepers.
    """

    def __init__(self, hidden: int, frame_hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(BIN_FEATURES, hidden)
        self.out = nn.Linear(hidden, SUBFRAMES)
        self.frame_hidden = nn.Linear(FRAME_FEATURES, frame_hidden)
        self.frame_out = nn.Linear(frame_hidden, BINS * SUBFRAMES, bias=False)
        for last in (self.out.weight, self.out.bias, self.frame_out.weight):
            nn.init.zeros_(last)

    def forward(self, inputs: torch.Tensor, frame_inputs: torch.Tensor) -> torch.Tensor:
        of_bins: torch.Tensor = self.out(nn.functional.leaky_relu(self.hidden(inputs), LEAK))
        of_packet: torch.Tensor = self.frame_out(nn.functional.leaky_relu(self.frame_hidden(frame_inputs), LEAK))
        return of_bins + of_packet.reshape(of_bins.shape)

    def weights(self) -> EnvelopeWeights:
        """As the filter reads them."""
        arrays = (
            self.hidden.weight.T,
            self.hidden.bias,
            self.out.weight,
            self.out.bias,
            self.frame_hidden.weight.T,
            self.frame_hidden.bias,
            self.frame_out.weight.T,
        )
        return EnvelopeWeights(*(np.ascontiguousarray(array.detach().numpy()) for array in arrays))


def fit(
    examples: EnvelopeExamples,
    sample_rate_hz: int,
    steps: int,
    hidden: int = 32,
    frame_hidden: int = 96,
    seed: int = 0,
) -> tuple[EnvelopeWeights, float, float]:
    """Fit the network; also the mean square it leaves in the end, and what there was without it."""
    torch.manual_seed(seed)
    network = EnvelopeNetwork(hidden, frame_hidden)
    optimiser = torch.optim.Adam(network.parameters())
    bins_hz = torch.arange(LOWEST_BIN, TOP_BIN) * (sample_rate_hz / FFT_SAMPLES)
    by_ear = mel_density(bins_hz)[None, :, None]
    random = np.random.default_rng(seed)
    weights = examples.weight
    before = after = 0.0
    for step in track(range(steps), "fitting"):
        for group in optimiser.param_groups:
            group["lr"] = SCHEDULE.rate(step, step / steps, ())
        drawn = random.integers(0, len(examples.band_energy), BATCH_PACKETS)
        inputs = torch.from_numpy(examples.inputs(drawn))
        frame_inputs, wanted, weight = (
            torch.from_numpy(array[drawn].astype(np.float32))
            for array in (examples.frame_inputs, examples.wanted, weights)
        )
        wanted = wanted.clamp(-FARTHEST_NEPERS, FARTHEST_NEPERS)
        scale = by_ear * weight[:, None, :]
        loss = ((network(inputs, frame_inputs) - wanted) ** 2 * scale).sum() / scale.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            of_nothing = float((wanted**2 * scale).sum() / scale.sum())
        memory = min(step / (step + 1), 0.998)
        before = memory * before + (1.0 - memory) * of_nothing
        after = memory * after + (1.0 - memory) * float(loss.detach())
    return network.weights(), after, before
