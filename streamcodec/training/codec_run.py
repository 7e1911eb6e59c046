"""Puts a run of the neural codec together from what a user asks for: device, precision, stage, processes, folders."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from streamcodec.models.config import NeuralConfig
from streamcodec.models.decoder_kinds import DecoderKind
from streamcodec.models.discriminator import DiscriminatorConfig
from streamcodec.models.voice_judges import VoiceJudgesConfig
from streamcodec.training.adversarial_task import AdversarialConfig, AdversarialTask
from streamcodec.training.checkpoint import read_checkpoint
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.data import build_cache
from streamcodec.training.distributed import DistributedGroup, join_group
from streamcodec.training.harmonic_task import HarmonicTask
from streamcodec.training.kept_state import KeptState, read_kept_state
from streamcodec.training.loop import CHECKPOINT, TrainingLoop
from streamcodec.training.refined_task import RefinedTask
from streamcodec.training.schedule import DECODER_STAGE, FINE_TUNING, TrainingConfig
from streamcodec.training.task import TrainingError
from streamcodec.training.throughput import Option, benchmark, bfloat16_is_faster, codec_task_of, options_here

Switch = Literal["auto", "on", "off"]
TASKS: dict[DecoderKind, type[CodecTask]] = {"plain": CodecTask, "harmonic": HarmonicTask, "refined": RefinedTask}


@dataclass(frozen=True)
class CodecRunOptions:
    """What a user may ask of a run.

    ``start_from`` is a checkpoint, or the name or folder of an exported model. ``adversarial_from`` is the progress
    at which the adversarial stage begins, None for never. ``decoder_only`` leaves encoder and packets as they are.
    ``decoder`` is the kind to train: plain, with a harmonic excitation to shape, or refined. ``judges`` are those of
    the adversarial stage: ``low`` looks below 3 kHz, ``voice`` at fine spectra in bands and at the waveform.
    ``continue_from`` is a folder of kept state; what kind of decoder and judges there are, their shares and the
    repulsion are then its to say, and the judges need no head start, which otherwise is ``head_start_steps``.
    """

    data: Sequence[Path]
    folder: Path
    cache: Path | None = None
    model: NeuralConfig = field(default_factory=NeuralConfig)
    batch_segments: int = 8
    learning_rate: float | None = None
    seed: int = 1
    device: str = "auto"
    bfloat16: Switch = "auto"
    start_from: Path | str | None = None
    adversarial_from: float | None = None
    decoder_only: bool = False
    decoder: DecoderKind = "plain"
    judges: Literal["low", "voice"] = "low"
    continue_from: Path | None = None
    head_start_steps: int = 1_000


@dataclass
class CodecRun:
    """A run ready to go."""

    loop: TrainingLoop
    codec_task: CodecTask
    distributed: DistributedGroup


def choose_device(name: str) -> str:
    """``cpu``, ``cuda`` or ``cuda:N``; ``auto`` is the GPU if there is one, each process of a group its own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError("there is no CUDA device that this torch can use; try --device cpu")
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"{name} is no device; use cpu, cuda or auto") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return name


def settings_of(options: CodecRunOptions, kept: KeptState | None = None) -> TrainingConfig:
    """Settings from nothing, from trained weights, or for an adversarial stage on trained weights."""
    if options.decoder_only:
        settings = DECODER_STAGE
    elif options.adversarial_from == 0.0:
        settings = FINE_TUNING
    elif options.start_from is not None or options.continue_from is not None:
        settings = TrainingConfig(late_losses_from=0.0, rate_warmup_steps=1)
    else:
        settings = TrainingConfig()
    settings = dataclasses.replace(settings, batch_segments=options.batch_segments, seed=options.seed)
    if kept is not None and kept.repulsion is not None:
        settings = dataclasses.replace(settings, repulsion=kept.repulsion)
    if options.learning_rate is not None:
        final = options.learning_rate * settings.final_learning_rate / settings.learning_rate
        settings = dataclasses.replace(settings, learning_rate=options.learning_rate, final_learning_rate=final)
    return settings


def make_task(
    options: CodecRunOptions, cache: Path, device: str, distributed: DistributedGroup | None = None
) -> CodecTask | AdversarialTask[CodecTask]:
    """The task of the stage that is asked for."""
    kept = None if options.continue_from is None else read_kept_state(options.continue_from)
    codec_task = TASKS[options.decoder if kept is None else kept.decoder](
        options.model,
        settings_of(options, kept),
        cache,
        device=device,
        start_from=options.continue_from or options.start_from,
        distributed=distributed,
        decoder_only=options.decoder_only,
    )
    if options.adversarial_from is None:
        return codec_task
    judges = kept.judges if kept is not None else None
    if judges is None:
        judges = VoiceJudgesConfig() if options.judges == "voice" else DiscriminatorConfig()
    config = AdversarialConfig(
        discriminator=judges, from_progress=options.adversarial_from, head_start_steps=options.head_start_steps
    )
    if kept is not None:
        config = dataclasses.replace(config, **kept.adversarial_settings)
    task = AdversarialTask(codec_task, config)
    if kept is not None and kept.judges_weights:
        kept.fill_judges(task.discriminator)
        task.end_head_start()
    return task


def start_run(options: CodecRunOptions) -> CodecRun:
    """Join the distributed group, decode the data once, choose the precision, and begin or resume the run.

    Raises TrainingError if a stage that wants trained weights is asked for with nothing trained to start on.
    """
    standing = options.folder / CHECKPOINT
    fresh = options.start_from is None and options.continue_from is None and not standing.is_file()
    if fresh and (options.adversarial_from == 0.0 or options.decoder_only):
        raise TrainingError(
            "this stage wants trained weights: give --start-from a checkpoint or a model (speech-24k), --output a "
            "folder that holds a run, or --adversarial the progress to begin at, 0.7 for example"
        )
    device = choose_device(options.device)
    distributed = join_group(torch.device(device))
    cache = cache_of(options, distributed)
    task = make_task(options, cache, device, distributed)
    codec_task = codec_task_of(task)
    if options.bfloat16 == "auto":
        # A run that is resumed keeps its precision, or it would not go on exactly.
        kept = read_checkpoint(standing)["settings"].get("bfloat16") if standing.is_file() else None
        bfloat16 = bool(distributed.agree(float(bfloat16_is_faster(task) if kept is None else kept)))
    else:
        bfloat16 = options.bfloat16 == "on"
    codec_task.bfloat16 = bfloat16
    return CodecRun(TrainingLoop(task, options.folder, options.seed, distributed), codec_task, distributed)


def time_options(asked: CodecRunOptions) -> Iterator[tuple[Option, float]]:
    """Seconds of sound per second of every way to train on this machine."""
    cache = cache_of(asked)

    def task_of(option: Option) -> CodecTask | AdversarialTask[CodecTask]:
        adversarial_from = 0.0 if option.adversarial else None
        options = dataclasses.replace(
            asked, batch_segments=option.batch_segments, adversarial_from=adversarial_from, start_from=None
        )
        task = make_task(options, cache, option.device)
        codec_task_of(task).bfloat16 = option.bfloat16
        return task

    return benchmark(task_of, options_here())


def cache_of(options: CodecRunOptions, distributed: DistributedGroup | None = None) -> Path:
    """The decoded sound of the run, built by one process while the others wait."""
    folder = options.cache or options.folder / "cache"
    if distributed is not None and distributed.rank != 0:
        distributed.wait()
        return build_cache(list(options.data), folder, options.model.sample_rate_hz)
    cache = build_cache(list(options.data), folder, options.model.sample_rate_hz)
    if distributed is not None:
        distributed.wait()
    return cache
