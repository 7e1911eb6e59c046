"""Streaming equals offline, whatever the pieces, and states can be copied, restored and interleaved."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcodec import AudioFormatError, Packet, StreamDecoder, StreamEncoder, decode_array, encode_array

Float32Array = NDArray[np.float32]


def decode_all(packets: list[Packet], sample_rate_hz: int) -> Float32Array:
    decoder = StreamDecoder(sample_rate_hz)
    return np.concatenate([*(decoder.push(p) for p in packets), decoder.flush()])


def sound_at(sample_rate_hz: int, seconds: float) -> Float32Array:
    t = np.arange(int(sample_rate_hz * seconds)) / sample_rate_hz
    tone = 0.2 * np.sin(2 * np.pi * 180 * t) * (1 + np.sin(2 * np.pi * 3 * t))
    noise = 0.02 * np.random.default_rng(3).standard_normal(t.size)
    return (tone + noise).astype(np.float32)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=40), st.sampled_from(["independent", "stream"]))
def test_any_partition_gives_the_same_packets(sizes: list[int], mode: str) -> None:
    sound = sound_at(24_000, 0.5)
    whole = StreamEncoder(24_000, 6_000, mode=mode)  # type: ignore[arg-type]
    expected = [*whole.push(sound), *whole.flush()]
    pieces = StreamEncoder(24_000, 6_000, mode=mode)  # type: ignore[arg-type]
    packets: list[Packet] = []
    position = 0
    for size in sizes:
        packets += pieces.push(sound[position : position + size])
        position = min(position + size, sound.size)
    packets += [*pieces.push(sound[position:]), *pieces.flush()]
    assert packets == expected


@pytest.mark.parametrize("sample_rate_hz", [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_sample_by_sample_equals_whole_at_every_rate(sample_rate_hz: int) -> None:
    sound = sound_at(sample_rate_hz, 0.11)
    whole = StreamEncoder(sample_rate_hz)
    expected = [*whole.push(sound), *whole.flush()]
    single = StreamEncoder(sample_rate_hz)
    packets = [p for sample in sound for p in single.push(np.array([sample]))] + single.flush()
    assert packets == expected
    np.testing.assert_allclose(decode_all(packets, sample_rate_hz), decode_all(expected, sample_rate_hz), atol=1e-6)


def test_one_shot_equals_streaming(speech: Float32Array) -> None:
    encoder, decoder = StreamEncoder(24_000, 9_000), StreamDecoder(24_000)
    packets = [p for start in range(0, speech.size, 240) for p in encoder.push(speech[start : start + 240])]
    packets += encoder.flush()
    streamed = np.concatenate([*(decoder.push(p) for p in packets), decoder.flush()])
    encoded = encode_array(speech, 24_000, 9_000)
    assert [timed.packet for timed in encoded.packets] == packets
    lag = encoder.delay_samples + decoder.delay_samples
    np.testing.assert_allclose(decode_array(encoded), streamed[lag : lag + speech.size], atol=1e-6)


@pytest.mark.parametrize("sample_rate_hz", [24_000, 44_100])
def test_copied_state_goes_on_alike(sample_rate_hz: int) -> None:
    sound = sound_at(sample_rate_hz, 1.0)
    half = sound.size // 2 + 17
    encoder = StreamEncoder(sample_rate_hz, mode="stream")
    decoder = StreamDecoder(sample_rate_hz)
    for packet in encoder.push(sound[:half]):
        decoder.push(packet)
    encoder_state, decoder_state = encoder.state, decoder.state
    first = encoder.push(sound[half:])
    first_sound = [decoder.push(p) for p in first]

    fresh_encoder = StreamEncoder(sample_rate_hz, mode="stream")
    fresh_decoder = StreamDecoder(sample_rate_hz)
    for _ in range(2):
        fresh_encoder.state, fresh_decoder.state = encoder_state, decoder_state
        again = fresh_encoder.push(sound[half:])
        assert again == first
        np.testing.assert_allclose([fresh_decoder.push(p) for p in again], first_sound, atol=1e-6)


def test_interleaved_streams_do_not_touch_each_other(speech: Float32Array) -> None:
    other = speech[::-1].copy()
    alone = [encode_array(s, 24_000, 6_000) for s in (speech, other)]
    alone_sound = [decode_array(e) for e in alone]
    encoders = [StreamEncoder(24_000, 6_000), StreamEncoder(24_000, 6_000)]
    decoders = [StreamDecoder(24_000), StreamDecoder(24_000)]
    packets: list[list[Packet]] = [[], []]
    heard: list[list[Float32Array]] = [[], []]
    for start in range(0, speech.size, 480):
        for k, sound in enumerate((speech, other)):
            for packet in encoders[k].push(sound[start : start + 480]):
                packets[k].append(packet)
                heard[k].append(decoders[k].push(packet))
    for k in range(2):
        assert packets[k] == [t.packet for t in alone[k].packets][: len(packets[k])]
        streamed = np.concatenate(heard[k])[encoders[k].delay_samples + decoders[k].delay_samples :]
        np.testing.assert_allclose(streamed, alone_sound[k][: streamed.size], atol=1e-6)


def test_reset_forgets_everything(speech: Float32Array) -> None:
    encoder, decoder = StreamEncoder(24_000), StreamDecoder(24_000)
    first = encoder.push(speech)
    first_sound = [decoder.push(p) for p in first]
    encoder.reset()
    decoder.reset()
    assert encoder.push(speech) == first
    np.testing.assert_array_equal([decoder.push(p) for p in first], first_sound)


def test_the_rate_can_change_at_any_packet_without_a_glitch(speech: Float32Array) -> None:
    encoder, decoder = StreamEncoder(24_000, 3_000), StreamDecoder(24_000)
    heard = []
    for k, start in enumerate(range(0, speech.size - 479, 480)):
        encoder.set_bitrate((2_000, 12_000)[k % 2])
        heard += [decoder.push(packet) for packet in encoder.push(speech[start : start + 480])]
    switched = np.concatenate(heard)
    steady = decode_array(encode_array(speech, 24_000, 6_000))
    # A seam would show as sudden jumps between neighbouring samples, most of all where packets meet.
    assert np.abs(np.diff(switched)).max() < 1.5 * np.abs(np.diff(speech)).max()
    assert np.abs(np.diff(switched)).mean() < 1.3 * np.abs(np.diff(steady)).mean()


@pytest.mark.parametrize("channels", [1, 2])
def test_copied_decoders_end_alike(speech: Float32Array, channels: int) -> None:
    sound = speech if channels == 1 else np.stack([speech, speech[::-1]], axis=1)
    decoder = StreamDecoder(24_000, channels=channels)
    # In the middle of a voice: of silence every tail is alike.
    for packet in StreamEncoder(24_000, channels=channels).push(sound)[:60]:
        decoder.push(packet)
    twin = copy.deepcopy(decoder)
    fresh = StreamDecoder(24_000, channels=channels)
    fresh.state = decoder.state
    tail = decoder.flush()
    assert np.abs(tail).max() > 0.0
    for other in (twin, fresh):
        np.testing.assert_array_equal(other.flush(), tail)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"bitrate_bps": 20_000}, "bitrate_bps 6000 in place of 20000"),
        ({"bitrate_bps": 6_000, "dtx": True}, "dtx False in place of True"),
        ({"bitrate_bps": 6_000, "constrained": True}, "constrained False in place of True"),
    ],
)
def test_a_state_of_other_settings_is_refused(other: dict[str, Any], says: str) -> None:
    with pytest.raises(AudioFormatError, match=says):
        StreamEncoder(24_000, **other).state = StreamEncoder(24_000, 6_000).state
