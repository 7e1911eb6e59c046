"""Odd sound in, damaged packets in: clear errors or concealment, finite sound, bounded memory."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec import (
    AudioFormatError,
    BitrateError,
    ModelError,
    Packet,
    PacketFlags,
    StreamDecoder,
    StreamEncoder,
    Tier,
    decode_array,
    encode_array,
)
from tests.helpers.traced_memory import traced_stretches

Float32Array = NDArray[np.float32]
N = 4_800


def odd_sounds() -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(2)
    noise = rng.standard_normal(N)
    some_nan = 0.1 * noise
    some_nan[100:200] = np.nan
    some_nan[300] = np.inf
    some_nan[301] = -np.inf
    return {
        "silence": np.zeros(N),
        "dc": np.full(N, 0.9),
        "clipped": np.sign(noise),
        "far too loud": 1e30 * noise,
        "denormal": 1e-41 * noise,
        "nan and inf": some_nan,
        "all nan": np.full(N, np.nan),
        "one click": np.eye(1, N, 77)[0],
    }


@pytest.mark.parametrize("name", odd_sounds())
@pytest.mark.parametrize("kbps", [2, 12])
def test_odd_sound_gives_finite_sound(name: str, kbps: int) -> None:
    decoded = decode_array(encode_array(odd_sounds()[name].astype(np.float32), 24_000, kbps * 1000))
    assert decoded.size == N
    assert np.isfinite(decoded).all()
    assert np.abs(decoded).max() <= 1.0


def test_silence_costs_next_to_nothing_and_stays_quiet() -> None:
    encoded = encode_array(np.zeros(48_000, np.float32), 24_000, 6_000, dtx=True)
    assert encoded.payload_bytes < 120
    sizes = [len(t.packet.payload) for t in encode_array(np.zeros(48_000, np.float32), 24_000, 1_500).packets]
    assert np.median(sizes) <= 5
    assert np.sqrt(np.mean(decode_array(encoded) ** 2)) < 1e-3


def test_discontinuous_transmission_sends_less_and_keeps_speech(speech: Float32Array) -> None:
    pause = 1e-3 * np.random.default_rng(0).standard_normal(48_000).astype(np.float32)
    sound = np.concatenate([speech, pause, speech])
    steady = encode_array(sound, 24_000, 6_000)
    sparse = encode_array(sound, 24_000, 6_000, dtx=True)
    assert len(sparse.packets) < len(steady.packets) - 60
    assert any(t.packet.flags & PacketFlags.SILENCE for t in sparse.packets)
    decoded = decode_array(sparse)
    assert decoded.size == sound.size
    in_pause = decoded[speech.size + 12_000 : speech.size + 40_000]
    level_db = 20 * np.log10(np.sqrt(np.mean(in_pause**2)) / np.sqrt(np.mean(pause**2)))
    assert -15 < level_db < 10


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (np.zeros(10, np.int32), "int32"),
        (np.zeros(10, complex), "complex128"),
        (np.zeros((2, 3, 4), np.float32), "shape"),
        (np.zeros((2, 4_800), np.float32), "channels"),
        (np.float32(1.0), "shape"),
        (["a"], "float32"),
    ],
)
def test_wrong_samples_are_named(samples: object, says: str) -> None:
    with pytest.raises(AudioFormatError, match=says):
        StreamEncoder(24_000).push(samples)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(AudioFormatError, match="11025"):
        StreamEncoder(11_025)
    with pytest.raises(AudioFormatError, match="96000"):
        StreamDecoder(96_000)
    for bitrate_bps in (0, -1, 10, 1e9, float("nan")):
        with pytest.raises(BitrateError, match=r"1 to 24 kbps|number of bits per second"):
            StreamEncoder(24_000, bitrate_bps)
    with pytest.raises(BitrateError):
        StreamEncoder(24_000).set_bitrate(5)
    with pytest.raises(ModelError, match="no-such-model"):
        StreamEncoder(24_000, model="no-such-model")
    with pytest.raises(AudioFormatError, match="mode"):
        StreamEncoder(24_000, mode="other")  # type: ignore[arg-type]


def test_int16_and_stereo_are_taken(speech: Float32Array) -> None:
    pcm = np.round(speech * 32767).astype(np.int16)
    mono = encode_array(pcm.astype(np.float32) / 32768, 24_000)
    assert encode_array(pcm, 24_000) == mono
    assert encode_array(np.stack([pcm, pcm], axis=1), 24_000) == mono


def test_a_lost_packet_is_concealed_with_sound_like_its_neighbours(speech: Float32Array) -> None:
    packets = StreamEncoder(24_000, 9_000).push(speech)
    clean_decoder, lossy_decoder = StreamDecoder(24_000), StreamDecoder(24_000)
    clean = np.stack([clean_decoder.push(p) for p in packets])
    lossy = np.stack([lossy_decoder.push(None if k % 10 == 5 else p) for k, p in enumerate(packets)])
    assert lossy_decoder.concealed == sum(k % 10 == 5 for k in range(len(packets)))
    assert np.isfinite(lossy).all()
    energy = np.sqrt(np.mean(clean**2, axis=1))
    gaps = [k for k in range(5, len(packets), 10) if energy[k] > 0.02]
    ratio = [np.sqrt(np.mean(lossy[k] ** 2)) / energy[k] for k in gaps]
    assert 0.2 < np.median(ratio) < 2.0
    assert np.abs(np.diff(lossy.ravel())).max() < 2.0 * np.abs(np.diff(clean.ravel())).max()


def test_a_long_loss_fades_to_background(speech: Float32Array) -> None:
    decoder = StreamDecoder(24_000)
    for packet in StreamEncoder(24_000, 6_000).push(speech):
        decoder.push(packet)
    gap = np.stack([decoder.push(None) for _ in range(60)])
    assert np.sqrt(np.mean(gap[-20:] ** 2)) < 0.02
    assert np.isfinite(gap).all()


def test_stream_mode_recovers_at_the_next_key_packet(speech: Float32Array) -> None:
    packets = StreamEncoder(24_000, 6_000, mode="stream").push(speech)
    decoder = StreamDecoder(24_000)
    for k, packet in enumerate(packets):
        decoder.push(None if k == 10 else packet)
    keys = [k for k, p in enumerate(packets) if p.is_key]
    assert keys[:2] == [0, 50]
    # What leaned on the lost packet is concealed, and nothing after the key packet is.
    assert decoder.concealed == 50 - 10


def test_garbage_never_raises_out_of_a_decoder(speech: Float32Array) -> None:
    rng = random.Random(5)
    good = StreamEncoder(24_000, 6_000).push(speech)
    decoder = StreamDecoder(24_000)
    for case in range(4_000):
        packet = rng.choice(good)
        kind = case % 5
        if kind == 0:
            data: Packet | bytes | None = rng.randbytes(rng.randrange(80))
        elif kind == 1:
            data = replace(packet, payload=rng.randbytes(rng.randrange(60)), quality_index=rng.randrange(16))
        elif kind == 2:
            whole = bytearray(packet.to_bytes())
            whole[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            data = bytes(whole)
        elif kind == 3:
            data = replace(packet, tier=rng.choice(list(Tier)), flags=PacketFlags(rng.randrange(8)))
        else:
            data = None if case % 2 else b""
        out = decoder.push(data)
        assert out.shape == (480,)
        assert np.isfinite(out).all()
    for packet in good[:30]:
        out = decoder.push(packet)
    # The decoder is in order again after all that.
    assert 0.001 < np.sqrt(np.mean(out**2)) < 0.5


def test_memory_stays_constant_over_a_long_stream() -> None:
    """A simulated stretch of an hour's shape: sizes of everything kept are those of the first seconds."""
    encoder, decoder = StreamEncoder(44_100, 6_000), StreamDecoder(44_100)
    block = 0.05 * np.random.default_rng(0).standard_normal(882).astype(np.float32)

    def run(packets: int) -> None:
        for _ in range(packets):
            for packet in encoder.push(block):
                decoder.push(packet)

    run(100)
    kept_bytes = []
    # One pointer kept per packet would add 3,200 bytes to every stretch; what comes and goes by itself is thousands
    # in most stretches and hundreds in the quietest of ten.
    for stretch in traced_stretches(lambda: run(50), lambda: run(400), 10):
        kept_bytes.append(stretch.kept_bytes)
        if stretch.kept_bytes < 2_000:
            return
    raise AssertionError(f"every stretch keeps something: {kept_bytes}")


def test_counters_wrap_and_the_stream_goes_on(speech: Float32Array) -> None:
    encoder, decoder = StreamEncoder(24_000, mode="stream"), StreamDecoder(24_000)
    state = encoder.state
    state.sequence = state.timestamp = 65_530
    encoder.state = state
    for packet in encoder.push(speech[:9_600]):
        decoder.push(packet)
    assert decoder.concealed == 0
    assert encoder.state.timestamp == 14
