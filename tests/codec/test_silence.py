"""Digital silence costs next to nothing without discontinuous transmission, and sound after it is coded as ever."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import Packet, StreamDecoder, StreamEncoder

RATE_HZ, PACKET = 24_000, 480


def packets_of(sound: NDArray[np.float32], bitrate_bps: float, **options: object) -> list[Packet]:
    return StreamEncoder(RATE_HZ, bitrate_bps, **options).push(sound)  # type: ignore[arg-type]


def kbps(packets: list[Packet]) -> float:
    return sum(8 * len(packet.payload) for packet in packets) * RATE_HZ / PACKET / len(packets) / 1_000


@pytest.mark.parametrize("options", [{}, {"mode": "stream"}, {"constrained": True}])
def test_silence_takes_less_than_one_kbps(options: dict[str, object]) -> None:
    for bitrate_bps in (3_200, 12_000):
        packets = packets_of(np.zeros(RATE_HZ, np.float32), bitrate_bps, **options)
        assert kbps(packets[2:]) < 1.0
        decoder = StreamDecoder(RATE_HZ)
        heard = np.concatenate([decoder.push(packet) for packet in packets])
        assert float(np.abs(heard[RATE_HZ // 5 :]).max()) < 10 ** (-85 / 20)


def test_only_silence_after_silence_is_coarse() -> None:
    rng = np.random.default_rng(0)
    sound = np.zeros(40 * PACKET, np.float32)
    sound[: 10 * PACKET] = 0.05 * rng.standard_normal(10 * PACKET)
    sound[25 * PACKET :] = 0.05 * rng.standard_normal(15 * PACKET)
    packets = packets_of(sound, 6_000)
    coarse = [packet.quality_index == 0 for packet in packets]
    # The encoder's resampler holds some samples back, so a packet may have a little of its neighbour's.
    assert all(coarse[12:24])
    assert not any(coarse[:11])
    assert not any(coarse[26:])


def test_the_softest_room_is_no_silence() -> None:
    room = np.round(np.random.default_rng(0).standard_normal(RATE_HZ // 2)).astype(np.float32) / 32_768
    assert max(packet.quality_index for packet in packets_of(room, 6_000)[2:]) > 0
