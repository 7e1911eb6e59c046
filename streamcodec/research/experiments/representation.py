"""Which representation? One network on each, and every way back to sound."""

from __future__ import annotations

from streamcodec.research.experiments.comparison import compare, shipped_tiers
from streamcodec.research.experiments.experiment import Context, Experiment, Results
from streamcodec.research.experiments.sounds import development_clips, training_sounds
from streamcodec.research.experiments.trained import settings_for, trained
from streamcodec.research.models.codec import ResearchCodec
from streamcodec.research.models.frequency_conv import FrequencyConvConfig
from streamcodec.research.models.representations import Kind, RepresentationConfig

RATE_HZ = 16_000
TARGET_KBPS = 8.0
KINDS: tuple[Kind, ...] = ("magnitude", "log-magnitude", "log-mel", "mfcc", "complex", "polar")


def run(context: Context) -> Results:
    """Train the convolutional autoencoder on every representation with a frequency axis."""
    rate_hz = context.rate_hz(RATE_HZ)
    sounds = training_sounds(context, rate_hz)
    clips = development_clips(context, rate_hz)
    settings = settings_for(context, target_kbps=TARGET_KBPS)
    codecs: dict[str, ResearchCodec] = {
        kind: trained(
            context, kind, "frequency-conv", FrequencyConvConfig(RepresentationConfig(kind)), sounds, settings
        )
        for kind in KINDS
    }
    found = compare(context, "Representations", codecs, clips, sounds, shipped_tiers())
    return Results(found.tables, found.pictures, found.sounds, [_NOTE])


_NOTE = (
    "Magnitudes, mel bands and cepstra go back to sound by Griffin-Lim, or with the phase of the original, which no "
    "decoder has; complex spectra carry their phase, and polar ones a predicted one (cosine and sine beside the "
    "magnitude)."
)
EXPERIMENT = Experiment(
    "representation", "one network on six representations, with every way back to sound", run, at_any_rate=True
)
