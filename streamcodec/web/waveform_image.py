"""The waveform tiers' tables for a browser: one file of what is not zero, and where in it everything is."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.bit_mixing import COUNT_BITS, PROBABILITY_BITS
from streamcodec.codec.bitstream import bitstream_of
from streamcodec.codec.near_lossless.format import RATES_HZ
from streamcodec.codec.near_lossless.learnt_coefficients import STORED_BITS, learnt_models
from streamcodec.codec.packet import Tier
from streamcodec.web.table_view import arrays_of
from streamcodec.web.waveform_streams import BLOCK_SAMPLES, every_format

FORMAT = 1
_ALIGNMENT = 8
_LEARNT = {
    f"{part}.mixer.{name}": (part, name) for part in ("coefficients", "energies") for name in ("counters", "weights")
}
"""Arrays that begin as what was learnt, and go back to it at a key block."""


class _Content:
    """Arrays one after the other, equal ones once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._known: dict[bytes, int] = {}

    def place(self, array: NDArray[Any]) -> int:
        content = array.tobytes()
        if content not in self._known:
            self.data += bytes(-len(self.data) % _ALIGNMENT)
            self._known[content] = len(self.data)
            self.data += content
        return self._known[content]


def waveform_files() -> tuple[dict[str, Any], bytes]:
    """What goes into ``waveform.json`` besides checksums, and the whole of ``waveform.bin``."""
    content = _Content()
    learnt = {
        name: {
            # Counters are kept in 24 bits each, and made whole when they are loaded.
            "probabilities": content.place((mixer.counters >> _SHIFT).astype(np.uint16)),
            "seen": content.place((mixer.counters & ((1 << COUNT_BITS) - 1)).astype(np.uint8)),
            "counters": mixer.counters.size,
            "weights": content.place(mixer.weights),
            "sets": mixer.weights.size,
        }
        for name, mixer in learnt_models()._asdict().items()
    }
    streams = {name: _stream(name, stream, content) for name, stream in every_format().items()}
    about = {
        "format": FORMAT,
        "shift": _SHIFT,
        "bitstreams": {"near-lossless": bitstream_of(Tier.NEAR_LOSSLESS), "lossless": bitstream_of(Tier.LOSSLESS)},
        "rates": list(RATES_HZ),
        "blocks": list(BLOCK_SAMPLES),
        "learnt": learnt,
        "streams": streams,
    }
    return about, bytes(content.data)


_SHIFT = COUNT_BITS + PROBABILITY_BITS - STORED_BITS


def _stream(name: str, stream: Any, content: _Content) -> list[dict[str, Any]]:
    """One entry for each array, in the order of the stream's table."""
    entries = []
    for part, array in arrays_of(stream):
        entry: dict[str, Any] = {"name": part, "shape": list(array.shape), "bytes": array.nbytes}
        if name.startswith("spectrum") and part in _LEARNT:
            owner, which = _LEARNT[part]
            models = ("shaped" if "shaped" in name else "plain") if owner == "coefficients" else "energies"
            entry["learnt"] = [models, which]
        elif array.any():
            entry["at"] = content.place(array)
        entries.append(entry)
    return entries


def waveform_fingerprint() -> str:
    """What compiled code takes for granted: the order and the types of what stands in tables."""
    described = {
        name: [(part, str(array.dtype), array.ndim) for part, array in arrays_of(stream)]
        for name, stream in every_format().items()
        if name.startswith("transform") or name in ("lossless-1", "spectrum-shaped-24000-1")
    }
    return hashlib.sha256(repr(described).encode()).hexdigest()
