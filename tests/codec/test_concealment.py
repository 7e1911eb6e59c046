"""Concealment as it is heard: level over a loss, comfort noise behind it, and no click on the way back."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.codec.packet import Packet

Float32Array = NDArray[np.float32]
RATE_HZ = 24_000
PACKET = 480
HOP = 240


def rms(sound: Float32Array) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def vowel(seconds: float) -> Float32Array:
    """A moment of a quiet room, then voiced sound without pauses, so that every change of level is the decoder's."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    sound = sum(np.sin(2 * np.pi * 140 * k * time_s + k * k) / k for k in range(1, 12))
    room = np.random.default_rng(1).normal(0, 1e-3, time_s.size)
    return (0.1 * np.asarray(sound) * (time_s > 0.2) + room).astype(np.float32)


def decode(packets: list[Packet], lost: set[int]) -> Float32Array:
    """Shape: one row per packet."""
    decoder = StreamDecoder(RATE_HZ)
    return np.stack([decoder.push(None if k in lost else packet) for k, packet in enumerate(packets)])


@pytest.fixture(scope="module")
def voiced() -> list[Packet]:
    return StreamEncoder(RATE_HZ, 9_000).push(vowel(1.6))


def test_the_first_packets_of_a_loss_go_on_and_then_it_decays(voiced: list[Packet]) -> None:
    clean = rms(decode(voiced, set())[30:])
    qualities = np.array([rms(row) / clean for row in decode(voiced, set(range(40, 60)))[40:60]])
    # Something like speech for 60 ms, a tenth of its level or less after 200 ms, and never louder than before.
    assert qualities[:3].min() > 0.2
    assert qualities.max() < 1.3
    assert qualities[10:].max() < 0.1
    assert (np.diff(qualities[3:9]) < 0.02).all()


def test_behind_a_long_loss_there_is_the_background_that_was_there_before() -> None:
    """Noise of two levels, three seconds each: what fills a long gap follows the quieter moments heard last."""
    rng = np.random.default_rng(1)
    filled = {}
    for quality_index in (0.002, 0.02):
        noise = rng.normal(0, quality_index, 3 * RATE_HZ).astype(np.float32)
        packets = StreamEncoder(RATE_HZ, 12_000).push(noise)
        decoder = StreamDecoder(RATE_HZ)
        heard = rms(np.concatenate([decoder.push(packet) for packet in packets])[RATE_HZ:])
        gap = np.concatenate([decoder.push(None) for _ in range(60)])[RATE_HZ // 2 :]
        filled[quality_index] = rms(gap)
        # The quietest of what was heard, so below it; but there, and steady.
        assert 0.1 * heard < filled[quality_index] < 1.5 * heard
        thirds = [rms(part) for part in np.array_split(gap, 3)]
        assert max(thirds) < 1.6 * min(thirds)
    assert filled[0.02] > 4 * filled[0.002]


@pytest.mark.parametrize("length", [1, 2, 4, 8, 30])
def test_the_way_into_a_loss_and_back_makes_no_click(speech: Float32Array, length: int) -> None:
    """At every edge of a gap, samples jump no more than speech itself does within the packets around it."""
    packets = StreamEncoder(RATE_HZ, 9_000).push(speech)
    spacing = length + 12
    starts = range(6, len(packets) - length - 4, spacing)
    lost = {k for start in starts for k in range(start, start + length)}
    clean, lossy = decode(packets, set()).ravel(), decode(packets, lost).ravel()

    def jump(sound: Float32Array, at: int) -> float:
        """Largest second difference within 5 ms of a sample."""
        return float(np.abs(np.diff(sound[at - 120 : at + 120], n=2)).max())

    usual = np.percentile([jump(clean, at) for at in range(PACKET, len(clean) - PACKET, HOP)], 99)
    for start in starts:
        for edge in (start * PACKET, (start + length) * PACKET):
            assert jump(lossy, edge) < 1.5 * usual


def test_one_hop_after_a_loss_the_sound_is_what_was_sent_again(voiced: list[Packet]) -> None:
    """The overlap of a hop fades from what was made up to what is decoded, which a few packets later is the same."""
    clean, lossy = decode(voiced, set()), decode(voiced, {40, 41})
    quality_index = rms(clean[30:])
    before = rms(lossy[42] - clean[42]) / quality_index
    after = rms(lossy[50:60] - clean[50:60]) / quality_index
    assert before < 1.0
    assert after < 0.35
    assert rms(lossy[42][HOP:]) / rms(clean[42][HOP:]) == pytest.approx(1.0, abs=0.45)
