"""Train each variant for the same few steps from nothing and compare them at equal rates.

Example::

    python -m bench.training --data data/train --validate data/dev/speech --steps 300

Writes one small JSON per variant: settings, loss terms at the end of training, and metrics by quality index of the
averaged weights on the validation clips, each packet coded alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.training.decoded_alone import Scores, decode_alone, mean_scores, read_sound, scores_of
from bench.training.variants import Variant, variants
from streamcodec.evaluation import METRICS, Clip, read_clips
from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.models.codec import NeuralCodec
from streamcodec.models.config import NeuralConfig
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.data import build_cache
from streamcodec.training.loop import RunLimits, TrainingLoop
from streamcodec.training.schedule import TrainingConfig

METRIC_NAMES = ("pesq", "stoi", "mel16", "si_sdr")
RATES_KBPS = (3.0, 6.0, 10.0)
SEGMENT_S = 0.8
RESULTS = Path(__file__).parents[1] / "results"


class VariantTask(CodecTask):
    """A codec task with what a variant changes."""

    def __init__(self, variant: Variant, config: TrainingConfig, cache: Path, bfloat16: bool) -> None:
        self._variant = variant
        super().__init__(variant.model, config, cache, bfloat16=bfloat16)

    def make_codec(self, model_config: NeuralConfig) -> NeuralCodec:
        codec = self._variant.make(model_config)
        self._variant.change_networks(codec)
        return codec

    def prepare(self) -> dict[str, float]:
        found = super().prepare()
        self._variant.change_start(self)
        return found


@torch.no_grad()
def score_quality(codec: NeuralCodec, clips: Sequence[Clip], quality_index: int) -> Scores:
    """Mean rate and metrics of one quality index, packets coded alone."""
    rate_hz = codec.config.sample_rate_hz
    rows: list[Scores] = []
    for clip in clips:
        decoded = decode_alone(codec, read_sound(clip, rate_hz), quality_index)
        pair = AlignedPair(decoded.sound[0].numpy(), rate_hz, decoded.out.samples[0].numpy(), rate_hz)
        rows.append(scores_of(codec, decoded.out, pair, METRIC_NAMES))
    return mean_scores(rows)


def at_rates(qualities: Sequence[Scores], rates_kbps: Sequence[float]) -> list[Scores]:
    """Scores at given rates, linear in the log of the rate; none outside of what was measured."""
    known = sorted(qualities, key=lambda row: row["kbps"])
    position = np.log([row["kbps"] for row in known])
    found = []
    for rate in rates_kbps:
        if position[0] <= np.log(rate) <= position[-1]:
            names = (name for name in known[0] if name != "kbps")
            values = {n: float(np.interp(np.log(rate), position, [row[n] for row in known])) for n in names}
            found.append({"kbps": rate, **values})
    return found


def run_variant(
    name: str, options: argparse.Namespace, cache: Path, clips: Sequence[Clip], say: Callable[[str], None]
) -> dict[str, object]:
    """Train and score one variant."""
    variant = variants()[name]
    config = TrainingConfig(
        seed=options.seed,
        segment_packets=round(SEGMENT_S * variant.model.frames_per_second),
        batch_segments=options.batch,
        warmup_steps=50,
        rate_warmup_steps=100,
        initial_segments=300,
    )
    with tempfile.TemporaryDirectory() as folder:
        task = VariantTask(variant, config, cache, options.bf16)
        loop = TrainingLoop(task, Path(folder), options.seed)
        rows: list[dict[str, object]] = []

        def report(row: dict[str, object]) -> None:
            rows.append(row)
            say(f"{name}: step {row['step']} of {options.steps}, loss {row['loss']}")

        began = time.monotonic()
        loop.run(RunLimits(max_steps=options.steps, checkpoint_minutes=1e9), report)
        minutes = (time.monotonic() - began) / 60
        with loop.averaged():
            qualities = [
                score_quality(task.codec, clips, quality_index)
                for quality_index in range(0, variant.model.qualities, options.quality_stride)
            ]
    return {
        "variant": name,
        "what": variant.what,
        "steps": options.steps,
        "sound_s": round(options.steps * task.sound_s_per_step, 1),
        "minutes": round(minutes, 1),
        "parameters": sum(p.numel() for p in task.codec.parameters()),
        "training": task.settings(),
        "clips": len(clips),
        "last_losses": rows[-1],
        "levels": [_rounded(row) for row in qualities],
        "at_rates": [_rounded(row) for row in at_rates(qualities, RATES_KBPS)],
    }


def _rounded(row: Scores) -> Scores:
    return {name: round(value, 3) for name, value in row.items()}


def table_of(results: Sequence[dict[str, object]]) -> Table:
    """Metrics of every variant at every rate."""
    table = Table("variant", "kbps", *(METRICS[name].title for name in METRIC_NAMES))
    for result in results:
        rows = result["at_rates"]
        assert isinstance(rows, list)
        for row in rows:
            table.add_row(str(result["variant"]), f"{row['kbps']:g}", *(f"{row[name]:.3f}" for name in METRIC_NAMES))
    return table


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser(
        "python -m bench.training", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    options.add_argument("--data", type=Path, nargs="+", required=True, help="training sound")
    options.add_argument("--validate", type=Path, required=True, help="speech to score on")
    options.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded sound (default runs/cache)")
    options.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON files (default bench/results)")
    options.add_argument("--variants", nargs="+", choices=list(variants()), default=list(variants()))
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--clips", type=int, default=8, help="clips to score on (default 8)")
    options.add_argument("--quality-stride", type=int, default=3, help="score every n-th quality index (default 3)")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--bf16", action="store_true", help="networks in bfloat16")
    options.add_argument("--threads", type=int, default=1)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the variants one after another, writing each result as it comes."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    cache = build_cache(options.data, options.cache, NeuralConfig().sample_rate_hz)
    clips = read_clips(options.validate, ["speech"], options.clips)
    errors = Console(stderr=True)
    results = []
    for name in options.variants:
        result = run_variant(name, options, cache, clips, errors.print)
        results.append(result)
        options.out.mkdir(parents=True, exist_ok=True)
        suffix = f"_seed{options.seed}" if options.seed != 1 else ""
        (options.out / f"ablation_{name}{suffix}.json").write_text(json.dumps(result, indent=1) + "\n")
    Console().print(table_of(results))


if __name__ == "__main__":
    main()
