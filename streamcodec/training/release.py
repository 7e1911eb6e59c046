"""A model from trained checkpoints, by one command and to the byte the same again.

Example::

    python -m streamcodec.training.release recipe.toml models/mine

Average, export, measure the rate of every quality index, calibrate band gains, fit the envelope filters,
measure quality and cost, write the card. What is in ``model.json`` is written here and nowhere else;
``docs/releases.md`` describes the recipe.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from native_dsp.filters.envelope_network import EnvelopeWeights
from native_dsp.filters.post_filter import PostFilterParameters
from streamcodec.codec.files.output_file import whole_folder
from streamcodec.codec.neural.model import forget_models, open_runtime
from streamcodec.errors import StreamcodecError
from streamcodec.evaluation.clips import read_clips
from streamcodec.evaluation.latency.link import Link, run
from streamcodec.evaluation.latency.summary import summarise
from streamcodec.evaluation.own import streamcodec_systems
from streamcodec.evaluation.run import evaluate
from streamcodec.models.codec import NeuralCodec
from streamcodec.models.post_filter_file import POST_FILTER_FILE, stored_form, write_post_filter
from streamcodec.models.shipped import DESCRIPTION, ShippedModel, read_model, write_description
from streamcodec.runtime.backend import choose, installed
from streamcodec.runtime.describe import processor_name
from streamcodec.training import temporal_fit
from streamcodec.training.band_gains import measure_band_gains_db
from streamcodec.training.card import CARD, card_of
from streamcodec.training.coded_rate import MODES, entropy_gaps, kbps_by_quality, latents_of, read_speech
from streamcodec.training.data import SegmentSource, build_cache
from streamcodec.training.envelope_fit import QUALITY_PASSES, SEGMENT_PACKETS, examples_of, fit
from streamcodec.training.export import export_model, load_checkpoint, post_filter_of_training, training_facts
from streamcodec.training.post_filter import (
    LOW_NOISE_GAINS,
    PITCH_STRENGTHS,
    calibrated,
    post_filter_parameters,
    without_lines,
)
from streamcodec.training.recipe import EnvelopeRecipe, MeasureRecipe, Recipe, read_recipe
from streamcodec.training.task import TrainingError

COST_RATE_HZ, COST_BPS = 24_000, 6_000.0
WARM_UP_PACKETS = 100


def release(recipe: Recipe, folder: Path) -> ShippedModel:
    """Make the model of a recipe in ``folder``, whose name is the model's; a model there is replaced in the end.

    Raises TrainingError, DatasetError, EvaluationError, FileFormatError.
    """
    with whole_folder(folder, DESCRIPTION) as made:
        _release(recipe, made)
    forget_models()
    return read_model(folder)


def _release(recipe: Recipe, folder: Path) -> None:
    codec = load_checkpoint(*recipe.checkpoints)
    config = codec.config
    clips = read_speech(recipe.rates, config.sample_rate_hz)
    facts: dict[str, Any] = {
        "training": training_facts(recipe.checkpoints[0], recipe.checkpoints[1:]),
        # Known only when packets have been coded, which takes a model.
        "kbps_by_quality": {mode: [1.0 + k for k in range(config.qualities)] for mode in MODES},
    }
    export_model(codec, folder, facts, _start_of_post_filter(recipe, codec), recipe.int8)
    model = read_model(folder)
    runtime = open_runtime(model)
    latents = latents_of(runtime, clips)
    facts["kbps_by_quality"] = kbps_by_quality(runtime, latents)
    facts["entropy_gap"] = entropy_gaps(
        codec, runtime, latents, range(0, config.qualities, max(recipe.gap_stride, 1))
    )
    if recipe.post_filter.band_gains is not None:
        model = replace(model, post_filter=_calibrated(recipe, model))
    if recipe.post_filter.lines_hz:
        quiet = without_lines(config, model.post_filter, recipe.post_filter.lines_hz)
        model = replace(model, post_filter=quiet)
    if recipe.envelope is not None:
        envelope, facts["envelope_fit"] = _fitted_envelope(recipe.envelope, model)
        model = replace(model, post_filter=model.post_filter._replace(envelope=envelope))
    if recipe.temporal is not None:
        temporal, facts["temporal_fit"] = temporal_fit.fitted(recipe.temporal, model)
        model = replace(model, post_filter=model.post_filter._replace(temporal=temporal))
    write_post_filter(model.post_filter, folder / POST_FILTER_FILE)
    write_description(folder, config, recipe.int8, facts)
    if recipe.measure is not None:
        facts |= _measured(recipe.measure, folder)
        write_description(folder, config, recipe.int8, facts)
    forget_models()
    model = read_model(folder)
    (folder / CARD).write_text(card_of(model, recipe.card), encoding="utf-8")


def _start_of_post_filter(recipe: Recipe, codec: NeuralCodec) -> PostFilterParameters:
    """The post-filter of training if that had gains, else one of the recipe's curves."""
    trained, wanted = post_filter_of_training(recipe.checkpoints[0]), recipe.post_filter
    made = post_filter_parameters(
        codec.config, wanted.low_noise_gains or LOW_NOISE_GAINS, wanted.pitch_strengths or PITCH_STRENGTHS
    )
    if bool((trained.band_gains == 1.0).all() and (trained.noise_gains == 1.0).all()):
        return made
    if wanted.low_noise_gains is not None:
        raise TrainingError(
            f"{recipe.checkpoints[0]} was trained through noise gains of its own; leave low_noise_gains out"
        )
    return trained if wanted.pitch_strengths is None else trained._replace(pitch_strengths=made.pitch_strengths)


def _calibrated(recipe: Recipe, model: ShippedModel) -> PostFilterParameters:
    """Gains that undo what bands are still too loud or too quiet by on the speech of ``band_gains``."""
    folder = recipe.post_filter.band_gains
    assert folder is not None
    clips, runtime = read_speech(folder, model.config.sample_rate_hz), open_runtime(model)
    found_db = measure_band_gains_db(runtime, clips, latents_of(runtime, clips))
    return calibrated(model.config, model.post_filter, found_db)


def _fitted_envelope(recipe: EnvelopeRecipe, model: ShippedModel) -> tuple[EnvelopeWeights, dict[str, Any]]:
    """Weights of the spectral-envelope filter for this decoder, as they are stored; and what the fit left over."""
    config = model.config
    with tempfile.TemporaryDirectory() as cache:
        source = SegmentSource(
            build_cache(list(recipe.data), Path(cache), config.sample_rate_hz),
            SEGMENT_PACKETS * config.frame_samples,
            config.sample_rate_hz,
            recipe.seed,
        )
        segments, _ = source.batch(0, recipe.segments)
    passes = np.minimum(
        np.asarray(QUALITY_PASSES)[np.arange(len(segments)) % len(QUALITY_PASSES)], config.qualities - 1
    )
    examples = examples_of(open_runtime(model), segments, passes, recipe.seed)
    if not len(examples.band_energy):
        raise TrainingError("there is no voice in envelope.data to fit the spectral-envelope filter to")
    weights, after, before = fit(
        examples, config.sample_rate_hz, recipe.steps, recipe.hidden, recipe.frame_hidden, recipe.seed
    )
    fitted = {"frames": len(examples.band_energy), "mean_square_before": before, "mean_square_after": after}
    rounded = {name: round(float(value), 4) for name, value in fitted.items() if name != "frames"}
    settings = {name: value for name, value in asdict(recipe).items() if name != "data"}
    return stored_form(weights), {**settings, "frames": fitted["frames"], **rounded}


def _measured(recipe: MeasureRecipe, folder: Path) -> dict[str, Any]:
    """Figures on speech, and if asked for the cost on this machine."""
    forget_models()
    name = str(folder.resolve())
    clips = read_clips(recipe.speech, ["speech"])
    report = evaluate(clips, streamcodec_systems(recipe.kbps, name), recipe.metrics, recipe.workers)
    facts: dict[str, Any] = {
        "figures": [
            {
                "packets": report.systems[row.system].split(", ", 1)[1],
                "nominal_kbps": row.nominal_kbps,
                "kbps": round(row.payload_kbps, 2),
                "clips": row.clips,
                "scores": {
                    metric: [round(value, 3) for value in (found.mean, found.half_width) if math.isfinite(value)]
                    for metric, found in row.scores.items()
                    if found.count
                },
            }
            for row in report.summaries("speech")
        ]
    }
    if recipe.cost_hops:
        facts["cost"] = _cost(name, recipe.cost_hops)
    return facts


def _cost(name: str, hops: int) -> dict[str, Any]:
    link = Link(COST_RATE_HZ, COST_BPS, "independent", name)
    run([link], WARM_UP_PACKETS)
    times = summarise(run([link], max(10, hops // 2)).total_ms)
    backend = choose("auto").backend
    version = installed("numba" if backend == "compiled" else backend)
    return {
        "p50_ms": round(times["p50_ms"], 3),
        "p99_ms": round(times["p99_ms"], 3),
        "measured": "per 10 ms of sound, encode and decode, one thread, "
        f"{processor_name()}, {backend} {version} (streamcodec bench)",
    }


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("recipe", type=Path, help="TOML file, see docs/releases.md")
    arguments.add_argument("folder", type=Path, help="model folder to write; its name is the model's name")
    return arguments


def main() -> int:
    """Read the recipe and make the model."""
    arguments = parser().parse_args()
    try:
        model = release(read_recipe(arguments.recipe), arguments.folder)
    except (StreamcodecError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rates = model.kbps_by_quality("independent")
    size = f"{model.size_bytes / 1e6:.2f} MB"
    print(f"{model.folder}: {size}, {rates[0]:.2f} to {rates[-1]:.2f} kbps, bitstream {model.fingerprint}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
