"""A word for what a stream's bits mean: two ends that say the same word understand each other.

The word is the tier, the version of its coding and, for the neural tier, the fingerprint of the entropy model: other
weights are another language. Files carry it in their header, and people in a room tell it to each other, so that what
cannot be understood is said in a sentence and never played as noise.
"""

from __future__ import annotations

from streamcodec.codec.options import tier_name
from streamcodec.codec.packet import MAX_FRAMES, Tier
from streamcodec.errors import FileFormatError
from streamcodec.models.shipped import DEFAULT_MODEL, load_model

CODING_VERSIONS = {Tier.NEURAL: 1, Tier.NEAR_LOSSLESS: 2, Tier.LOSSLESS: 1}
"""Raised by changes after which payloads from before no longer decode; the tests' golden packets change then, too."""

STEREO = "-stereo"
LONG_PACKETS = "-long-packets"
"""Near-lossless packets of several blocks, which builds of before do not know."""


def bitstream_of(tier: Tier, model: str = DEFAULT_MODEL, channels: int = 1, frames: int = 1) -> str:
    """The word for what an encoder of this tier makes, such as ``lossless-1``; raises ModelError.

    ``channels`` counts in the neural tier alone: the others' payloads tell theirs; ``frames`` of a packet in the
    near-lossless tier alone.
    """
    word = f"{tier_name(tier)}-{CODING_VERSIONS[tier]}"
    if tier is not Tier.NEURAL:
        return f"{word}{LONG_PACKETS if tier is Tier.NEAR_LOSSLESS and frames > 1 else ''}"
    return f"{word}-{load_model(model).fingerprint}{STEREO if channels == 2 else ''}"


def bitstreams_read(model: str = DEFAULT_MODEL) -> frozenset[str]:
    """The words for everything that decoders with this model read; raises ModelError."""
    return frozenset(bitstream_of(tier, model, frames=frames) for tier in Tier for frames in (1, MAX_FRAMES))


def check_bitstream(word: str, tier: Tier, model: str = DEFAULT_MODEL, channels: int = 1) -> None:
    """Raise FileFormatError if decoders of this tier with this model do not read what ``word`` stands for."""
    read = bitstream_of(tier, model, channels)
    if word.removesuffix(LONG_PACKETS if tier is Tier.NEAR_LOSSLESS else "") != read:
        raise FileFormatError(
            f"the file is coded as {word or 'something older than any name'} and this build reads {read}: decode it "
            "with the version of streamcodec, or the model, that made it"
        )
