"""Fit the decoder's spectral-envelope post-filter: a small network, from how decoded speech differs from its original.

Example::

    python -m streamcodec.training.level_fit cache/13fd49414edfa774 --model speech-24k --out levels.safetensors

``cache`` is what :func:`~streamcodec.training.data.build_cache` made. Segments are coded at levels from coarse to
fine, in packets that decode alone and of which a few are lost, by the codec as it is used; what the filter would see
is noted where there is a voice, and by how many nepers each bin's level in each block of 5 ms is off. The network is
then fitted to that by least squares, low frequencies weighted as the ear does.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.numpy import save_file
from torch import nn

from native_dsp.filters.envelope_filter import FFT_SAMPLES, take_in
from native_dsp.filters.envelope_network import (
    BINS,
    BLOCKS,
    INPUTS,
    LEAK,
    LOWEST_BIN,
    PACKET_INPUTS,
    PAST_BLOCKS,
    REACH,
    TOP_BIN,
    EnvelopeWeights,
    describe_bins,
    describe_packet,
    no_envelope_weights,
)
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.model import NeuralModel, load_runtime
from streamcodec.models.shipped import DEFAULT_MODEL, ENVELOPE_WEIGHTS_FILE
from streamcodec.models.spectrum import mel_density
from streamcodec.training.data import SegmentSource
from streamcodec.training.learning_rate import WarmupCosine
from streamcodec.training.release import independent_packets, latents_of

Float32Array = NDArray[np.float32]
ENVELOPE_PASSES = (2, 2, 3, 0, 1, 2, 3, 4, 6, 8, 11)
"""Levels that each segment in turn is coded at."""
SEGMENT_PACKETS = 100
LOST_SHARE = 0.06
VOICED_FROM, VOICED_TO = 0.15, 0.45
"""Likenesses between which a packet comes to count."""
FARTHEST_NEPERS = 2.0
"""What is further off than that has other reasons."""
BATCH_PACKETS = 128
SCHEDULE = WarmupCosine(peak=2e-3, final=0.0, warmup_steps=100)


@dataclass(frozen=True)
class EnvelopeExamples:
    """What the filter sees, and what it should say.

    Shape: levels float16 ``[packets, PAST_BLOCKS + BLOCKS, COLUMNS]``; correlations, lags ``[packets, BLOCKS]``;
    fineness ``[packets]``; packet_inputs float16 ``[packets, PACKET_INPUTS]``; wanted float16 ``[packets, BINS,
    BLOCKS]``, nepers.
    """

    levels: NDArray[np.float16]
    correlations: Float32Array
    lags: NDArray[np.int64]
    quality: Float32Array
    packet_inputs: NDArray[np.float16]
    wanted: NDArray[np.float16]

    @property
    def weight(self) -> Float32Array:
        """How much each block counts.

        Shape: output ``[packets, BLOCKS]``.
        """
        spread = (self.correlations - VOICED_FROM) / (VOICED_TO - VOICED_FROM)
        return np.asarray(np.clip(spread, 0.0, 1.0), np.float32)

    def inputs(self, rows: NDArray[np.int64]) -> Float32Array:
        """What the network is told of each bin of some packets.

        Shape: ``[n]`` -> ``[n, BINS, INPUTS]``.
        """
        described = np.empty((len(rows), BINS, INPUTS), np.float32)
        for row, told in zip(rows, described, strict=True):
            levels = self.levels[row].astype(np.float32)
            describe_bins(levels, self.correlations[row], self.lags[row], float(self.quality[row]), told)
        return described


def examples_of(
    runtime: NeuralModel, segments: Float32Array, levels: NDArray[np.int64], seed: int = 0
) -> EnvelopeExamples:
    """Code segments at one level each, and note what a spectral-envelope post-filter would have to do.

    Shape: segments ``[n, samples]``, levels ``[n]``.
    """
    random = np.random.default_rng(seed)
    pairs = list(zip(segments, levels, strict=True))
    parts = [_examples_of_one(runtime, segment, level, random) for segment, level in track(pairs, "coding")]
    return EnvelopeExamples(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(EnvelopeExamples)
        }
    )


def _examples_of_one(
    runtime: NeuralModel, segment: Float32Array, level: int, random: np.random.Generator
) -> EnvelopeExamples:
    config = runtime.model.config
    runtime = replace(runtime, envelope_weights=no_envelope_weights())
    decoder = NeuralDecoder(runtime)
    seen, true = decoder.state().envelope, decoder.state().envelope
    late = np.concatenate([np.zeros(config.overlap_samples, np.float32), segment])
    quality = config.quality(level)
    levels, correlations, lags, packet_inputs, true_energies = [], [], [], [], []
    for k, packet in enumerate(independent_packets(runtime, latents_of(runtime, [segment])[0], level)):
        sound, _ = decoder.decode(packet if k == 0 or random.random() >= LOST_SHARE else None)
        state = decoder.state()
        seen.ahead[:] = state.envelope.ahead
        take_in(seen, sound)
        levels.append(seen.levels.copy())
        correlations.append(state.pitch.correlations)
        lags.append(state.pitch.lags)
        describe_packet(state.envelope.features)
        packet_inputs.append(state.envelope.features.packet_inputs)
        start = k * config.frame_samples
        take_in(true, late[start : start + config.frame_samples])
        true_energies.append(true.levels.copy())
    # The first packets have no past, the last one has no future.
    used = np.array([k for k in range(2, len(levels) - 1) if (correlations[k] > VOICED_FROM).any()], np.int64)
    found = _bins_of(np.array(levels)[used], PAST_BLOCKS)
    # A packet later, all that its windows reach is known.
    wanted = _bins_of(np.array(true_energies)[used + 1], PAST_BLOCKS - BLOCKS)
    return EnvelopeExamples(
        np.array(levels, np.float16)[used],
        np.array(correlations)[used],
        np.array(lags)[used],
        np.full(used.size, quality, np.float32),
        np.array(packet_inputs, np.float16)[used],
        (wanted - found).astype(np.float16),
    )


def _bins_of(levels: Float32Array, first_row: int) -> Float32Array:
    """A packet's worth of measured levels, of those bins that are changed.

    Shape: ``[packets, PAST_BLOCKS + BLOCKS, COLUMNS]`` -> ``[packets, BINS, BLOCKS]``.
    """
    rows = levels[:, first_row : first_row + BLOCKS, REACH:-REACH]
    return np.ascontiguousarray(rows.transpose(0, 2, 1))


class EnvelopeNetwork(nn.Module):
    """One hidden layer for each bin, the same for all, and one for the packet; what they say is added.

    Shape: ``[packets, BINS, INPUTS]``, ``[packets, PACKET_INPUTS]`` -> ``[packets, BINS, BLOCKS]``, nepers.
    """

    def __init__(self, hidden: int, packet_hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(INPUTS, hidden)
        self.out = nn.Linear(hidden, BLOCKS)
        self.packet_hidden = nn.Linear(PACKET_INPUTS, packet_hidden)
        self.packet_out = nn.Linear(packet_hidden, BINS * BLOCKS, bias=False)
        for last in (self.out.weight, self.out.bias, self.packet_out.weight):
            nn.init.zeros_(last)

    def forward(self, inputs: torch.Tensor, packet_inputs: torch.Tensor) -> torch.Tensor:
        of_bins: torch.Tensor = self.out(nn.functional.leaky_relu(self.hidden(inputs), LEAK))
        of_packet: torch.Tensor = self.packet_out(nn.functional.leaky_relu(self.packet_hidden(packet_inputs), LEAK))
        return of_bins + of_packet.reshape(of_bins.shape)

    def weights(self) -> EnvelopeWeights:
        """As the filter reads them."""
        arrays = (
            self.hidden.weight.T,
            self.hidden.bias,
            self.out.weight,
            self.out.bias,
            self.packet_hidden.weight.T,
            self.packet_hidden.bias,
            self.packet_out.weight.T,
        )
        return EnvelopeWeights(*(np.ascontiguousarray(array.detach().numpy()) for array in arrays))


def fit(
    examples: EnvelopeExamples,
    sample_rate_hz: int,
    steps: int,
    hidden: int = 32,
    packet_hidden: int = 96,
    seed: int = 0,
) -> tuple[EnvelopeWeights, float, float]:
    """Fit the network; also the mean square it leaves in the end, and what there was without it."""
    torch.manual_seed(seed)
    network = EnvelopeNetwork(hidden, packet_hidden)
    optimiser = torch.optim.Adam(network.parameters())
    bins_hz = torch.arange(LOWEST_BIN, TOP_BIN) * (sample_rate_hz / FFT_SAMPLES)
    by_ear = mel_density(bins_hz)[None, :, None]
    random = np.random.default_rng(seed)
    weights = examples.weight
    before = after = 0.0
    for step in track(range(steps), "fitting"):
        for group in optimiser.param_groups:
            group["lr"] = SCHEDULE.rate(step, step / steps, ())
        drawn = random.integers(0, len(examples.levels), BATCH_PACKETS)
        inputs = torch.from_numpy(examples.inputs(drawn))
        packet_inputs, wanted, weight = (
            torch.from_numpy(array[drawn].astype(np.float32))
            for array in (examples.packet_inputs, examples.wanted, weights)
        )
        wanted = wanted.clamp(-FARTHEST_NEPERS, FARTHEST_NEPERS)
        scale = by_ear * weight[:, None, :]
        loss = ((network(inputs, packet_inputs) - wanted) ** 2 * scale).sum() / scale.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            of_nothing = float((wanted**2 * scale).sum() / scale.sum())
        memory = min(step / (step + 1), 0.998)
        before = memory * before + (1.0 - memory) * of_nothing
        after = memory * after + (1.0 - memory) * float(loss.detach())
    return network.weights(), after, before


def main() -> None:
    """Gather, fit and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--segments", type=int, default=5_000, help="of 2 s")
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(ENVELOPE_WEIGHTS_FILE))
    arguments = parser.parse_args()
    runtime = load_runtime(arguments.model)
    config = runtime.model.config
    segment_samples = SEGMENT_PACKETS * config.frame_samples
    source = SegmentSource(arguments.cache, segment_samples, config.sample_rate_hz, arguments.seed)
    segments, _ = source.batch(0, arguments.segments)
    levels = np.asarray(ENVELOPE_PASSES)[np.arange(len(segments)) % len(ENVELOPE_PASSES)]
    examples = examples_of(runtime, segments, levels, arguments.seed)
    weights, after, before = fit(examples, config.sample_rate_hz, arguments.steps, seed=arguments.seed)
    save_file({name: array.astype(np.float16) for name, array in weights._asdict().items()}, arguments.out)
    print(f"{len(examples.levels)} packets, mean square {before:.3f} to {after:.3f} nepers, {arguments.out}")


if __name__ == "__main__":
    main()
