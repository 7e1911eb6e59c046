"""Which loss? One network, one rate, trained on each, and on one of them with a discriminator beside it."""

from __future__ import annotations

from streamcodec.models.discriminator import DiscriminatorConfig
from streamcodec.research.experiments.comparison import compare, shipped_tiers
from streamcodec.research.experiments.experiment import Context, Experiment, Results
from streamcodec.research.experiments.sounds import development_clips, training_sounds
from streamcodec.research.experiments.trained import settings_for, trained
from streamcodec.research.training.losses import LOSSES, ResearchTraining
from streamcodec.training.adversarial_task import AdversarialConfig

RATE_HZ = 16_000
TARGET_KBPS = 8.0
JUDGED = "l1"
"""The loss that is tried with a discriminator too: of those on features alone, whose blur a judge can hear."""
JUDGED_FROM = 0.4
"""Progress at which the discriminator comes in: before, there is nothing to tell apart."""
HEAD_START_SHARE, RAMP_SHARE = 0.1, 0.2
"""Shares of the steps in which it learns alone, and over which its say then grows."""


def run(context: Context) -> Results:
    """Train the convolutional autoencoder on every loss there is."""
    rate_hz = context.rate_hz(RATE_HZ)
    sounds = training_sounds(context, rate_hz)
    clips = development_clips(context, rate_hz)
    codecs = {
        name: trained(context, name, "frequency-conv", None, sounds, settings)
        for name, settings in _variants(context).items()
    }
    found = compare(context, "Losses", codecs, clips, sounds, shipped_tiers())
    return Results(found.tables, found.pictures, found.sounds, [_NOTE])


def _variants(context: Context) -> dict[str, ResearchTraining]:
    """Training settings by the name of the row."""
    variants = {name: settings_for(context, loss=name, target_kbps=TARGET_KBPS) for name in LOSSES}
    head_start, ramp = (max(1, round(share * context.scale.steps)) for share in (HEAD_START_SHARE, RAMP_SHARE))
    half_hz = context.rate_hz(RATE_HZ) / 2
    discriminator = DiscriminatorConfig((1024, 512, 256), channels=16, layers=3, top_hz=half_hz)
    judge = AdversarialConfig(discriminator, from_progress=JUDGED_FROM, head_start_steps=head_start, ramp_steps=ramp)
    judged = settings_for(context, loss=JUDGED, target_kbps=TARGET_KBPS, adversarial=judge)
    return {**variants, f"{JUDGED}+adversarial": judged}


_NOTE = (
    f"All steered to {TARGET_KBPS:g} kbps. The adversarial row is trained on {JUDGED} and, from {JUDGED_FROM:.0%} of "
    "the run on, against the discriminator of the streaming codec's training, a smaller one; in training it hears "
    "the network's magnitudes with the phase of the original, as the losses on sound do. Its curve shows the "
    f"{JUDGED} part."
)
EXPERIMENT = Experiment(
    "loss", "one network trained on each loss and against a discriminator, at one real rate", run, at_any_rate=True
)
