"""Fit the decoder's level filter: a small network, from how decoded speech differs from its original.

Example::

    python -m streamcodec.training.level_fit cache/13fd49414edfa774 --model speech-24k --out levels.safetensors

``cache`` is what :func:`~streamcodec.training.data.build_cache` made. Segments are coded at levels from coarse to
fine, in packets that decode alone, by the codec as it is used; what the filter would see is noted where there is a
voice, and by how many nepers each bin's level in each block of 5 ms is off. The network is then fitted to that by
least squares, low frequencies weighted as the ear does.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.numpy import save_file
from torch import nn

from native_dsp.level_filter import (
    BLOCKS,
    FFT_SAMPLES,
    INPUTS,
    LEAK,
    LOWEST_BIN,
    PAST_BLOCKS,
    REACH,
    TOP_BIN,
    LevelFilterState,
    LevelWeights,
    describe,
    make_level_filter,
    no_level_weights,
    take_in,
)
from streamcodec.codec.neural_decoder import NeuralDecoder
from streamcodec.codec.neural_runtime import NeuralRuntime, load_runtime
from streamcodec.models.shipped import DEFAULT_MODEL, LEVEL_WEIGHTS_FILE
from streamcodec.models.spectrum import mel_density
from streamcodec.training.data import SegmentSource
from streamcodec.training.learning_rate import WarmupCosine
from streamcodec.training.release import latents_of, packets_alone

Float32Array = NDArray[np.float32]
LEVEL_PASSES = (2, 2, 3, 0, 1, 2, 3, 4, 6, 8, 11)
"""Levels that each segment in turn is coded at."""
SEGMENT_PACKETS = 100
VOICED_FROM, VOICED_TO = 0.3, 0.6
"""Likenesses between which a packet comes to count."""
FARTHEST_NEPERS = 2.0
"""What is further off than that has other reasons."""
BATCH_PACKETS = 256
SCHEDULE = WarmupCosine(peak=2e-3, final=0.0, warmup_steps=100)
BINS = TOP_BIN - LOWEST_BIN


@dataclass(frozen=True)
class LevelExamples:
    """What the filter sees, and what it should say.

    Shape: inputs float16 ``[packets, bins, INPUTS]``; wanted float16 ``[packets, bins, BLOCKS]``, nepers; weight
    float16 ``[packets, BLOCKS]``.
    """

    inputs: NDArray[np.float16]
    wanted: NDArray[np.float16]
    weight: NDArray[np.float16]


def examples_of(runtime: NeuralRuntime, segments: Float32Array, levels: NDArray[np.int64]) -> LevelExamples:
    """Code segments at one level each, and note what a level filter would have to do.

    Shape: segments ``[n, samples]``, levels ``[n]``.
    """
    parts = [_examples_of_one(runtime, *pair) for pair in track(list(zip(segments, levels, strict=True)), "coding")]
    return LevelExamples(
        np.concatenate([part.inputs for part in parts]),
        np.concatenate([part.wanted for part in parts]),
        np.concatenate([part.weight for part in parts]),
    )


def _examples_of_one(runtime: NeuralRuntime, segment: Float32Array, level: int) -> LevelExamples:
    config = runtime.model.config
    runtime = replace(runtime, level_weights=no_level_weights())
    decoder = NeuralDecoder(runtime)
    seen = make_level_filter(config.sample_rate_hz, config.packet_samples, 0)
    true = make_level_filter(config.sample_rate_hz, config.packet_samples, 0)
    late = np.concatenate([np.zeros(config.overlap_samples, np.float32), segment])
    inputs, found, weight, wanted = [], [], [], []
    fineness = config.fineness(level)
    for k, packet in enumerate(packets_alone(runtime, latents_of(runtime, [segment])[0], level)):
        sound, _ = decoder.decode(packet)
        state = decoder.state()
        seen.ahead[:] = state.levels.ahead
        take_in(seen, sound)
        inputs.append(_inputs(seen, state.pitch.likenesses, state.pitch.lags, fineness))
        found.append(_levels(seen, PAST_BLOCKS))
        spread = (state.pitch.likenesses - VOICED_FROM) / (VOICED_TO - VOICED_FROM)
        weight.append(np.clip(spread, 0.0, 1.0))
        start = k * config.packet_samples
        take_in(true, late[start : start + config.packet_samples])
        # A packet later, all that its windows reach is known.
        wanted.append(_levels(true, PAST_BLOCKS - BLOCKS))
    # The first packets have no past, the last one has no future.
    used = [k for k in range(2, len(inputs) - 1) if weight[k].any()]
    return LevelExamples(
        np.array([inputs[k] for k in used], np.float16).reshape(-1, BINS, INPUTS),
        np.array([wanted[k + 1] - found[k] for k in used], np.float16).reshape(-1, BINS, BLOCKS),
        np.array([weight[k] for k in used], np.float16).reshape(-1, BLOCKS),
    )


def _inputs(
    state: LevelFilterState, likenesses: Float32Array, lags: NDArray[np.int64], fineness: float
) -> Float32Array:
    rows = np.zeros((BINS, INPUTS), np.float32)
    for i in range(len(rows)):
        describe(state, i, likenesses, lags, fineness)
        rows[i] = state.inputs
    return rows


def _levels(state: LevelFilterState, first_row: int) -> Float32Array:
    """Shape: output ``[bins, BLOCKS]``."""
    return np.array(state.levels[first_row : first_row + BLOCKS, REACH:-REACH].T, np.float32)


class LevelNetwork(nn.Module):
    """One hidden layer, the same for every bin.

    Shape: ``[..., INPUTS]`` -> ``[..., BLOCKS]``, nepers.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(INPUTS, hidden)
        self.out = nn.Linear(hidden, BLOCKS)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.out(nn.functional.leaky_relu(self.hidden(inputs), LEAK))
        return result

    def weights(self) -> LevelWeights:
        """As the filter reads them."""
        arrays = (self.hidden.weight.T, self.hidden.bias, self.out.weight, self.out.bias)
        return LevelWeights(*(np.ascontiguousarray(array.detach().numpy()) for array in arrays))


def fit(
    examples: LevelExamples, sample_rate_hz: int, steps: int, hidden: int = 48, seed: int = 0
) -> tuple[LevelWeights, float, float]:
    """Fit the network; also the mean square it leaves in the end, and what there was without it."""
    torch.manual_seed(seed)
    network = LevelNetwork(hidden)
    optimiser = torch.optim.Adam(network.parameters())
    bins_hz = torch.arange(LOWEST_BIN, TOP_BIN) * (sample_rate_hz / FFT_SAMPLES)
    by_ear = mel_density(bins_hz)[None, :, None]
    random = np.random.default_rng(seed)
    before = after = 0.0
    for step in track(range(steps), "fitting"):
        for group in optimiser.param_groups:
            group["lr"] = SCHEDULE.rate(step, step / steps, ())
        drawn = random.integers(0, len(examples.inputs), BATCH_PACKETS)
        inputs, wanted, weight = (
            torch.from_numpy(array[drawn].astype(np.float32))
            for array in (examples.inputs, examples.wanted, examples.weight)
        )
        wanted = wanted.clamp(-FARTHEST_NEPERS, FARTHEST_NEPERS)
        scale = by_ear * weight[:, None, :]
        loss = ((network(inputs) - wanted) ** 2 * scale).sum() / scale.sum()
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
    parser.add_argument("--segments", type=int, default=1_000, help="of 2 s")
    parser.add_argument("--steps", type=int, default=25_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(LEVEL_WEIGHTS_FILE))
    arguments = parser.parse_args()
    runtime = load_runtime(arguments.model)
    config = runtime.model.config
    segment_samples = SEGMENT_PACKETS * config.packet_samples
    source = SegmentSource(arguments.cache, segment_samples, config.sample_rate_hz, arguments.seed)
    segments, _ = source.batch(0, arguments.segments)
    levels = np.asarray(LEVEL_PASSES)[np.arange(len(segments)) % len(LEVEL_PASSES)]
    examples = examples_of(runtime, segments, levels)
    weights, after, before = fit(examples, config.sample_rate_hz, arguments.steps, seed=arguments.seed)
    save_file(weights._asdict(), arguments.out)
    print(f"{len(examples.inputs)} packets, mean square {before:.3f} to {after:.3f} nepers, {arguments.out}")


if __name__ == "__main__":
    main()
