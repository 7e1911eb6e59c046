"""Redundant copies of recent packets: what redundancy carries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import BitrateError, Packet, PacketError, PacketFlags, StreamDecoder, StreamEncoder

Float32Array = NDArray[np.float32]


def packets_of(speech: Float32Array, ask: bool, mode: str = "independent") -> tuple[list[Packet], list[Packet]]:
    """Packets one by one, and for each that has one its coarser copy as a packet of its own."""
    encoder = StreamEncoder(24_000, 6_000, mode=mode)  # type: ignore[arg-type]
    packets: list[Packet] = []
    redundancy: list[Packet] = []
    for start in range(0, speech.size, 480):
        for packet in encoder.push(speech[start : start + 480]):
            packets.append(packet)
            coarse = encoder.encode_redundant(packet) if ask else None
            if coarse is not None:
                quality_index, payload = coarse
                redundancy.append(
                    replace(packet, quality_index=quality_index, flags=PacketFlags.KEY, payload=payload)
                )
    return packets, redundancy


def test_asking_for_copies_changes_no_packet(speech: Float32Array) -> None:
    asked, redundancy = packets_of(speech, True)
    assert asked == packets_of(speech, False)[0]
    assert len(redundancy) == len(asked)


def test_copies_take_fewer_bytes_and_decode_to_the_same_sound(speech: Float32Array) -> None:
    packets, redundancy = packets_of(speech, True)
    fine_bytes, coarse_bytes = (sum(len(p.payload) for p in each) for each in (packets, redundancy))
    assert 0.55 * fine_bytes < coarse_bytes < 0.85 * fine_bytes
    assert all(copy.quality_index <= packet.quality_index for copy, packet in zip(redundancy, packets, strict=True))
    decoder = StreamDecoder(24_000)
    heard = np.concatenate([decoder.push(copy) for copy in redundancy])
    assert decoder.concealed == 0
    lag = decoder.delay_samples
    assert np.corrcoef(heard[lag:], speech[: heard.size - lag])[0, 1] > 0.5


def test_copies_reach_eight_packets_back_and_survive_a_restore(speech: Float32Array) -> None:
    encoder = StreamEncoder(24_000, 6_000)
    packets = encoder.push(speech[: 20 * 480])
    assert [encoder.encode_redundant(packet) is not None for packet in packets] == [False] * 11 + [True] * 9
    twin = StreamEncoder(24_000, 6_000)
    twin.state = encoder.state
    wanted = encoder.encode_redundant(packets[-3])
    encoder.push(speech[20 * 480 :])
    assert twin.encode_redundant(packets[-3]) == wanted
    twin.reset()
    assert twin.encode_redundant(packets[-3]) is None


def test_stream_mode_has_no_copies(speech: Float32Array) -> None:
    assert packets_of(speech, True, "stream")[1] == []


@pytest.mark.parametrize("tier", ["neural", "lossless"])
def test_what_is_no_packet_and_no_share_is_told(tier: Any) -> None:
    encoder = StreamEncoder(24_000, tier=tier)
    (packet,) = encoder.push(np.zeros(encoder.block_samples, np.int16))
    for wrong in (None, packet.to_bytes(), 3):
        with pytest.raises(PacketError, match="redundant copies are of Packet objects, got "):
            encoder.encode_redundant(wrong)  # type: ignore[arg-type]
    for share in (None, "half", 0.0, 1.5, float("nan")):
        with pytest.raises(BitrateError, match="share must be "):
            encoder.encode_redundant(packet, share)  # type: ignore[arg-type]
