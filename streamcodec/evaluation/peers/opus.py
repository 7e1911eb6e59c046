"""Opus as a codec under test, the bar that every rate-quality table shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.libopus import OpusDecoder, OpusEncoder, OpusSettings, load_libopus
from streamcodec.evaluation.systems import SRTP_OVERHEAD_BYTES, Coded, System

LACE_COMPLEXITY, NOLACE_COMPLEXITY = 6, 7
WIDEBAND_LIMIT_KBPS = 20.0
"""Above about this rate Opus chooses wideband or more by itself, and forcing wideband only takes bandwidth away."""


@dataclass(frozen=True)
class OpusPeer:
    """Codes a clip packet by packet with libopus, its lookahead removed."""

    settings: OpusSettings = field(default_factory=OpusSettings)
    library: Path | None = None
    """A particular libopus; by default the one :func:`streamcodec.evaluation.libopus.find_library` finds."""

    def __call__(self, samples: NDArray[np.float32], sample_rate_hz: int, kbps: float) -> Coded:
        """Shape: samples ``[samples]``; the decoded sound comes at the input's rate and length."""
        library = load_libopus(self.library)
        settings = self.settings
        encoder = OpusEncoder(library, settings, round(kbps * 1000))
        decoder = OpusDecoder(library, settings)
        sound = resample(samples, sample_rate_hz, settings.sample_rate_hz)
        lookahead, frame = encoder.lookahead_samples, settings.frame_samples
        padding = -(len(sound) + lookahead) % frame + lookahead
        frames = np.pad(sound, (0, padding)).astype(np.float32).reshape(-1, frame)
        packets = [encoder.encode(each) for each in frames]
        decoded = np.concatenate([decoder.decode(packet) for packet in packets])[lookahead : lookahead + len(sound)]
        back = resample(decoded, settings.sample_rate_hz, sample_rate_hz)
        payload_bytes = sum(map(len, packets))
        return Coded(
            samples=_fit(back, len(samples)),
            sample_rate_hz=sample_rate_hz,
            payload_bytes=payload_bytes,
            packets=len(packets),
            wire_bytes=payload_bytes + len(packets) * SRTP_OVERHEAD_BYTES,
        )


def _fit(samples: NDArray[np.float64], length: int) -> NDArray[np.float32]:
    """Cut or zero-pad the few samples by which resampling there and back may miss the length."""
    return np.pad(samples[:length], (0, max(0, length - len(samples)))).astype(np.float32)


def opus_systems(
    rates_kbps: Sequence[float], library: Path | None = None, base: OpusSettings | None = None
) -> list[System]:
    """Opus as it comes, Opus forced to wideband, and the same with LACE and NoLACE where the build has them.

    Forced wideband is what low rates are heard at in practice: left alone, Opus falls back to narrowband below about
    10 kbps and scores badly on wideband metrics. It stops at ``WIDEBAND_LIMIT_KBPS``.

    Args:
        rates_kbps: nominal rates.
        library: a particular libopus.
        base: settings that all of them share (default: 20 ms, VBR, application audio, signal voice, complexity 10).
    """
    found = load_libopus(library)
    common = base or OpusSettings()
    wide = replace(common, bandwidth="wide")
    rates = tuple(rates_kbps)
    systems = [System("Opus", OpusPeer(common, library), rates, found.description)]
    low = tuple(rate for rate in rates if rate < WIDEBAND_LIMIT_KBPS)
    if low:
        systems.append(System("Opus WB", OpusPeer(wide, library), low, f"{found.description}, wideband forced"))
    for name, complexity, present in (
        ("Opus WB+LACE", LACE_COMPLEXITY, found.has_speech_enhancement),
        ("Opus WB+NoLACE", NOLACE_COMPLEXITY, found.has_stronger_enhancement),
    ):
        if low and present:
            peer = OpusPeer(replace(wide, decoder_complexity=complexity), library)
            described = f"{found.description}, wideband forced, decoder complexity {complexity}"
            systems.append(System(name, peer, low, described))
    return systems
