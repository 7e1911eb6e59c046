"""``streamcodec train``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamcodec.cli.common import need, positive, print_json, share, whole
from streamcodec.errors import StreamcodecError

if TYPE_CHECKING:
    from streamcodec.training.codec_run import CodecRun, CodecRunOptions

HELP = (
    "train the neural tier on folders of sound",
    "streamcodec train --data recordings --output runs/mine --minutes 60",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of .wav, .flac or .ogg files")
    parser.add_argument("--output", type=Path, required=True, help="run folder; a run that stands there is resumed")
    parser.add_argument("--minutes", type=positive, default=60.0, help="training time in all (default 60)")
    parser.add_argument("--steps", type=whole, default=None, help="steps at most (default: no bound)")
    parser.add_argument("--batch", type=whole, default=8, help="segments per step and process (default 8)")
    parser.add_argument("--learning-rate", type=positive, default=None, help="peak rate (default: by stage)")
    parser.add_argument(
        "--start-from",
        default=None,
        metavar="CHECKPOINT_OR_MODEL",
        help="what a new run takes its weights from: a checkpoint, a model's folder or its name (speech-24k)",
    )
    parser.add_argument(
        "--continue-from",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="go on from kept state (what --keep wrote): weights of codec and judges, the kind of both",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="at the end, write the state a later run goes on from",
    )
    parser.add_argument(
        "--decoder",
        choices=("plain", "harmonic", "refined"),
        default="plain",
        help="kind of decoder: as shipped (default), shaping a pulse train at the voice's pitch beside noise, or "
        "with a small network after its noise",
    )
    parser.add_argument(
        "--harmonic",
        action="store_const",
        const="harmonic",
        dest="decoder",
        help="the same as --decoder harmonic",
    )
    parser.add_argument(
        "--judges",
        choices=("low", "voice"),
        default="low",
        help="discriminators: low looks below 3 kHz, voice at fine spectra by bands and at the waveform",
    )
    parser.add_argument(
        "--decoder-only",
        action="store_true",
        help="train the decoder alone: packets stay as they are, so old and new ends of a line understand each other",
    )
    parser.add_argument(
        "--adversarial",
        type=share,
        nargs="?",
        const=0.0,
        default=None,
        metavar="PROGRESS",
        help="train against a discriminator too, from this share of the run on (no number: from the start)",
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda or auto (default); torchrun gives each process a GPU"
    )
    parser.add_argument("--threads", type=whole, default=None, help="CPU threads (default: all)")
    parser.add_argument(
        "--bf16", choices=("auto", "on", "off"), default="auto", help="networks in bfloat16; auto keeps the faster"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of everything random (default 1)")
    parser.add_argument("--cache", type=Path, default=None, help="folder of decoded sound (default: OUTPUT/cache)")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument(
        "--benchmark", action="store_true", help="only print seconds of sound per second of every option here"
    )


def run(options: argparse.Namespace) -> None:
    """Train with a live line, then write curves and sample spectrograms; or time what this machine can do."""
    for module in ("torch", "soxr", "matplotlib"):
        need(module)
    import torch

    from streamcodec.codec.files.output_file import check_folder_to_fill
    from streamcodec.training.codec_run import CodecRunOptions, start_run

    if not options.benchmark:
        check_folder_to_fill(options.output)
    for folder in options.data:
        if not folder.is_dir():
            raise StreamcodecError(f"there is no folder {folder}; --data takes folders of sound files")
    if options.continue_from is not None and options.start_from is not None:
        raise StreamcodecError("--continue-from and --start-from both say where to begin: give one of them")
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    asked = CodecRunOptions(
        data=options.data,
        folder=options.output,
        cache=options.cache,
        batch_segments=options.batch,
        learning_rate=options.learning_rate,
        seed=options.seed,
        device=options.device,
        bfloat16=options.bf16,
        start_from=options.start_from,
        adversarial_from=options.adversarial,
        decoder_only=options.decoder_only,
        decoder=options.decoder,
        judges=options.judges,
        continue_from=options.continue_from,
    )
    if options.benchmark:
        _benchmark(asked)
    else:
        _train(start_run(asked), options)


def _train(started: CodecRun, options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from streamcodec.training.loop import RunLimits
    from streamcodec.training.pictures import draw_curves, draw_samples

    loop, first = started.loop, started.distributed.rank == 0
    console = Console(stderr=True, quiet=not first)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console)
    with bar:
        task = bar.add_task("starting", total=1.0)

        def report(row: dict[str, object]) -> None:
            kbps = row.get("kbps")
            found = (
                f"loss {row['loss']} kbps {kbps[0]}-{kbps[-1]}"
                if isinstance(kbps, list)
                else f"discriminator alone {row['discriminator_loss']}"
            )
            bar.update(
                task,
                completed=float(str(row["progress"])),
                description=f"step {row['step']} {found} {row['audio_s_per_s']} s/s",
            )
            draw_curves(options.output)

        loop.run(RunLimits(options.minutes, options.steps), report)
    if first:
        draw_curves(options.output)
        with loop.averaged():
            draw_samples(started.codec_task, options.output / "samples.png")
        if options.json:
            print_json({"steps": loop.step, "minutes": round(loop.minutes_done, 3)})
        else:
            print(
                f"{options.output}: {loop.step} steps in {loop.minutes_done:.1f} minutes; checkpoint.pt, log.jsonl, "
                "curves.png and samples.png are there"
            )
        if options.keep is not None:
            _keep(options)
    started.distributed.leave()


def _keep(options: argparse.Namespace) -> None:
    from streamcodec.models.shipped import DEFAULT_MODEL
    from streamcodec.training.kept_state import keep_state, read_kept_state
    from streamcodec.training.loop import CHECKPOINT

    begun = options.start_from
    base = DEFAULT_MODEL if begun is None or Path(begun).is_file() else begun
    if options.continue_from is not None:
        base = read_kept_state(options.continue_from).base
    size = keep_state(options.output / CHECKPOINT, base, options.keep)
    if not options.json:
        print(f"{options.keep}: kept state, {size / 1e6:.1f} MB; --continue-from {options.keep} goes on from it")


def _benchmark(asked: CodecRunOptions) -> None:
    from streamcodec.training.codec_run import time_options

    print(f"{'device':8}{'threads':>8}{'bf16':>6}{'batch':>7}{'adversarial':>13}{'sound s/s':>11}")
    for option, speed in time_options(asked):
        bf16, adversarial = ("yes" if flag else "no" for flag in (option.bfloat16, option.adversarial))
        row = f"{option.device:8}{option.threads:8}{bf16:>6}{option.batch_segments:7}{adversarial:>13}{speed:11.1f}"
        print(row, flush=True)
