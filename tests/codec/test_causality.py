"""The future never changes the past."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcodec import Packet, PacketFlags, StreamDecoder, StreamEncoder, Tier


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 11_000), st.sampled_from([16_000, 24_000, 48_000]))
def test_encoder_is_causal(change_at: int, sample_rate_hz: int) -> None:
    rng = np.random.default_rng(1)
    sound = 0.1 * rng.standard_normal(12_000).astype(np.float32)
    changed = sound.copy()
    changed[change_at:] = rng.standard_normal(12_000 - change_at)
    first, second = StreamEncoder(sample_rate_hz).push(sound), StreamEncoder(sample_rate_hz).push(changed)
    untouched = change_at // (sample_rate_hz // 50)
    assert first[:untouched] == second[:untouched]
    assert first != second or change_at > (len(first) - 1) * sample_rate_hz // 50


def test_decoder_is_causal(speech: NDArray[np.float32]) -> None:
    packets: list[Packet | None] = list(StreamEncoder(24_000).push(speech))
    changed = packets.copy()
    changed[20] = None
    changed[21] = Packet(Tier.NEURAL, 21, 21, 15, PacketFlags.KEY, bytes(range(40)))
    first, second = StreamDecoder(24_000), StreamDecoder(24_000)
    for k, (a, b) in enumerate(zip(packets, changed, strict=True)):
        same = np.array_equal(first.push(a), second.push(b))
        assert same or k >= 20


def test_sound_depends_on_its_own_packet(speech: NDArray[np.float32]) -> None:
    packets = StreamEncoder(24_000).push(speech)
    first, second = StreamDecoder(24_000), StreamDecoder(24_000)
    for packet in packets[:20]:
        first.push(packet)
        second.push(packet)
    assert not np.array_equal(first.push(packets[20]), second.push(None))
