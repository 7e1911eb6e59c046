"""Fit the temporal-envelope post-filter of a model: when bands above 1.6 kHz swell, told from the decoded low band.

Example::

    python -m streamcodec.training.temporal_fit models/mine --data data/train/speech

Speech is coded at quality indices from coarse to fine, in packets that decode alone, by the codec as it is used, and
the levels of voiced blocks are kept, with by how much each band of the original stands above or below its own mean
over 40 ms. The network is fitted to that by least squares. What least squares finds is softer than what was there, as
much as is left unknown, so its answers are then multiplied by a strength; ``docs/research`` has what strengths do.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import nn

from native_dsp.filters.envelope_network import LEAK
from native_dsp.filters.temporal_envelope import (
    BANDS,
    INPUTS,
    LARGEST_CHANGE,
    LEVELS,
    LOW_BINS,
    NOT_VOICED,
    PAST,
    SUBFRAMES,
    TEMPORAL_WEIGHT_SHAPES,
    UNITS,
    TemporalWeights,
    make_temporal_filter,
    no_temporal_weights,
    take_in,
)
from native_dsp.networks.simd_product import TILE
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.model import NeuralModel, forget_models, open_runtime
from streamcodec.codec.neural.post_filter import PostFilter
from streamcodec.errors import StreamcodecError
from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.clips import Clip, read_clips
from streamcodec.models.post_filter_file import POST_FILTER_FILE, stored_form, write_post_filter
from streamcodec.models.shipped import ShippedModel, read_model, write_description
from streamcodec.training.coded_rate import independent_packets, latents_of
from streamcodec.training.learning_rate import WarmupCosine
from streamcodec.training.recipe import TemporalRecipe
from streamcodec.training.task import TrainingError

Float32Array = NDArray[np.float32]
QUALITY_PASSES = (2, 4, 6, 8, 11, 15)
"""Quality indices that clips are coded at in turn, where the model has them."""
MOST_S = 5.0
MEAN_BLOCKS = 17
"""Blocks of 2.5 ms over which an original's mean is taken, by a Hann window."""
BATCH_BLOCKS = 1024
LEVEL_SPREAD = 2.0
"""Nepers of power, the deviation of levels at which examples are heard."""
SCHEDULE = WarmupCosine(peak=3e-3, final=0.0, warmup_steps=100)


@dataclass(frozen=True)
class TemporalExamples:
    """Levels of voiced blocks and those before, qualities, and how far their bands stood from the mean.

    Shape: inputs ``[blocks, INPUTS]``; quality ``[blocks]``; wanted ``[blocks, BANDS]``, nepers of power.
    """

    inputs: Float32Array
    quality: Float32Array
    wanted: Float32Array


def examples_of(runtime: NeuralModel, clips: Sequence[Float32Array]) -> TemporalExamples:
    """Code clips, each at one quality index, and keep what the filter sees and would have to do.

    Shape: clips ``[samples]`` each, at the model's rate.
    """
    parameters = runtime.model.post_filter._replace(temporal=no_temporal_weights())
    runtime = replace(runtime, post_filter=PostFilter(runtime.model.config, parameters))
    qualities = [q for q in QUALITY_PASSES if q < runtime.model.config.qualities]
    parts = [
        _examples_of_one(runtime, clip, qualities[k % len(qualities)])
        for k, clip in enumerate(track(clips, "coding", total=len(clips)))
    ]
    return TemporalExamples(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _examples_of_one(
    runtime: NeuralModel, clip: Float32Array, quality_index: int
) -> tuple[Float32Array, Float32Array, Float32Array]:
    config = runtime.model.config
    decoder = NeuralDecoder(runtime)
    size = config.frame_samples
    seen, true = (make_temporal_filter(config.sample_rate_hz, size, no_temporal_weights()) for _ in range(2))
    late = np.concatenate([np.zeros(config.overlap_samples, np.float32), clip, np.zeros(size, np.float32)])
    inputs, voiced, levels = [], [], []
    for k, packet in enumerate(independent_packets(runtime, latents_of(runtime, [clip])[0], quality_index)):
        sound, _ = decoder.decode(packet)
        filters = decoder.state().post_filter
        take_in(seen, sound, filters.envelope.ahead)
        for j in range(SUBFRAMES):
            inputs.append(_seen(seen.levels[j : j + PAST + 1]))
            voiced.append(filters.pitch.correlations[j * len(filters.pitch.correlations) // SUBFRAMES])
        frame = late[k * size : (k + 2) * size]
        take_in(true, frame[:size], frame[size:])
        levels.append(true.levels[PAST:, LOW_BINS:].copy())
    level = np.concatenate(levels)
    wanted = level - np.log(_means(np.exp(level)))
    # The first frames have no past, the last one has no future.
    used = np.flatnonzero(np.array(voiced) > NOT_VOICED)
    used = used[(used >= 2 * SUBFRAMES) & (used < len(level) - SUBFRAMES)]
    quality = np.full(len(used), config.quality(quality_index), np.float32)
    return np.array(inputs, np.float32)[used], quality, wanted[used].astype(np.float32)


def _seen(levels: Float32Array) -> Float32Array:
    """What the network may know of levels: of the bands that it changes, their means over the blocks alone.

    What these do from block to block is chance, and must not be answered.

    Shape: ``[PAST + 1, LEVELS]`` -> ``[INPUTS]``.
    """
    known = levels.copy()
    known[:, LOW_BINS:] = levels[:, LOW_BINS:].mean(0)
    return known.ravel()


def _means(powers: Float32Array) -> Float32Array:
    """Shape: ``[blocks, BANDS]``, as output."""
    weights = np.hanning(MEAN_BLOCKS + 2)[1:-1]
    half = MEAN_BLOCKS // 2
    padded = np.pad(powers, ((half, half), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, MEAN_BLOCKS, axis=0)
    return np.asarray(windows @ (weights / weights.sum()), np.float32)


def fit(
    examples: TemporalExamples, steps: int, strength: float, seed: int = 0
) -> tuple[TemporalWeights, dict[str, float]]:
    """Fit the network; also the mean square it leaves in the end, and what there was without it.

    Every example is heard louder or softer each time, so that the answer is the same at every level.
    """
    inputs, quality = torch.from_numpy(examples.inputs), torch.from_numpy(examples.quality)[:, None]
    wanted = torch.from_numpy(examples.wanted).clamp(-LARGEST_CHANGE, LARGEST_CHANGE)
    mean, spread = inputs.mean(0), inputs.std(0) + 1e-3
    torch.manual_seed(seed)
    hidden, out = nn.Linear(INPUTS + 1, UNITS), nn.Linear(UNITS, BANDS)
    optimiser = torch.optim.AdamW([*hidden.parameters(), *out.parameters()], weight_decay=0.01)
    random = np.random.default_rng(seed)
    lost = before = 0.0
    for step in track(range(steps), "fitting"):
        for group in optimiser.param_groups:
            group["lr"] = SCHEDULE.rate(step, step / steps, ())
        rows = torch.from_numpy(random.integers(0, len(inputs), BATCH_BLOCKS))
        louder = LEVEL_SPREAD * torch.from_numpy(random.standard_normal((len(rows), 1)).astype(np.float32))
        seen = torch.cat([(inputs[rows] + louder - mean) / spread, quality[rows]], 1)
        found = out(nn.functional.leaky_relu(hidden(seen), LEAK))
        loss = (found - wanted[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        memory = min(step / (step + 1), 0.998)
        lost = memory * lost + (1.0 - memory) * float(loss.detach())
        spare = wanted[rows] - wanted.mean(0)
        before = memory * before + (1.0 - memory) * float(spare.square().mean())
    with torch.no_grad():
        of_levels = (hidden.weight[:, :INPUTS] / spread).reshape(UNITS, PAST + 1, LEVELS)
        bias = hidden.bias - of_levels.flatten(1) @ mean
        # Means over the blocks: the same weights for all of them.
        of_levels[:, :, LOW_BINS:] = of_levels[:, :, LOW_BINS:].mean(1, keepdim=True)
        # Bands keep their power anyway: a constant would say nothing.
        answers = nn.functional.pad(strength * out.weight.T, (0, TILE - BANDS))
        arrays = (of_levels.flatten(1).T, bias, hidden.weight[:, INPUTS], answers)
        weights = TemporalWeights(*(np.ascontiguousarray(array.numpy(), np.float32) for array in arrays))
    assert tuple(array.shape for array in weights) == TEMPORAL_WEIGHT_SHAPES
    return weights, {"mean_square_before": round(before, 4), "mean_square_after": round(lost, 4)}


def fitted(recipe: TemporalRecipe, model: ShippedModel) -> tuple[TemporalWeights, dict[str, Any]]:
    """Weights of the filter for this model's decoder, as they are stored; and what the fit left over.

    Raises TrainingError, EvaluationError.
    """
    clips = read_clips(recipe.data, ["speech"], limit=recipe.clips)
    examples = examples_of(open_runtime(model), [_read(clip, model.config.sample_rate_hz) for clip in clips])
    if not len(examples.inputs):
        raise TrainingError(f"there is no voice in {recipe.data} to fit the temporal-envelope filter to")
    weights, errors = fit(examples, recipe.steps, recipe.strength, recipe.seed)
    settings = {name: value for name, value in asdict(recipe).items() if name not in ("data", "clips")}
    return stored_form(weights), {"clips": len(clips), "blocks": len(examples.inputs), **settings, **errors}


def _read(clip: Clip, sample_rate_hz: int) -> Float32Array:
    """Shape: output ``[samples]``, ``MOST_S`` seconds at most."""
    samples, rate_hz = clip.read()
    return np.asarray(resample(samples[: round(MOST_S * rate_hz)], rate_hz, sample_rate_hz), np.float32)


def _write(model: ShippedModel, weights: TemporalWeights, facts: dict[str, Any]) -> None:
    folder = model.folder
    write_post_filter(model.post_filter._replace(temporal=weights), folder / POST_FILTER_FILE)
    write_description(folder, model.config, model.multiplies_in_8_bits, {**model.facts, "temporal_fit": facts})
    forget_models()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="temporal_fit"
    )
    options.add_argument("model", type=Path, help="model folder, changed in place")
    options.add_argument("--data", type=Path, required=True, help="folder of speech")
    usual = {each.name: each.default for each in fields(TemporalRecipe)}
    options.add_argument("--clips", type=int, default=usual["clips"], help="files of it at most, evenly spread")
    options.add_argument("--steps", type=int, default=usual["steps"])
    options.add_argument("--strength", type=float, default=usual["strength"])
    options.add_argument("--seed", type=int, default=usual["seed"])
    asked = vars(options.parse_args(arguments))
    try:
        model = read_model(asked.pop("model"))
        weights, facts = fitted(TemporalRecipe(**asked), model)
        _write(model, weights, facts)
    except (StreamcodecError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
