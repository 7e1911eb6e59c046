"""Which network? Every published one at the same price-steered rate, and what a U-Net's skips cost."""

from __future__ import annotations

from collections.abc import Sequence

from streamcodec.evaluation import Clip
from streamcodec.research.experiments.comparison import compare, shipped_tiers
from streamcodec.research.experiments.experiment import Context, Experiment, Results, Table
from streamcodec.research.experiments.sounds import development_clips, training_sounds
from streamcodec.research.experiments.trained import settings_for, trained
from streamcodec.research.models.codec import ResearchCodec
from streamcodec.research.models.registry import MODELS

NAMES = ("frequency-conv", "time-conv", "unet", "transformer", "vae", "vq-vae", "complex-spectrum")
RATE_HZ = 16_000
TARGET_KBPS = 8.0


def run(context: Context) -> Results:
    """Train each model and put all of them on one table."""
    rate_hz = context.rate_hz(RATE_HZ)
    sounds = training_sounds(context, rate_hz)
    clips = development_clips(context, rate_hz)
    settings = settings_for(context, target_kbps=TARGET_KBPS)
    codecs = {name: trained(context, name, name, None, sounds, settings) for name in NAMES}
    found = compare(context, "Architectures", codecs, clips, sounds, shipped_tiers())
    tables = [*found.tables, _skip_costs(codecs["unet"], clips), _claims()]
    return Results(tables, found.pictures, found.sounds, [_NOTE])


def _skip_costs(codec: ResearchCodec, clips: Sequence[Clip]) -> Table:
    """Real kbps of each of the U-Net's latents."""
    sizes = [0] * len(codec.coders)
    seconds = 0.0
    for clip in clips:
        samples, rate_hz = clip.read()
        seconds += samples.size / rate_hz
        sizes = [a + len(code) for a, code in zip(sizes, codec.encode_parts(samples), strict=True)]
    names = ("bottom latent", *(f"skip connection {k + 1}" for k in range(len(sizes) - 1)))
    rows = [(name, size * 8e-3 / seconds, size / max(sum(sizes), 1)) for name, size in zip(names, sizes, strict=True)]
    return Table("What the U-Net's skips cost", ("latent", "real kbps", "share"), tuple(rows))


def _claims() -> Table:
    rows = tuple((name, MODELS[name].summary, MODELS[name].claim) for name in NAMES)
    return Table("What was published", ("model", "network", "claim"), rows)


_NOTE = (
    f"Small networks, short training, all steered to {TARGET_KBPS:g} kbps (VQ-VAE has the rate of its codebooks). A "
    "verdict on an architecture needs --full; what holds here is what the bits are and what plain downsampling does."
)
EXPERIMENT = Experiment("architecture", "every published architecture at the same real rate", run, at_any_rate=True)
