"""``streamcodec export``."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamcodec.cli.common import need, print_json

HELP = (
    "turn a training checkpoint into a model folder",
    "streamcodec export runs/mine/checkpoint.pt my-model --data speech-folder",
)

GAP_QUALITY_STRIDE = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of a training run")
    parser.add_argument("folder", type=Path, help="model folder to write; its name is the model's name")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of speech to measure the rate at each quality index on"
    )
    parser.add_argument(
        "--band-gains", type=Path, help="folder of other speech to calibrate band gains on, at every quality index"
    )
    parser.add_argument(
        "--average-with", type=Path, nargs="+", default=[], metavar="CHECKPOINT", help="take the mean of the weights"
    )
    parser.add_argument("--int8", action="store_true", help="multiply in 8 bits: nearly half the time per frame")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Make a model as a release is made, without a recipe: no envelope filter is fitted, no quality measured."""
    for module in ("torch", "onnx", "onnxscript"):
        need(module)
    from streamcodec.training.recipe import PostFilterRecipe, Recipe
    from streamcodec.training.release import release

    recipe = Recipe(
        checkpoints=(options.checkpoint, *options.average_with),
        rates=options.data,
        int8=options.int8,
        gap_stride=GAP_QUALITY_STRIDE,
        post_filter=PostFilterRecipe(band_gains=options.band_gains),
    )
    model = release(recipe, options.folder)
    if options.json:
        rates = {mode: model.kbps_by_quality(mode) for mode in ("independent", "stream")}
        figures = {"kbps_by_quality": rates, "entropy_gap": model.facts["entropy_gap"]}
        print_json({"size_bytes": model.size_bytes} | figures)
        return
    rate = model.kbps_by_quality("independent")
    size = f"{model.size_bytes / 1e6:.2f} MB"
    print(f"{options.folder}: {size}, {rate[0]:.2f} to {rate[-1]:.2f} kbps at {len(rate)} quality indices")
    gaps = model.facts["entropy_gap"]
    print(f"{'quality index':>13} {'packets':11}{'cross-entropy':>14}{'tables':>9}{'bytes':>9}  kbps")
    for gap in gaps:
        real = float(gap["cross_entropy_kbps"])
        added = (f"{100 * (float(gap[name]) / real - 1):+8.1f}%" for name in ("tables_kbps", "bytes_kbps"))
        print(f"{gap['quality_index']:>13} {gap['mode']:11}{real:14.3f}{''.join(added)}")
