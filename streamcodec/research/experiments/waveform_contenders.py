"""What near-lossless models stand beside: lossless codecs, Opus at two rates, this codec's own tiers."""

from __future__ import annotations

from streamcodec.codec.packet import Tier
from streamcodec.evaluation.peers.lossless import alac, flac, wavpack
from streamcodec.evaluation.peers.opus import OpusPeer
from streamcodec.research.experiments.contenders import Contender, tier

RATIOS = (8, 30)
"""Of the two papers."""


def waveform_contenders(sample_rate_hz: int) -> list[Contender]:
    """Rows of a near-lossless table, at the papers' ratios where a codec can be asked for one."""
    pcm_kbps = 16 * sample_rate_hz / 1000
    return [
        Contender("FLAC", flac),
        Contender("ALAC", alac),
        Contender("WavPack", wavpack),
        *(Contender(f"Opus, ratio {ratio}", OpusPeer(), kbps=pcm_kbps / ratio) for ratio in RATIOS),
        *(
            tier(
                f"streamcodec near-lossless, ratio {ratio}",
                Tier.NEAR_LOSSLESS,
                1.0,
                ratio=ratio,
                optimise="mse",
            )
            for ratio in RATIOS
        ),
        tier("streamcodec lossless", Tier.LOSSLESS, 1.0),
    ]
