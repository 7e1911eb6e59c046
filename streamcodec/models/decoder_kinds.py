"""Kinds of decoder that can be trained: the shipped one, and those that are experiments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from streamcodec.models.codec import NeuralCodec
from streamcodec.models.harmonic import HarmonicCodec
from streamcodec.models.refiner import RefinedCodec

DecoderKind = Literal["plain", "harmonic", "refined"]
CODECS: dict[DecoderKind, type[NeuralCodec]] = {
    "plain": NeuralCodec,
    "harmonic": HarmonicCodec,
    "refined": RefinedCodec,
}
"""The codec with a decoder of each kind; weights of the plain one fit into all of them."""
_MARKS: dict[str, DecoderKind] = {"decoder.mix.": "harmonic", "decoder.refiner.": "refined"}


def decoder_kind(names: Iterable[str]) -> DecoderKind:
    """What kind a codec's weights, by their names, are of."""
    for name in names:
        for mark, kind in _MARKS.items():
            if name.startswith(mark):
                return kind
    return "plain"
