"""The LadLe paper's four ways of giving 32 kHz sound to a network that must answer at 44.1 kHz, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.clips import Clip
from streamcodec.evaluation.full_reference import si_sdr_db
from streamcodec.evaluation.peers.mp3 import Mp3Peer
from streamcodec.evaluation.spectral import log_spectral_distance
from streamcodec.research.experiments.experiment import Cell, Context, Table
from streamcodec.research.experiments.restoration_pairs import Samples, read_clip
from streamcodec.research.models.restoration import RestorationConfig, RestorationNet
from streamcodec.research.training.restoration_task import PairBatch, published_task
from streamcodec.training.loop import RunLimits, TrainingLoop

CODED_HZ, ORIGINAL_HZ = 32_000, 44_100
MP3_KBPS = 32.0
STEP_S = 1.0
"""Sound in one training step, the same for all."""
SHARE_OF_STEPS = 1 / 3
MOST_S = 6.0


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


def compare_ways(context: Context) -> Table:
    """Train the published network once for each way and score what it makes of development sound."""
    train, dev = _prepared(context, context.material.train), _prepared(context, context.material.dev)
    plain = Way("", 1.0, "resample")
    rows = [("resampled to 44.1 kHz, not restored", *_scores([(_flat(plain, s), s.original) for s in dev]))]
    for way in WAYS:
        network = _trained(context, way, train)
        with torch.no_grad():
            restored = [network(torch.from_numpy(_segments(way, sound))).numpy().ravel() for sound in dev]
        rows.append((way.name, *_scores([(r, s.original) for r, s in zip(restored, dev, strict=True)])))
    return Table(
        "Restoring 32 kHz MP3 to 44.1 kHz: four ways of preparing segments",
        ("segments", "SNR dB", "SI-SDR dB", "MSE x 1e4", "LSD dB"),
        tuple(rows),
        note=f"MP3 of {MP3_KBPS:g} kbps; the published network and loss, {_steps(context)} steps of {STEP_S:g} s. "
        "The last row, not in the paper, adds the network's output to its input. Means over development clips.",
    )


def _prepared(context: Context, clips: Sequence[Clip]) -> list[_Sound]:
    found = [_sound(clip) for clip in context.track(clips, "MP3 at 32 kHz", len(clips))]
    return [sound for sound in found if sound is not None]


def _segments(way: Way, sound: _Sound) -> Samples:
    return way.prepare(sound.decoded.reshape(-1, round(way.segment_s * CODED_HZ)))


def _flat(way: Way, sound: _Sound) -> Samples:
    return _segments(way, sound).ravel()


def _steps(context: Context) -> int:
    return max(2, round(SHARE_OF_STEPS * context.scale.steps))


def _trained(context: Context, way: Way, train: Sequence[_Sound]) -> RestorationNet:
    batch = round(STEP_S / way.segment_s)
    inputs = [_segments(way, sound) for sound in train]
    targets = [sound.original.reshape(len(i), -1) for i, sound in zip(inputs, train, strict=True)]

    def batches(step: int) -> PairBatch:
        rng = np.random.default_rng((context.seed, step))
        which = [int(k) for k in rng.integers(len(inputs), size=batch)]
        rows = [int(rng.integers(len(inputs[k]))) for k in which]
        decoded, original = (
            torch.from_numpy(np.stack([part[k][row] for k, row in zip(which, rows, strict=True)]))
            for part in (inputs, targets)
        )
        return decoded, original, torch.empty(0)

    torch.manual_seed(context.seed)
    network = RestorationNet(RestorationConfig(residual=way.residual))
    folder = context.folder / "runs" / f"way-{WAYS.index(way)}"
    loop = TrainingLoop(published_task(network, batches), folder, context.seed)
    with context.bar(way.name) as bar:
        steps = _steps(context)
        loop.run(RunLimits(max_steps=steps, log_steps=10), lambda row: bar(float(str(row["progress"])), ""))
    return network.eval()


def _scores(pairs: Sequence[tuple[Samples, Samples]]) -> list[Cell]:
    """Means of SNR, SI-SDR, MSE and log-spectral distance."""
    rows = []
    for restored, original in pairs:
        sound, wanted = restored.astype(np.float64), original.astype(np.float64)
        error = float(np.mean((sound - wanted) ** 2)) + 1e-12
        snr_db = 10.0 * np.log10((float(np.mean(wanted**2)) + 1e-12) / error)
        rows.append((snr_db, si_sdr_db(wanted, sound), 1e4 * error, log_spectral_distance(wanted, sound)))
    return [float(f"{value:.4g}") for value in np.mean(rows, axis=0)]
