"""Packets of several frames: fewer bits for the same sound, decodable alone, taken apart frame by frame."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import AudioFormatError, Packet, PacketError, StreamDecoder, StreamEncoder, StreamPool, Tier
from streamcodec.codec.neural.analysis import LatentAnalysis
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.entropy import STEP_BITS
from streamcodec.codec.neural.model import load_runtime
from streamcodec.codec.packet import PacketFlags
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.net.session import MediaReceiver

Float32Array = NDArray[np.float32]


def encode(speech: Float32Array, packet_ms: int, **options: Any) -> list[Packet]:
    return StreamEncoder(24_000, 6_000, packet_ms=packet_ms, **options).push(speech)


@pytest.mark.parametrize("mode", ["independent", "stream"])
@pytest.mark.parametrize("packet_ms", [40, 60, 120])
def test_every_frame_of_a_packet_carries_its_own_latents(speech: Float32Array, packet_ms: int, mode: str) -> None:
    frames, runtime = packet_ms // 20, load_runtime(DEFAULT_MODEL)
    # A voice from the start: what comes before one may be raised.
    speech = np.concatenate([speech[12_000:], speech[12_000:24_000]])
    packets = encode(speech, packet_ms, mode=mode)
    times = list(range(0, frames * len(packets), frames))
    assert [p.frames for p in packets] == [frames] * (100 // frames)
    assert [p.timestamp for p in packets] == [p.sequence for p in packets] == times
    analysis, decoder = LatentAnalysis(runtime), NeuralDecoder(runtime)
    steps = runtime.tables.step.astype(np.float64) / (1 << STEP_BITS)
    for packet in packets:
        for frame in Packet.from_bytes(packet.to_bytes()).each_frame():
            latents = analysis.step(speech[480 * frame.timestamp : 480 * (frame.timestamp + 1)])
            indices = decoder.indices_of(frame)
            assert indices is not None
            assert np.abs(indices - latents / steps[packet.quality_index]).max() <= 0.51


def test_longer_packets_buy_finer_levels_at_the_same_rate(speech: Float32Array) -> None:
    qualities, rates = [], []
    for packet_ms in (20, 60):
        packets = encode(speech, packet_ms)
        qualities.append(np.mean([p.quality_index for p in packets]))
        rates.append(8 * sum(len(p.payload) for p in packets) * 24_000 / speech.size)
    assert qualities[1] > qualities[0] + 0.1
    assert rates[1] < 1.05 * rates[0]


def test_a_decoder_plays_whole_packets_and_single_frames_alike(speech: Float32Array) -> None:
    packets = encode(speech[:48_000], 60)
    whole, single = StreamDecoder(24_000), StreamDecoder(24_000)
    for packet in packets:
        expected = [single.push(frame) for frame in packet.each_frame()]
        np.testing.assert_array_equal(whole.push(packet.to_bytes()), np.concatenate(expected))
    assert whole.concealed == single.concealed == 0


def test_a_lost_packet_costs_its_own_frames_alone(speech: Float32Array) -> None:
    decoder = StreamDecoder(24_000)
    packets = encode(speech[:48_000], 60)
    for k, packet in enumerate(packets):
        if k == 5:
            for _ in range(packet.frames):
                decoder.push(None)
        else:
            decoder.push(packet)
    assert decoder.concealed == 3


def test_a_frame_decodes_where_those_before_it_in_its_packet_came_too_late(speech: Float32Array) -> None:
    packet = encode(speech[:48_000], 60)[4]
    complete, late = (NeuralDecoder(load_runtime(DEFAULT_MODEL)) for _ in range(2))
    expected = [complete.indices_of(frame) for frame in packet.each_frame()][2]
    found = late.indices_of(packet.each_frame()[2])
    assert expected is not None
    assert found is not None
    np.testing.assert_array_equal(found, expected)


def test_coarser_copies_hold_as_many_frames(speech: Float32Array) -> None:
    encoder, decoder = StreamEncoder(24_000, 9_000, packet_ms=60), NeuralDecoder(load_runtime(DEFAULT_MODEL))
    packets = encoder.push(speech[:48_000])
    for packet in packets[-8:]:
        copy = encoder.encode_redundant(packet)
        assert copy is not None
        quality_index, payload = copy
        assert len(payload) < len(packet.payload)
        rebuilt = dataclasses.replace(packet, quality_index=quality_index, payload=payload)
        assert all(decoder.indices_of(frame) is not None for frame in rebuilt.each_frame())
    assert encoder.encode_redundant(packets[-10]) is None


def test_constrained_packets_keep_to_their_share(speech: Float32Array) -> None:
    for packet in encode(speech[:48_000], 60, constrained=True):
        assert len(packet.payload) <= 6_000 * 0.06 / 8


def test_snapshots_resume_inside_a_packet(speech: Float32Array) -> None:
    first, second, third = encode(speech[:48_000], 60, mode="stream")[:3]
    one, other = StreamDecoder(24_000), StreamDecoder(24_000)
    one.push(first)
    frames = (*second.each_frame(), *third.each_frame())
    one.push(frames[0])
    other.state = one.state
    for frame in frames[1:]:
        np.testing.assert_array_equal(one.push(frame), other.push(frame))
    assert other.concealed == 0


def test_bad_lengths_are_refused() -> None:
    with pytest.raises(AudioFormatError, match="packet_ms must be one of 20"):
        StreamEncoder(24_000, packet_ms=30)
    with pytest.raises(AudioFormatError, match="packet_ms must be one of 20"):
        StreamEncoder(48_000, tier="near-lossless", packet_ms=30)
    with pytest.raises(AudioFormatError, match="lossless tier must be one of 20, 40, 60, 80, 100"):
        StreamEncoder(48_000, tier="lossless", packet_ms=120)
    packet = encode(np.zeros(24_000, np.float32), 60)[0]
    with pytest.raises(PacketError, match="1 to 6 frames"):
        dataclasses.replace(packet, frames=7)
    with pytest.raises(PacketError, match="send the packet"):
        packet.each_frame()[1].to_bytes()


def test_packets_change_length_in_mid_stream_and_the_sound_goes_on(speech: NDArray[np.float32]) -> None:
    """Same sound, same quality as with packets of one length, nothing lost at the seams, copies still found."""
    encoder = StreamEncoder(24_000, 9_000)
    steady = StreamEncoder(24_000, 9_000)
    lengths = [20, 60, 120, 40, 100, 20, 80]
    packets = []
    for index, start in enumerate(range(0, len(speech), 7_001)):
        encoder.set_packet_ms(lengths[index % len(lengths)])
        packets += encoder.push(speech[start : start + 7_001])
    packets += encoder.flush()
    at = 0
    for packet in packets:
        assert packet.sequence == packet.timestamp == at
        at += packet.frames
    assert {packet.frames for packet in packets} == {1, 2, 3, 4, 5, 6}
    last = packets[-1]
    assert encoder.encode_redundant(packets[-2]) is not None
    assert encoder.encode_redundant(last) is not None
    assert encoder.encode_redundant(packets[0]) is None
    decoder = StreamDecoder(24_000)
    heard = np.concatenate([decoder.push(packet) for packet in packets])
    assert decoder.concealed == 0
    other = StreamDecoder(24_000)
    as_before = np.concatenate([other.push(packet) for packet in [*steady.push(speech), *steady.flush()]])
    delay = encoder.delay_samples + decoder.delay_samples
    errors = [sound[delay : delay + len(speech) - 480] - speech[:-480] for sound in (heard, as_before)]
    power = [10 * np.log10(np.mean(error**2)) for error in errors]
    assert power[0] < power[1] + 0.5
    # A click would stand out of the error.
    assert np.abs(errors[0]).max() < 1.5 * np.abs(errors[1]).max()
    kbps = [8e-3 * sum(len(packet.payload) for packet in packets) / (len(speech) / 24_000)]
    assert kbps[0] == pytest.approx(9.0, rel=0.1)


def test_an_exact_tier_keeps_its_length() -> None:
    with pytest.raises(AudioFormatError, match="neural tier"):
        StreamEncoder(48_000, tier="lossless").set_packet_ms(20)
    with pytest.raises(AudioFormatError, match="20, 40"):
        StreamEncoder(24_000).set_packet_ms(30)


def test_a_snapshot_remembers_the_length(speech: NDArray[np.float32]) -> None:
    encoder = StreamEncoder(24_000, 6_000)
    encoder.push(speech[:5_000])
    encoder.set_packet_ms(60)
    encoder.push(speech[5_000:9_000])
    state = encoder.state
    expected = encoder.push(speech[9_000:20_000])
    other = StreamEncoder(24_000, 6_000)
    other.state = state
    assert other.push(speech[9_000:20_000]) == expected
    encoder.set_packet_ms(20)
    encoder.state = state
    assert encoder.push(speech[9_000:20_000]) == expected


def test_packets_that_look_like_the_last_one_are_read_on_their_own() -> None:
    """Bytes of one length and value are one object in CPython: the payload alone does not tell packets apart."""
    told = [
        Packet(Tier.NEURAL, 10, 10, quality_index, PacketFlags.KEY, b"\x05", frames=frames)
        for frames in (1, 6, 2, 6)
        for quality_index in (3, 4)
    ]
    decoder, pool = StreamDecoder(24_000), StreamPool(1)
    slot = pool.join()
    for packet in told:
        heard = decoder.push(packet)
        assert heard.shape == (packet.frames * 480,)
        np.testing.assert_array_equal(pool.decode({slot: packet})[slot], heard)
    receiver = MediaReceiver(StreamDecoder(24_000), 24_000)
    for k, packet in enumerate(told):
        receiver.receive(packet.to_bytes(), 20.0 * k)
        assert receiver.pull(20.0 * k, 960).shape == (960,)
