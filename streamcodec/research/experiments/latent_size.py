"""How large a latent? The course project's ladder of latents per frame, and dense latents per block, in real bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from streamcodec.evaluation import Clip
from streamcodec.research.experiments.comparison import compare, shipped_tiers
from streamcodec.research.experiments.downsampling import Downsampling
from streamcodec.research.experiments.drawing import draw_plane
from streamcodec.research.experiments.experiment import Context, Experiment, Results, Table
from streamcodec.research.experiments.sounds import Float32Array, development_clips, training_sounds
from streamcodec.research.experiments.trained import settings_for, trained
from streamcodec.research.models.codec import ResearchCodec
from streamcodec.research.models.frequency_conv import FrequencyConvConfig

RATE_HZ = 16_000
LADDER = {512: 0.867, 256: 0.803, 128: 0.929, 64: 1.24, 32: 1.61}
"""Latents a frame, and the published RMSE on spectra."""
BLOCK_LATENTS = (64, 128, 256, 512)
LADDER_CHANNELS = (16, 32, 64)
NOMINAL_BITS = 4
"""Bits a latent that turn 512 latents of 126 frames in 2 s into the 126 kbps (of 1,024 bits) that were quoted."""
PRICE = 0.001


def run(context: Context) -> Results:
    """Train every rung at one fixed price of a bit, so that the rate is what the network finds worth it."""
    rate_hz = context.rate_hz(RATE_HZ)
    sounds = training_sounds(context, rate_hz)
    clips = development_clips(context, rate_hz)
    settings = settings_for(context, first_price=PRICE)
    rungs = {
        f"{latents} a frame": FrequencyConvConfig(channels=LADDER_CHANNELS, time_stride=1, latents=latents)
        for latents in LADDER
    }
    blocks = {f"{latents} a block": FrequencyConvConfig(latents=latents) for latents in BLOCK_LATENTS}
    codecs = {
        key: trained(context, key.replace(" ", "-"), "frequency-conv", config, sounds, settings)
        for key, config in {**rungs, **blocks}.items()
    }
    keyed = {key.replace(" ", "-"): codec for key, codec in codecs.items()}
    found = compare(context, "Latent sizes", keyed, clips, sounds, shipped_tiers())
    ladder = _ladder(codecs, clips, Downsampling(sounds, rate_hz))
    lines = {"here, real kbps": (2, 3), "downsampling, real kbps": (2, 4), "published, nominal kbps": (1, 5)}
    plane = draw_plane(
        {
            name: [(float(str(row[kbps])), float(str(row[rmse]))) for row in ladder.rows]
            for name, (kbps, rmse) in lines.items()
        },
        ("kbps", "RMSE on log(1+|S|)"),
        context.folder / "ladder.png",
        "RMSE on spectra over the rate that was quoted and the rate that is real",
    )
    return Results([*found.tables, ladder], [plane, *found.pictures], found.sounds, [_NOTE])


def _ladder(codecs: Mapping[str, ResearchCodec], clips: Sequence[Clip], baseline: Downsampling) -> Table:
    """RMSE on log(1+|S|) of every rung, beside plain downsampling's at its real rate and the published figure."""
    rows = []
    for latents, published in LADDER.items():
        codec = codecs[f"{latents} a frame"]
        sounds = [clip.read()[0] for clip in clips]
        rate_hz = codec.model.sample_rate_hz
        size = sum(len(codec.encode(samples)) for samples in sounds)
        kbps = size * 8e-3 * rate_hz / sum(samples.size for samples in sounds)
        own = [_decoded_features(codec, samples) for samples in sounds]
        plain = [codec.model.analyse(_batch(baseline(samples, rate_hz, kbps).samples)) for samples in sounds]
        frames = codec.model.representation.columns(2 * rate_hz)
        nominal = latents * frames / 2 * NOMINAL_BITS / 1024
        rmse, plain_rmse = (round(_spectral_rmse(codec, sounds, decoded), 4) for decoded in (own, plain))
        rows.append((f"{latents} x {frames}", round(nominal, 1), round(kbps, 3), rmse, plain_rmse, published))
    return Table(
        "The ladder: RMSE on spectra",
        ("latents in 2 s", "nominal kbps", "real kbps", "RMSE here", "RMSE of downsampling", "RMSE published"),
        tuple(rows),
        "Downsampling is given each rung's real kbps. Published figures are on other data and perhaps another scale "
        "of spectra; the order of rungs compares, the values do not.",
    )


def _batch(samples: Float32Array) -> Tensor:
    return torch.from_numpy(samples)[None]


def _decoded_features(codec: ResearchCodec, samples: Float32Array) -> Tensor:
    """Standardised features after quantisation."""
    return codec.model.features(codec.model.indices(samples), samples.size)


def _spectral_rmse(codec: ResearchCodec, sounds: Sequence[Float32Array], decoded: Sequence[Tensor]) -> float:
    """RMSE of log(1+|S|), a mean over sounds of one weight each; ``decoded`` are standardised features."""
    spread = codec.model.get_buffer("feature_spread")
    errors = [
        ((found - codec.model.analyse(_batch(samples))) * spread).square().mean()
        for samples, found in zip(sounds, decoded, strict=True)
    ]
    return float(torch.stack(errors).mean().sqrt())


_NOTE = (
    f"All rungs are trained at one price of a bit ({PRICE:g} of the loss for a kbps): more latents need not mean "
    "more bits, because unused ones cost next to nothing once they are entropy coded."
)
EXPERIMENT = Experiment(
    "latent-size", "from 512 to 32 latents a frame, nominal against real kbps", run, at_any_rate=True
)
