"""Codecs side by side: table, pictures and sounds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from streamcodec.codec.packet import Tier
from streamcodec.evaluation import Clip
from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.research.experiments.bench_table import bench_table
from streamcodec.research.experiments.contenders import Contender, model_contenders, tier
from streamcodec.research.experiments.downsampling import Downsampling
from streamcodec.research.experiments.drawing import draw_curves, draw_spectra
from streamcodec.research.experiments.experiment import Context, Picture, Results, Sound
from streamcodec.research.experiments.sounds import Float32Array, write_sound
from streamcodec.research.experiments.trained import loss_curve
from streamcodec.research.models.codec import ResearchCodec

VALIDATION = "validation"
"""What the log calls the distortion on sound held back."""
DRAWN = 6
"""Codecs in a picture of spectrograms at most."""


def shipped_tiers() -> list[Contender]:
    """The streaming codec itself on the same axes."""
    return [
        tier("streamcodec, neural tier, 6 kbps", Tier.NEURAL, 6.0),
        tier("streamcodec, neural tier, 12 kbps", Tier.NEURAL, 12.0),
        tier("streamcodec, near-lossless tier, 32 kbps", Tier.NEAR_LOSSLESS, 32.0, optimise="mse"),
    ]


def compare(
    context: Context,
    title: str,
    codecs: Mapping[str, ResearchCodec],
    clips: Sequence[Clip],
    training: Sequence[Float32Array],
    others: Sequence[Contender] = (),
) -> Results:
    """Score codecs beside the downsampling baseline and ``others``; draw and write what they made of the clips."""
    rate_hz = next(iter(codecs.values())).model.sample_rate_hz
    contenders = [each for name, codec in codecs.items() for each in model_contenders(name, codec)]
    baseline = Downsampling(training, rate_hz)
    plain = Contender("downsampling", baseline, kbps=8.0)
    everyone = [*contenders, plain, *others]
    table = bench_table(context, title, everyone, clips, rate_hz, baseline)
    pictures = [draw_curves(curves_of(context, list(codecs)), context.folder / "training.png")]
    if context.scale.most_epochs is not None:
        held = curves_of(context, list(codecs), VALIDATION)
        pictures.append(draw_curves(held, context.folder / "held-back.png", value="distortion on sound held back"))
    shown, sounds = show(context, everyone, clips)
    return Results([table], [*pictures, *shown], sounds)


def curves_of(
    context: Context, keys: Sequence[str], figure: str = "distortion"
) -> dict[str, tuple[list[float], list[float]]]:
    """Curves of a figure of the runs of this experiment, over steps."""
    curves = {key: loss_curve(context.folder / "runs" / key, figure) for key in keys}
    return {key: ([float(step) for step in steps], values) for key, (steps, values) in curves.items()}


def show(
    context: Context, contenders: Sequence[Contender], clips: Sequence[Clip]
) -> tuple[list[Picture], list[Sound]]:
    """Spectrograms, error maps and sound files of the first clip of each kind, delay removed."""
    pictures, sounds = [], []
    firsts = {clip.kind: clip for clip in reversed(clips)}
    for kind, clip in sorted(firsts.items()):
        samples, rate_hz = clip.read()
        folder = context.folder / "sounds" / kind
        sounds.append(Sound(write_sound(folder / "original.flac", samples, rate_hz), "original", kind))
        decoded: dict[str, Float32Array] = {}
        for contender in contenders:
            coded = contender.code(samples, rate_hz, contender.kbps)
            name = f"{contender.name}, {coded.payload_bytes * 8e-3 * rate_hz / samples.size:.1f} kbps"
            _, heard = AlignedPair(samples, rate_hz, coded.samples, coded.sample_rate_hz).at(rate_hz)
            decoded[name] = np.pad(heard, (0, max(0, samples.size - heard.size)))[: samples.size].astype(np.float32)
            path = folder / f"{re.sub('[^a-z0-9.]+', '-', name.lower())}.flac"
            sounds.append(Sound(write_sound(path, decoded[name], rate_hz), name, kind))
        drawn = dict(list(decoded.items())[:: max(1, -(-len(decoded) // DRAWN))])
        pictures.append(draw_spectra(samples, drawn, rate_hz, context.folder / f"spectra-{kind}.png", clip.name))
    return pictures, sounds
