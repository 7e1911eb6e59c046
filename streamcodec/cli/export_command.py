"""``streamcodec export``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from streamcodec.cli.common import need
from streamcodec.errors import StreamcodecError

HELP = (
    "turn a training checkpoint into a model folder",
    "streamcodec export runs/mine/checkpoint.pt my-model --measure speech-folder",
)

GAP_QUALITY_STRIDE = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of a training run")
    parser.add_argument("folder", type=Path, help="model folder to write; its name is the model's name")
    parser.add_argument(
        "--measure", type=Path, required=True, help="folder of speech to measure the rate of each level on"
    )
    parser.add_argument(
        "--balance", type=Path, help="folder of other speech to even out the loudness of bands on, level by level"
    )
    parser.add_argument(
        "--average-with", type=Path, nargs="+", default=[], metavar="CHECKPOINT", help="take the mean of the weights"
    )
    parser.add_argument("--int8", action="store_true", help="multiply in 8 bits: nearly half the time per frame")


def run(options: argparse.Namespace) -> None:
    """Export, then measure the exported model and store what was found in it."""
    for module in ("torch", "onnx", "onnxscript"):
        need(module)
    from streamcodec.codec.neural.model import load_runtime
    from streamcodec.training.band_gains import measure_band_gains_db
    from streamcodec.training.export import (
        export_decoder,
        export_model,
        gains_of_training,
        load_checkpoint,
        training_facts,
    )
    from streamcodec.training.release import MODES, entropy_gaps, kbps_by_quality, latents_of, read_speech

    codec = load_checkpoint(options.checkpoint, *options.average_with)
    gains = gains_of_training(options.checkpoint)
    if gains is not None and options.band_gains:
        raise StreamcodecError(
            f"{options.checkpoint} was trained through the output gains of the model it started from, which even out "
            "its bands already; leave out --balance"
        )
    clips = read_speech(options.measure, codec.config.sample_rate_hz)
    others = read_speech(options.band_gains, codec.config.sample_rate_hz) if options.band_gains else []
    placeholder = {mode: [1.0 + k for k in range(codec.config.qualities)] for mode in MODES}
    facts: dict[str, object] = {
        "name": options.folder.name,
        "training": training_facts(options.checkpoint)
        | {"averaged_with": [training_facts(other) for other in options.average_with]},
        "kbps_by_level": placeholder,
    }
    export_model(codec, options.folder, facts, options.int8, gains=gains)
    runtime = load_runtime(str(options.folder.resolve()))
    latents = latents_of(runtime, clips)
    rates = kbps_by_quality(runtime, latents)
    gaps = entropy_gaps(codec, runtime, latents, range(0, codec.config.qualities, GAP_QUALITY_STRIDE))
    if others:
        found_db = measure_band_gains_db(runtime, others, latents_of(runtime, others))
        export_decoder(codec, options.folder, options.int8, band_gains_db=found_db)
    path = options.folder / "model.json"
    stored = json.loads(path.read_text())
    stored["kbps_by_level"] = rates
    stored["entropy_gap"] = gaps
    path.write_text(json.dumps(stored, indent=1) + "\n")
    size = sum(p.stat().st_size for p in options.folder.iterdir() if p.is_file())
    rate = rates["independent"]
    print(f"{options.folder}: {size / 1e6:.2f} MB, {rate[0]:.2f} to {rate[-1]:.2f} kbps in {len(rate)} levels")
    print(f"{'level':>5} {'packets':11}{'cross-entropy':>14}{'tables':>9}{'bytes':>9}  kbps")
    for gap in gaps:
        real = float(gap["cross_entropy_kbps"])
        added = (f"{100 * (float(gap[name]) / real - 1):+8.1f}%" for name in ("tables_kbps", "bytes_kbps"))
        print(f"{gap['level']:>5} {gap['mode']:11}{real:14.3f}{''.join(added)}")
