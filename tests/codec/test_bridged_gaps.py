"""Gaps whose other side is known: nearer to what was lost, and nothing else may change."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import Packet, PacketFlags, StreamDecoder, StreamEncoder, StreamPool
from streamcodec.evaluation.spectral import mel_distance
from streamcodec.runtime.backend import Backend

Float32Array = NDArray[np.float32]
RATE_HZ = 24_000
AT = 70
"""A frame in the middle of speech."""


def packets_of(speech: Float32Array, **settings: object) -> list[Packet]:
    return StreamEncoder(RATE_HZ, 9_000, **settings).push(speech)  # type: ignore[arg-type]


def played(packets: Sequence[Packet], gap: int, following: Packet | bytes | None) -> Float32Array:
    """Sound of the gap, and of ten frames behind it."""
    decoder = StreamDecoder(RATE_HZ)
    for packet in packets[:AT]:
        decoder.push(packet)
    blocks = [decoder.push(None, following) for _ in range(gap)]
    assert decoder.concealed == gap
    return np.concatenate([*blocks, *(decoder.push(packet) for packet in packets[AT + gap : AT + gap + 10])])


@pytest.mark.parametrize("gap", [2, 3])
def test_gaps_are_nearer_to_what_was_lost_where_their_other_side_is_known(speech: Float32Array, gap: int) -> None:
    packets = packets_of(speech)
    whole = StreamDecoder(RATE_HZ)
    clean = [whole.push(packet) for packet in packets]
    distance = {"held": 0.0, "bridged": 0.0}
    for start in range(10, len(packets) - gap - 1, 7):
        decoder = StreamDecoder(RATE_HZ)
        for packet in packets[start - 8 : start]:
            decoder.push(packet)
        other = copy.deepcopy(decoder)
        lost = np.concatenate(clean[start : start + gap])
        if np.abs(lost).max() < 0.02:
            continue
        held = np.concatenate([decoder.push(None) for _ in range(gap)])
        bridged = np.concatenate([other.push(None, packets[start + gap]) for _ in range(gap)])
        distance["held"] += mel_distance(lost, held, RATE_HZ)
        distance["bridged"] += mel_distance(lost, bridged, RATE_HZ)
    assert distance["bridged"] < 0.9 * distance["held"]


def test_what_is_behind_the_gap_is_decoded_as_ever(speech: Float32Array) -> None:
    packets = packets_of(speech, packet_ms=60)
    decoder, other = StreamDecoder(RATE_HZ), StreamDecoder(RATE_HZ)
    for packet in packets[:20]:
        decoder.push(packet)
        other.push(packet)
    for _ in range(3):
        decoder.push(None, packets[21].to_bytes())
        other.push(None)
    for packet in packets[21:60]:
        ours, theirs = decoder.push(packet), other.push(packet)
    # Both have forgotten the gap.
    assert np.abs(ours - theirs).max() < 0.01
    assert decoder.concealed == other.concealed == 3


def test_a_gap_is_held_where_it_cannot_be_bridged(speech: Float32Array) -> None:
    packets, dependent = packets_of(speech), packets_of(speech, mode="stream")
    held = played(packets, 2, None)
    behind = packets[AT + 2]
    raised = StreamEncoder(RATE_HZ, 9_000).push(0.002 * speech)[AT + 2]
    assert not dependent[AT + 2].is_key
    unusable: dict[str, Packet | bytes] = {
        "not by itself": dependent[AT + 2],
        "damaged": behind.to_bytes()[:-3] + b"???",
        "far away": packets[AT + 6],
        "long gone": packets[AT - 20],
        "just played": packets[AT - 1],
        "raised otherwise": raised,
        "empty": replace(behind, payload=b""),
    }
    for name, following in unusable.items():
        assert np.array_equal(played(packets, 2, following), held), name
    assert not np.array_equal(played(packets, 2, behind), held)


def test_a_silent_sender_is_not_bridged(speech: Float32Array) -> None:
    packets = packets_of(speech)
    packets[AT - 1] = replace(packets[AT - 1], flags=packets[AT - 1].flags | PacketFlags.SILENCE)
    assert np.array_equal(played(packets, 2, packets[AT + 2]), played(packets, 2, None))


def test_a_decoder_copied_in_a_gap_goes_on_alike(speech: Float32Array) -> None:
    packets = packets_of(speech)
    decoder = StreamDecoder(RATE_HZ)
    for packet in packets[:AT]:
        decoder.push(packet)
    decoder.push(None, packets[AT + 3])
    twin = copy.deepcopy(decoder)
    for following in (packets[AT + 3], None):
        assert np.array_equal(decoder.push(None, following), twin.push(None, following))


def test_both_channels_are_bridged(speech: Float32Array) -> None:
    sound = np.stack([speech, np.roll(speech, 4_000)], axis=1)
    packets = StreamEncoder(RATE_HZ, 24_000, channels=2).push(sound)
    both = StreamDecoder(RATE_HZ, channels=2)
    for packet in packets[:AT]:
        both.push(packet)
    other = copy.deepcopy(both)
    bridged, held = both.push(None, packets[AT + 1]), other.push(None)
    assert bridged.shape == held.shape == (480, 2)
    assert all(np.abs(bridged[:, side] - held[:, side]).max() > 1e-4 for side in range(2))
    assert np.isfinite(both.push(None, replace(packets[AT + 2], payload=b"\xff"))).all()


@pytest.mark.parametrize("backend", ["onnxruntime", "compiled"])
def test_a_stream_in_a_pool_bridges_as_one_alone(speech: Float32Array, backend: Backend) -> None:
    packets = packets_of(speech)
    pool = StreamPool(2, backend=backend)
    slots = [pool.join(RATE_HZ), pool.join(RATE_HZ)]
    alone = StreamDecoder(RATE_HZ, backend=backend)
    for packet in packets[:AT]:
        alone.push(packet)
        pool.decode(dict.fromkeys(slots, packet))
    heard = pool.decode(dict.fromkeys(slots, None), {slots[0]: packets[AT + 1]})
    assert np.abs(heard[slots[0]] - alone.push(None, packets[AT + 1])).max() < 0.02
    assert np.abs(heard[slots[0]] - heard[slots[1]]).max() > 0.02
