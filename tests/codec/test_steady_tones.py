"""Steady tones come out as tones, at their pitch and level, whatever becomes of packets; voices are not touched."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.filters.tones import (
    AMPLITUDE,
    ESCAPE_BYTE,
    FREQUENCY,
    LEAST_CODED_HZ,
    MOST_TONES,
    make_tone_finder,
    put_tones,
    read_tones,
    take_tones,
    write_tones,
)
from streamcodec import Packet, PacketFlags, StreamDecoder, StreamEncoder, Tier
from streamcodec.evaluation import dtmf

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
RATE_HZ, FRAME = 24_000, 480
ESCAPE = bytes((ESCAPE_BYTE, ESCAPE_BYTE))


def tones(*hertz: float, seconds: float = 1.5, amplitude: float = 0.2) -> Float32Array:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.asarray(amplitude * sum(np.sin(2.0 * np.pi * each * time_s) for each in hertz), np.float32)


def level_of_tone_db(sound: Float32Array, hertz: float) -> float:
    """Of a sine of this frequency, re full scale; a quarter of a hertz beside it counts little in a second."""
    window = np.hanning(len(sound))
    turned = sound * window * np.exp(-2j * np.pi * hertz * np.arange(len(sound)) / RATE_HZ)
    return float(20.0 * np.log10(2.0 * abs(turned.sum()) / window.sum() + 1e-12))


def told(*frames: list[tuple[float, float]]) -> Float64Array:
    out = np.zeros((len(frames), MOST_TONES, 2))
    for frame, each in zip(out, frames, strict=True):
        for k, pair in enumerate(each):
            frame[k] = pair
    return out


def play(packets: list[Packet | None]) -> Float32Array:
    decoder = StreamDecoder(RATE_HZ)
    return np.concatenate([*(decoder.push(packet) for packet in packets), decoder.flush()])


def with_tones(packets: list[Packet]) -> int:
    return sum(packet.payload[:2] == ESCAPE for packet in packets)


@pytest.mark.parametrize("hertz", [(1_000.0,), (2_000.0,), (3_000.0,), (5_000.0,), (9_876.5,), (2_093.0, 3_520.0)])
@pytest.mark.parametrize(
    "settings", [{}, {"bitrate_bps": 12_000}, {"packet_ms": 60}, {"mode": "stream"}, {"dtx": True}]
)
def test_a_steady_tone_comes_out_as_loud_as_it_was(hertz: tuple[float, ...], settings: dict[str, object]) -> None:
    sound = tones(*hertz)
    packets = StreamEncoder(RATE_HZ, **({"bitrate_bps": 6_000} | settings)).push(sound)  # type: ignore[arg-type]
    heard = play(list(packets))
    for each in hertz:
        middle = slice(RATE_HZ // 4, RATE_HZ // 4 + RATE_HZ)
        assert level_of_tone_db(heard[middle], each) == pytest.approx(level_of_tone_db(sound[middle], each), abs=0.5)


def test_in_noise_and_gliding_it_is_followed() -> None:
    hiss = 0.02 * np.random.default_rng(0).standard_normal(RATE_HZ)
    noisy = (tones(3_000.0, seconds=1.0) + hiss).astype(np.float32)
    packets = StreamEncoder(RATE_HZ, 6_000).push(noisy)
    assert with_tones(packets) > 0.9 * len(packets)
    assert level_of_tone_db(play(list(packets))[RATE_HZ // 2 :], 3_000.0) == pytest.approx(-14.0, abs=1.0)
    time_s = np.arange(RATE_HZ) / RATE_HZ
    glide = np.asarray(0.2 * np.sin(2.0 * np.pi * (2_000.0 * time_s + 100.0 * time_s**2)), np.float32)
    packets = StreamEncoder(RATE_HZ, 6_000).push(glide)
    assert with_tones(packets) > 0.9 * len(packets)


def test_a_tone_takes_what_was_asked_for() -> None:
    for bitrate_bps, hertz in ((3_200, (4_000.0,)), (6_000, (2_093.0, 3_520.0))):
        packets = StreamEncoder(RATE_HZ, bitrate_bps).push(tones(*hertz, seconds=6.0))
        assert 8.0 * sum(len(packet.payload) for packet in packets) / 6.0 < 1.05 * bitrate_bps
        assert with_tones(packets) > 0.9 * len(packets)
    # Packets of 5 bytes have no room.
    assert with_tones(StreamEncoder(RATE_HZ, 2_000).push(tones(4_000.0))) == 0


def test_voices_hiss_and_clicks_are_coded_as_if_there_were_no_tones(speech: Float32Array) -> None:
    finder, found = make_tone_finder(), np.zeros((MOST_TONES, 2))
    click = np.zeros(RATE_HZ, np.float32)
    click[12_000] = 1.0
    hiss = np.random.default_rng(1).standard_normal(RATE_HZ).astype(np.float32)
    for sound in (speech, hiss, click, np.zeros(RATE_HZ, np.float32), np.full(RATE_HZ, 0.1, np.float32)):
        for start in range(0, sound.size - FRAME + 1, FRAME):
            frame = sound[start : start + FRAME].copy()
            assert take_tones(finder, frame, float(RATE_HZ), MOST_TONES, found) == 0
            assert not found.any()
            np.testing.assert_array_equal(frame, sound[start : start + FRAME])


def test_a_tone_goes_on_through_a_loss_and_dies_away_in_a_long_one() -> None:
    packets: list[Packet | None] = list(StreamEncoder(RATE_HZ, 6_000).push(tones(3_000.0)))
    short = play(packets[:40] + [None] * 2 + packets[42:])
    gap = short[40 * FRAME : 43 * FRAME]
    assert level_of_tone_db(gap, 3_000.0) > level_of_tone_db(short[30 * FRAME : 39 * FRAME], 3_000.0) - 4.0
    long = play(packets[:40] + [None] * 30)
    assert level_of_tone_db(long[-5 * FRAME :], 3_000.0) < -60.0


def test_it_ends_when_it_ends() -> None:
    sound = np.concatenate([tones(3_000.0, seconds=0.5), np.zeros(12_000, np.float32)])
    heard = play(list(StreamEncoder(RATE_HZ, 6_000).push(sound)))
    assert level_of_tone_db(heard[12_000 + 5 * FRAME :], 3_000.0) < -60.0


@pytest.mark.parametrize("bitrate_bps", [6_000, 12_000])
def test_a_key_held_down_is_read_once(bitrate_bps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tone that takes over from the latents goes on in their phase: no dip makes two keys of one."""
    monkeypatch.setattr(dtmf, "KEY_S", 0.3)
    for key in dtmf.KEYS[::3]:
        packets = StreamEncoder(RATE_HZ, bitrate_bps).push(dtmf.key_tones(key))
        assert with_tones(packets) > 0
        assert dtmf.read_keys(play(list(packets)), RATE_HZ) == key


def test_loud_sound_with_a_tone_in_it_stays_within_full_scale() -> None:
    hiss = 0.2 * np.random.default_rng(0).standard_normal(RATE_HZ)
    for loud in (
        tones(3_000.0, seconds=1.0, amplitude=1.0) + hiss,
        tones(3_000.0, 4_100.0, seconds=1.0, amplitude=0.9),
    ):
        sound = np.asarray(np.clip(loud, -1.0, 1.0), np.float32)
        packets: list[Packet | None] = list(StreamEncoder(RATE_HZ, 12_000).push(sound))
        assert with_tones([packet for packet in packets if packet is not None]) > 0
        packets[20] = packets[30] = packets[31] = None
        heard = play(packets)
        assert 0.9 < np.abs(heard).max() <= 1.0


def test_copies_and_those_who_come_late_have_it_too() -> None:
    encoder = StreamEncoder(RATE_HZ, 6_000)
    packets = encoder.push(tones(3_000.0))
    copy = encoder.encode_redundant(packets[-2])
    assert copy is not None
    assert copy[1][:5] == packets[-2].payload[:5]
    late = play(list(packets[30:]))
    assert level_of_tone_db(late[RATE_HZ // 4 :], 3_000.0) == pytest.approx(-14.0, abs=0.5)


def test_a_copied_state_goes_on_with_the_tone() -> None:
    sound, encoder, decoder = tones(3_000.0), StreamEncoder(RATE_HZ, 6_000), StreamDecoder(RATE_HZ)
    first = [decoder.push(packet) for packet in encoder.push(sound[: 30 * FRAME])]
    assert first
    encoding, decoding = encoder.state, decoder.state
    packets = encoder.push(sound[30 * FRAME :])
    heard = np.concatenate([decoder.push(packet) for packet in packets])
    encoder.state, decoder.state = encoding, decoding
    assert encoder.push(sound[30 * FRAME :]) == packets
    np.testing.assert_array_equal(np.concatenate([decoder.push(packet) for packet in packets]), heard)


def test_two_channels_each_have_their_own() -> None:
    sound = np.stack([tones(3_000.0), tones(4_000.0)], axis=1)
    encoder, decoder = StreamEncoder(RATE_HZ, 16_000, channels=2), StreamDecoder(RATE_HZ, channels=2)
    heard = np.concatenate([decoder.push(packet) for packet in encoder.push(sound)])[RATE_HZ // 4 :]
    for side, hertz in enumerate((3_000.0, 4_000.0)):
        assert level_of_tone_db(heard[:, side], hertz) == pytest.approx(-14.0, abs=0.5)


@pytest.mark.parametrize("frames", [1, 3, 6])
def test_tones_come_back_from_a_payload(frames: int) -> None:
    rng = np.random.default_rng(frames)
    for count in range(MOST_TONES + 1):
        given = np.zeros((frames, MOST_TONES, 2))
        for k in range(count):
            given[:, k] = rng.uniform(600.0, 11_000.0), rng.uniform(0.001, 1.0)
        payload = write_tones(given, b"latents")
        found = np.zeros((frames, MOST_TONES, 2))
        start = read_tones(np.frombuffer(payload, np.uint8), len(payload), frames, found)
        assert payload[start:] == b"latents"
        np.testing.assert_allclose(found[:, :, FREQUENCY], given[:, :, FREQUENCY], atol=0.18)
        np.testing.assert_allclose(found[:, :, AMPLITUDE], given[:, :, AMPLITUDE], rtol=0.024)


def test_the_bytes_of_tones_are_these() -> None:
    given = told([], [(LEAST_CODED_HZ + 0.35 * 7_143, 0.1)])
    assert write_tones(given, b"\x01\x02") == bytes.fromhex("ffff 09 1be7 32 0102")
    assert write_tones(given[:1], b"\x01\x02") == b"\x01\x02"
    assert write_tones(given[:1], b"\xff\xff\x02") == bytes.fromhex("ffff 00 ffff02")
    room = np.zeros(20, np.uint8)
    room[:2] = 1, 2
    assert put_tones(given, 2, room, 2) == 8


def test_any_bytes_behind_the_mark_are_sound_or_a_loss() -> None:
    rng = np.random.default_rng(3)
    decoder = StreamDecoder(RATE_HZ)
    for k in range(300):
        body = rng.integers(0, 256, rng.integers(0, 24)).astype(np.uint8).tobytes()
        if k % 3 == 0:
            body = bytes((5,)) + body
        packet = Packet(Tier.NEURAL, k, k, 4, PacketFlags.KEY, ESCAPE + body)
        heard = decoder.push(packet)
        assert np.isfinite(heard).all()
        assert np.abs(heard).max(initial=0.0) <= 1.0
    assert 0 < decoder.concealed < 300
