"""Which loss? One network, one rate, trained on each."""

from __future__ import annotations

from streamcodec.experiments.comparison import compare
from streamcodec.experiments.experiment import Context, Experiment, Results
from streamcodec.experiments.sounds import development_clips, training_sounds
from streamcodec.experiments.trained import settings_for, trained
from streamcodec.training.research import LOSSES

RATE_HZ = 16_000
TARGET_KBPS = 8.0


def run(context: Context) -> Results:
    """Train the convolutional autoencoder on every loss there is."""
    sounds = training_sounds(context, RATE_HZ)
    clips = development_clips(context, RATE_HZ)
    codecs = {
        name: trained(
            context,
            name,
            "frequency-conv",
            None,
            sounds,
            settings_for(context, loss=name, target_kbps=TARGET_KBPS),
        )
        for name in LOSSES
    }
    return compare(context, "Losses", codecs, clips, sounds)


EXPERIMENT = Experiment("loss", "one network trained on each loss, at one real rate", run)
