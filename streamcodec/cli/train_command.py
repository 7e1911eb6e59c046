"""``streamcodec train``."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamcodec.cli.common import need, positive
from streamcodec.errors import StreamcodecError

HELP = (
    "train the neural tier on folders of sound",
    "streamcodec train --data recordings --out runs/mine --minutes 60",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of .wav, .flac or .ogg files")
    parser.add_argument("--out", type=Path, required=True, help="run folder; a run that stands there is resumed")
    parser.add_argument("--minutes", type=positive, default=60.0, help="training time in all (default 60)")
    parser.add_argument("--steps", type=int, default=None, help="steps at most (default: no bound)")
    parser.add_argument("--batch", type=int, default=8, help="segments per step (default 8)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="seed of everything random (default 1)")
    parser.add_argument("--cache", type=Path, default=None, help="folder of decoded sound (default: OUT/cache)")


def run(options: argparse.Namespace) -> None:
    """Train with a live line, then write curves and sample spectrograms."""
    for module in ("torch", "soxr", "matplotlib"):
        need(module)
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from streamcodec.models.config import NeuralConfig
    from streamcodec.training.codec_task import CodecTask
    from streamcodec.training.data import build_cache
    from streamcodec.training.loop import RunLimits, TrainingLoop
    from streamcodec.training.pictures import draw_curves, draw_samples
    from streamcodec.training.schedule import TrainingConfig

    for folder in options.data:
        if not folder.is_dir():
            raise StreamcodecError(f"there is no folder {folder}; --data takes folders of sound files")
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = NeuralConfig()
    cache = build_cache(options.data, options.cache or options.out / "cache", model.sample_rate_hz)
    settings = TrainingConfig(batch_segments=options.batch, seed=options.seed)
    codec_task = CodecTask(model, settings, cache, device=device)
    loop = TrainingLoop(codec_task, options.out, options.seed)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True))
    with bar:
        task = bar.add_task("starting", total=1.0)

        def report(row: dict[str, object]) -> None:
            kbps = row["kbps"]
            assert isinstance(kbps, list)
            bar.update(
                task,
                completed=float(str(row["progress"])),
                description=f"step {row['step']} loss {row['loss']} kbps {kbps[0]}-{kbps[-1]} "
                f"{row['audio_s_per_s']} s/s",
            )
            draw_curves(options.out)

        loop.run(RunLimits(options.minutes, options.steps), report)
    draw_curves(options.out)
    with loop.averaged():
        draw_samples(codec_task, options.out / "samples.png")
    print(
        f"{options.out}: {loop.step} steps in {loop.minutes_done:.1f} minutes; checkpoint.pt, log.jsonl, "
        "curves.png and samples.png are there"
    )
