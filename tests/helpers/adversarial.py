"""A small adversarial stage."""

from __future__ import annotations

from streamcodec.models.discriminator import DiscriminatorConfig
from streamcodec.training.adversarial_task import AdversarialConfig

SMALL = AdversarialConfig(
    discriminator=DiscriminatorConfig((512, 256), channels=4, layers=2),
    head_start_steps=0,
    ramp_steps=2,
    crop_samples=2_400,
)
