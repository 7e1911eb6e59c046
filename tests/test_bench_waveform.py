"""What the bench of the waveform tiers counts is what a stream sends."""

from __future__ import annotations

import numpy as np
import pytest

from bench.waveform.__main__ import lossless_clip
from streamcodec import StreamEncoder
from streamcodec.evaluation.clips import PcmClip

RATE_HZ = 16_000


@pytest.mark.parametrize("amplitude", [0, 3_000])
def test_packets_are_counted_as_they_travel(amplitude: int) -> None:
    noise = np.random.default_rng(0).uniform(-amplitude, amplitude, (5_000, 1)).astype(np.int16)
    encoder = StreamEncoder(RATE_HZ, tier="lossless", key_period_s=0.1)
    packets = [*encoder.push(noise), *encoder.flush()]
    payload_bytes, packet_bytes, *_ = lossless_clip(PcmClip("speech", "noise", RATE_HZ, noise), 0.1, 20)
    assert payload_bytes == sum(len(packet.payload) for packet in packets)
    assert packet_bytes == sum(len(packet.to_bytes()) for packet in packets)
