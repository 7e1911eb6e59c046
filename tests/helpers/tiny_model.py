"""A codec small enough for tests to train."""

from __future__ import annotations

from streamcodec.models.config import NeuralConfig
from streamcodec.training.coded_rate import MODES
from streamcodec.training.schedule import TrainingConfig

TINY = NeuralConfig(
    encoder_dim_hop=32,
    encoder_dim_frame=32,
    decoder_dim_frame=32,
    decoder_dim_hop=32,
    entropy_hidden=16,
    waveform_latents=24,
    envelope_latents=8,
    qualities=4,
    decoder_expansion=2,
)
SETTINGS = TrainingConfig(
    batch_segments=2, segment_packets=12, initial_segments=24, warmup_steps=2, rate_warmup_steps=2
)
FACTS: dict[str, object] = {"kbps_by_quality": {mode: [1.0 + k for k in range(TINY.qualities)] for mode in MODES}}
