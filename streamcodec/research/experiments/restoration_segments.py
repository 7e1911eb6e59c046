"""The LadLe paper's four ways of giving 32 kHz sound to a network that answers at 44.1 kHz, and its two losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from streamcodec.evaluation.alignment import AlignedPair, resample
from streamcodec.evaluation.clips import Clip
from streamcodec.evaluation.errors import MissingPackageError, UnscorableError
from streamcodec.evaluation.full_reference import si_sdr_db
from streamcodec.evaluation.metrics import METRICS
from streamcodec.evaluation.peers.lossy_files import Mp3Peer
from streamcodec.evaluation.spectral import spectral_distortion
from streamcodec.research.experiments.comparison import VALIDATION, curves_of
from streamcodec.research.experiments.drawing import draw_curves
from streamcodec.research.experiments.experiment import Cell, Context, Experiment, Results, Sound, Table
from streamcodec.research.experiments.restoration_pairs import Samples, read_clip
from streamcodec.research.experiments.run_notes import note_run
from streamcodec.research.experiments.sounds import held_back, write_sound
from streamcodec.research.experiments.trained import LOG_LINES, levelled
from streamcodec.research.models.restoration import RestorationConfig, RestorationNet
from streamcodec.research.training.restoration_task import PairBatch, published_task
from streamcodec.training.loop import RunLimits, TrainingLoop

CODED_HZ, ORIGINAL_HZ = 32_000, 44_100
MP3_KBPS = 32.0
BATCH = 4
LOSSES = {"squared error": 0.0, "perceptual": 0.5}
"""Weight of the features' squared error beside the samples' own."""
MOST_S = 6.0
SPARE = 16
"""Segments of a batch of those held back."""


@dataclass(frozen=True)
class Way:
    """One way of preparing segments."""

    name: str
    segment_s: float
    fill: Literal["end", "spread", "resample"]
    residual: bool = False

    def prepare(self, decoded: Samples) -> Samples:
        """Segments at 32 kHz, made as long as those at 44.1 kHz.

        Shape: ``[segments, 32000 * segment_s]`` -> ``[segments, 44100 * segment_s]``.
        """
        count, length = decoded.shape
        wanted = round(self.segment_s * ORIGINAL_HZ)
        if self.fill == "resample":
            # The whole at once, so that segments have no ends of their own.
            joined = resample(decoded.ravel(), CODED_HZ, ORIGINAL_HZ)[: count * wanted]
            padded = np.pad(joined, (0, count * wanted - len(joined)))
            return padded.reshape(count, wanted).astype(np.float32)
        out = np.zeros((count, wanted), np.float32)
        places = np.arange(length) if self.fill == "end" else np.arange(length) * wanted // length
        out[:, places] = decoded
        return out


WAYS = (
    Way("1 s, zeros at the end", 1.0, "end"),
    Way("0.01 s, zeros spread", 0.01, "spread"),
    Way("0.1 s, zeros spread", 0.1, "spread"),
    Way("0.1 s, resampled", 0.1, "resample"),
    Way("0.1 s, resampled, added to the input", 0.1, "resample", residual=True),
)


@dataclass(frozen=True)
class _Sound:
    """MP3-coded at 32 kHz, and the original at 44.1 kHz, whole seconds of both."""

    decoded: Samples
    original: Samples


def _sound(clip: Clip) -> _Sound | None:
    """None for clips shorter than a second."""
    original = read_clip(clip, ORIGINAL_HZ, MOST_S)
    seconds = len(original) // ORIGINAL_HZ
    if seconds == 0:
        return None
    decoded = Mp3Peer(CODED_HZ)(original, ORIGINAL_HZ, MP3_KBPS).samples
    return _Sound(decoded[: seconds * CODED_HZ], original[: seconds * ORIGINAL_HZ])


def run(context: Context) -> Results:
    """Train the published network once for each way and loss, and score what it makes of development sound."""
    train = _prepared(context, _music(context.material.train))
    dev = _prepared(context, _music(context.material.dev))
    kept, held = held_back(train)
    plain = Way("", 1.0, "resample")
    rows: list[tuple[Cell, ...]] = [
        ("resampled to 44.1 kHz, not restored", *_scores([(_flat(plain, s), s.original) for s in dev]))
    ]
    sounds: list[Sound] = []
    for way in WAYS:
        for loss, perceptual in LOSSES.items():
            name = f"{way.name}; {loss}"
            network = _trained(context, way, loss, perceptual, kept, held)
            with torch.no_grad():
                restored = [network(torch.from_numpy(_segments(way, sound))).numpy().ravel() for sound in dev]
            rows.append((name, *_scores([(r, s.original) for r, s in zip(restored, dev, strict=True)])))
            path = context.folder / "sounds" / f"{_key(way, loss)}.flac"
            sounds.append(Sound(write_sound(path, restored[0], ORIGINAL_HZ), name, "first clip"))
    first = write_sound(context.folder / "sounds" / "original.flac", dev[0].original, ORIGINAL_HZ)
    sounds.insert(0, Sound(first, "original", "first clip"))
    table = Table(
        "Restoring 32 kHz MP3 to 44.1 kHz: four ways of preparing segments, two losses",
        ("segments and loss", "SNR dB", "SI-SDR dB", "MSE x 1e4", "SD dB", "ViSQOL audio"),
        tuple(rows),
        note=f"MP3 of {MP3_KBPS:g} kbps; the published network and training, batches of {BATCH}. The way that adds "
        "the network's output to its input is not in the paper. Means over development clips.",
    )
    keys = [_key(way, loss) for way in WAYS for loss in LOSSES]
    pictures = [draw_curves(curves_of(context, keys, "loss"), context.folder / "training.png", value="loss")]
    held_curves = curves_of(context, keys, VALIDATION)
    if all(steps for steps, _ in held_curves.values()):
        pictures.append(draw_curves(held_curves, context.folder / "held-back.png", value="loss on sound held back"))
    return Results([table], pictures, sounds, [_NOTE])


def _music(clips: Sequence[Clip]) -> Sequence[Clip]:
    """Those of music, which the paper restores; all where there is none."""
    return [clip for clip in clips if clip.kind == "music"] or clips


def _prepared(context: Context, clips: Sequence[Clip]) -> list[_Sound]:
    found = [_sound(clip) for clip in context.track(clips, "MP3 at 32 kHz", len(clips))]
    return [sound for sound in found if sound is not None]


def _segments(way: Way, sound: _Sound) -> Samples:
    return way.prepare(sound.decoded.reshape(-1, round(way.segment_s * CODED_HZ)))


def _flat(way: Way, sound: _Sound) -> Samples:
    return _segments(way, sound).ravel()


def _key(way: Way, loss: str) -> str:
    return f"way-{WAYS.index(way)}-{loss.replace(' ', '-')}"


def _pairs(way: Way, sounds: Sequence[_Sound]) -> tuple[Samples, Samples]:
    """Segments before and after. Shape: both ``[segments, 44100 * segment_s]``."""
    inputs = [_segments(way, sound) for sound in sounds]
    targets = [sound.original.reshape(len(i), -1) for i, sound in zip(inputs, sounds, strict=True)]
    return np.concatenate(inputs), np.concatenate(targets)


def _trained(
    context: Context, way: Way, loss: str, perceptual: float, train: Sequence[_Sound], held: Sequence[_Sound]
) -> RestorationNet:
    """The network of one way and loss, as the paper trains it; of so many epochs, or of so many steps."""
    inputs, targets = _pairs(way, train)
    epoch = -(-len(inputs) // BATCH)

    def batch_of(decoded: Samples, original: Samples) -> PairBatch:
        return torch.from_numpy(decoded), torch.from_numpy(original), torch.empty(0)

    def batches(step: int) -> PairBatch:
        order = np.random.default_rng((context.seed, step // epoch)).permutation(len(inputs))
        rows = order[step % epoch * BATCH :][:BATCH]
        return batch_of(inputs[rows], targets[rows])

    spare = _pairs(way, held)
    validation = [batch_of(*(part[k : k + SPARE] for part in spare)) for k in range(0, len(spare[0]), SPARE)]
    torch.manual_seed(context.seed)
    network = RestorationNet(RestorationConfig(residual=way.residual))
    folder = context.folder / "runs" / _key(way, loss)
    task = published_task(network, batches, perceptual=perceptual, held_back=validation)
    loop = TrainingLoop(task, folder, context.seed)
    epochs = context.scale.most_epochs
    steps = context.scale.steps if epochs is None else epochs * epoch
    limits = RunLimits(max_steps=steps, log_steps=max(1, steps // LOG_LINES), validation_steps=epoch)
    with context.bar(f"{way.name}, {loss}") as bar:
        loop.run(limits, lambda row: bar(float(str(row["progress"])), ""))
    settled = levelled(loop.scores) if loop.scores else None
    note_run(folder, loop.step, loop.step / epoch, loop.minutes_done, settled)
    return network.eval()


def _scores(pairs: Sequence[tuple[Samples, Samples]]) -> list[Cell]:
    """Means of SNR, SI-SDR, MSE, spectral distortion and, where it is installed, ViSQOL for audio."""
    rows = []
    for restored, original in pairs:
        sound, wanted = restored.astype(np.float64), original.astype(np.float64)
        error = float(np.mean((sound - wanted) ** 2)) + 1e-12
        snr_db = 10.0 * np.log10((float(np.mean(wanted**2)) + 1e-12) / error)
        heard = _heard(restored, original)
        rows.append((snr_db, si_sdr_db(wanted, sound), 1e4 * error, spectral_distortion(wanted, sound), heard))
    return [None if np.isnan(value) else float(f"{value:.4g}") for value in np.mean(rows, axis=0)]


def _heard(restored: Samples, original: Samples) -> float:
    """ViSQOL for audio; not a number where it is not installed or the clip is too short."""
    metric = METRICS["visqol_audio"]
    try:
        return metric.score(AlignedPair(original, ORIGINAL_HZ, restored, ORIGINAL_HZ))
    except (MissingPackageError, UnscorableError):
        return float("nan")


_NOTE = (
    f"Adam 1e-4, decay 1e-5, batches of {BATCH} segments, the rate halved after five epochs without gain on every "
    "tenth training file, as published; --epochs 20 are the published epochs, and may go on from fewer. "
    "Mono: channels are coded one by one. "
    "Where training files hold nothing above 12 kHz, networks learn to repair what MP3 did below, no more."
)
EXPERIMENT = Experiment(
    "restoration-segments",
    "the LadLe paper's ways of preparing segments and its losses, trained as published",
    run,
    goes_on=True,
)
