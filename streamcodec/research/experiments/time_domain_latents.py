"""Latents of the time-domain autoencoder, trained here, as features for the probes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import soxr
import torch

from streamcodec.research.experiments.experiment import Context
from streamcodec.research.experiments.latent_features import FRAME_SAMPLES, SAMPLE_RATE_HZ, Features
from streamcodec.research.experiments.sounds import held_back, training_sounds
from streamcodec.research.experiments.trained import settings_for, trained
from streamcodec.research.models.time_conv import TimeConv, TimeConvConfig

NAME = "time-domain latents"
VALIDATIONS = 30
"""Of a run at its full length."""


def time_domain_latents(context: Context) -> Callable[[Features], Features]:
    """The features' function, its network trained in ``runs/time-conv``.

    Shape: ``[frames * 480]`` at 24 kHz -> ``[frames, latents of 20 ms]``.
    """
    config = TimeConvConfig()
    rate_hz = config.representation.sample_rate_hz
    settings = settings_for(context)
    crop = round(settings.segment_s * rate_hz)
    sounds = [sound for sound in training_sounds(context, rate_hz) if sound.size > crop]
    training, held = held_back(sounds)
    every = max(1, settings.max_steps // VALIDATIONS)
    model = trained(context, "time-conv", "time-conv", config, training, settings, held, every).model
    assert isinstance(model, TimeConv)

    @torch.no_grad()
    def latents(samples: Features) -> Features:
        resampled = soxr.resample(samples, SAMPLE_RATE_HZ, rate_hz)
        found = model.encode(model.analyse(torch.from_numpy(resampled)[None]))[0][0].numpy()
        per_frame = round(FRAME_SAMPLES * rate_hz / SAMPLE_RATE_HZ) // model.stride_samples
        frames = samples.size // FRAME_SAMPLES
        kept = np.ascontiguousarray(found[:, : frames * per_frame].T)
        return kept.reshape(frames, -1)

    return latents
