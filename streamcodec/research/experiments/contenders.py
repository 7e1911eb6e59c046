"""Codecs on the bench as callables: trained research models, the shipped tiers, peers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.files.oneshot import decode_array, encode_array
from streamcodec.codec.packet import Tier
from streamcodec.evaluation.own import packets_of
from streamcodec.evaluation.systems import CodecUnderTest, Coded
from streamcodec.research.models.codec import ResearchCodec

Float32Array = NDArray[np.float32]


@dataclass
class Contender:
    """One row of a table: a codec at one operating point."""

    name: str
    code: CodecUnderTest
    nominal_ratio: float | None = None
    """Ratio as the papers count it: samples for each latent."""
    kbps: float = 1.0
    """Rate asked for; nothing to models that have one of their own."""
    decodable: bool = True
    """Whether the counted bytes are all that decoding takes."""
    seconds: list[float] = field(default_factory=list)
    """Coding and decoding time of each clip."""

    def __call__(self, samples: Float32Array, sample_rate_hz: int, kbps: float) -> Coded:
        """Code one clip, by the clock."""
        began = time.perf_counter()
        coded = self.code(samples, sample_rate_hz, kbps)
        self.seconds.append(time.perf_counter() - began)
        return coded


@dataclass(frozen=True)
class ModelUnderTest:
    """A research model; with ``lend_phase`` the original's phase is used and not counted."""

    codec: ResearchCodec
    lend_phase: bool = False

    def __call__(self, samples: Float32Array, sample_rate_hz: int, kbps: float) -> Coded:
        """Real bytes there, sound from those bytes back."""
        coded = self.codec.encode(samples)
        decoded = self.codec.decode(coded, samples if self.lend_phase else None)
        return Coded(decoded, sample_rate_hz, len(coded), 1, len(coded))


def model_contenders(name: str, codec: ResearchCodec) -> list[Contender]:
    """A model's rows: by itself, and with the original's phase where it has none of its own."""
    samples = 10 * codec.model.sample_rate_hz
    ratio = samples / codec.latent_count(samples)
    if not codec.model.representation.needs_phase:
        return [Contender(name, ModelUnderTest(codec), ratio)]
    return [
        Contender(f"{name}, Griffin-Lim", ModelUnderTest(codec), ratio),
        Contender(f"{name}, original phase", ModelUnderTest(codec, True), ratio, decodable=False),
    ]


def tier(name: str, kind: Tier, kbps: float, **options: Any) -> Contender:
    """One of the shipped tiers through the public one-shots, payload bytes counted."""

    def code(samples: Float32Array, sample_rate_hz: int, kbps: float) -> Coded:
        source: NDArray[np.generic] = samples
        if kind is Tier.LOSSLESS:
            source = np.rint(samples * 32768.0).clip(-32768, 32767).astype(np.int16)
        rate_bps = None if kind is Tier.LOSSLESS or "ratio" in options else kbps * 1000.0
        encoded = encode_array(source, sample_rate_hz, rate_bps, tier=kind, **options)
        decoded = decode_array(encoded).reshape(len(samples)).astype(np.float32)
        if kind is Tier.LOSSLESS:
            decoded = decoded / np.float32(32768.0)
        packets = packets_of(encoded)
        return Coded(decoded, sample_rate_hz, encoded.payload_bytes, len(packets), encoded.payload_bytes)

    return Contender(name, code, kbps=kbps)
