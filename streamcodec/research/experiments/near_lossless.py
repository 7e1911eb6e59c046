"""The near-lossless autoencoders in real bytes, beside FLAC, ALAC, Opus and this codec's own tiers."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from streamcodec.codec.files.output_file import free_name
from streamcodec.evaluation import Clip
from streamcodec.evaluation.systems import Coded
from streamcodec.research.experiments.bench_table import bench_table
from streamcodec.research.experiments.comparison import curves_of, show
from streamcodec.research.experiments.contenders import Contender, model_contenders
from streamcodec.research.experiments.drawing import draw_curves, draw_plane, draw_waveforms
from streamcodec.research.experiments.experiment import Context, Experiment, Results, Table
from streamcodec.research.experiments.run_notes import read_note
from streamcodec.research.experiments.sounds import Float32Array, development_clips, held_back, training_sounds
from streamcodec.research.experiments.trained import settings_for, trained
from streamcodec.research.experiments.waveform_contenders import waveform_contenders
from streamcodec.research.models.codec import ResearchCodec
from streamcodec.research.models.dense_vae import DenseVae, DenseVaeConfig
from streamcodec.research.models.frame_autoencoder import FrameAutoencoderConfig
from streamcodec.research.models.registry import MODELS
from streamcodec.research.training.losses import ResearchTraining
from streamcodec.training.task import OptimiserConfig

RATE_HZ = 44_100
VALIDATIONS = 12
"""Every tenth training sound is for validation."""
PRICE = 0.001
PER_FILE_EPOCHS = 1_000
"""Of a VAE for each file, where epochs are asked for: a file of seconds has one step in each."""
WEIGHT_BYTES = 2
EXACT_SNR_DB = 100.0
"""Where the plane shows codecs without any error."""


def run(context: Context) -> Results:
    """Train both papers' models on many files, and the VAE on each development file as it was published."""
    clips = [clip for clip in development_clips(context, RATE_HZ) if clip.kind != "speech"]
    clips = clips or development_clips(context, RATE_HZ)
    kinds = {clip.kind for clip in clips}
    sounds = training_sounds(context, RATE_HZ, [clip for clip in context.material.train if clip.kind in kinds])
    codecs = _general(context, sounds)
    per_file = _per_file(context, clips)
    contenders = [each for name, codec in codecs.items() for each in model_contenders(name, codec)]
    nominal = DenseVaeConfig().ratio
    contenders += [
        Contender("dense-vae per file", per_file, nominal),
        Contender("dense-vae per file, decoder sent", per_file.with_decoder(), nominal),
    ]
    for each in contenders[-2:]:
        each.seconds.append(per_file.training_s)
    contenders += waveform_contenders(RATE_HZ)
    table = bench_table(context, "Near-lossless", contenders, clips, RATE_HZ)
    pictures, heard = show(context, contenders, clips)
    drawings = [
        draw_plane(_families(table), ("real ratio", "SNR dB"), context.folder / "plane.png", _PLANE),
        draw_waveforms(*_overlay(contenders, clips[0]), context.folder / "waveforms.png"),
        draw_curves(curves_of(context, list(codecs)), context.folder / "training.png"),
    ]
    return Results([table, _claims()], [*drawings, *pictures], heard, [_NOTE])


def _published(context: Context) -> ResearchTraining:
    """The papers' settings, as many steps as the scale allows."""
    return settings_for(
        context,
        loss="mse",
        first_price=PRICE,
        free_share=0.0,
        batch_segments=32,
        segment_s=0.1,
        learning_rate=1e-3,
        plateau=True,
        optimiser=OptimiserConfig("adam", (0.9, 0.999), 1e-5, 1.0),
    )


def _general(context: Context, sounds: Sequence[Float32Array]) -> dict[str, ResearchCodec]:
    """Models trained on many files."""
    kept, held = held_back(sounds)
    configs: dict[str, tuple[str, object]] = {
        "autoencoder-35": ("frame-autoencoder", FrameAutoencoderConfig(latents=35)),
        "autoencoder-60": ("frame-autoencoder", FrameAutoencoderConfig(latents=60)),
        "autoencoder-60-linear-path": ("frame-autoencoder", FrameAutoencoderConfig(latents=60, linear_path=True)),
        "dense-vae": ("dense-vae", DenseVaeConfig()),
    }
    every = max(1, context.scale.steps // VALIDATIONS)
    return {
        key: trained(context, key, name, config, kept, _published(context), held, every)
        for key, (name, config) in configs.items()
    }


@dataclass(frozen=True)
class PerFile:
    """A VAE for each file, trained on that very file."""

    codecs: Mapping[str, ResearchCodec]
    """By digest of the sound."""
    training_s: float
    """Clock time that training all of them took."""
    extra_bytes: int = 0

    def __call__(self, samples: Float32Array, sample_rate_hz: int, kbps: float) -> Coded:
        """Shape: ``[T]``, one of the files trained on."""
        codec = self.codecs[_digest(samples)]
        coded = codec.encode(samples)
        size = len(coded) + self.extra_bytes
        return Coded(codec.decode(coded), sample_rate_hz, size, 1, size)

    def with_decoder(self) -> PerFile:
        """The same with the decoder's weights counted, as any receiver needs them."""
        model = next(iter(self.codecs.values())).model
        assert isinstance(model, DenseVae)
        weights = sum(parameter.numel() for parameter in model.decoder.parameters())
        return PerFile(self.codecs, self.training_s, WEIGHT_BYTES * weights)


def _per_file(context: Context, clips: Sequence[Clip]) -> PerFile:
    codecs: dict[str, ResearchCodec] = {}
    keys: Counter[str] = Counter()
    seconds = 0.0
    for clip in clips:
        samples, rate_hz = clip.read()
        key = free_name([f"per-file-{re.sub('[^a-z0-9]+', '-', clip.path.stem.lower())}"], keys)
        settings = _published(context)
        if context.scale.most_epochs is not None:
            step_samples = settings.batch_segments * settings.segment_s * rate_hz
            steps = math.ceil(PER_FILE_EPOCHS * samples.size / step_samples)
            settings = dataclasses.replace(settings, max_steps=min(steps, context.scale.steps))
        codec = trained(context, key, "dense-vae", DenseVaeConfig(), [samples], settings)
        assert isinstance(codec.model, DenseVae)
        with torch.no_grad():
            for parameter in codec.model.decoder.parameters():
                # What 16 bits a weight would have sent.
                parameter.copy_(parameter.half())
        codecs[_digest(samples)] = codec
        seconds += 60.0 * read_note(context.folder / "runs" / key)["minutes"]
    return PerFile(codecs, seconds)


def _digest(samples: Float32Array) -> str:
    return hashlib.sha256(samples.tobytes()).hexdigest()


def _families(table: Table) -> dict[str, list[tuple[float, float]]]:
    """Points of the plane by the first words of a codec's name."""
    ratio, snr = table.columns.index("real ratio"), table.columns.index("SNR dB")
    families: dict[str, list[tuple[float, float]]] = {}
    for row in table.rows:
        height = EXACT_SNR_DB if row[snr] is None else float(str(row[snr]))
        if row[ratio] is not None:
            families.setdefault(str(row[0]).split(",")[0], []).append((float(str(row[ratio])), height))
    return families


def _overlay(contenders: Sequence[Contender], clip: Clip) -> tuple[Float32Array, dict[str, Float32Array], int]:
    """What some codecs made of a clip."""
    samples, rate_hz = clip.read()
    chosen = [
        each for each in contenders if each.name.startswith(("autoencoder-60", "dense", "Opus", "streamcodec n"))
    ]
    decoded = {each.name: each.code(samples, rate_hz, each.kbps).samples for each in chosen[:6]}
    return samples, {k: np.resize(v, samples.size).astype(np.float32) for k, v in decoded.items()}, rate_hz


def _claims() -> Table:
    rows = tuple((name, MODELS[name].summary, MODELS[name].claim) for name in ("frame-autoencoder", "dense-vae"))
    return Table("What was published", ("model", "network", "claim"), rows)


_PLANE = f"Accuracy over compression; codecs without error stand at {EXACT_SNR_DB:g} dB"
_NOTE = (
    "Trained for minutes where the papers took hours. 35 latents for a frame of 1,024 samples are called 30:1, but "
    "frames overlap by half (14.6 samples a latent), and a latent is not one sample's worth of bits. A VAE trained "
    "on the file it codes has to send its decoder too. The linear path is an addition made here."
)
EXPERIMENT = Experiment(
    "near-lossless", "the near-lossless autoencoders in real bytes beside FLAC, ALAC, Opus and this codec", run
)
