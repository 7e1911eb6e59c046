"""One face for all tiers: exact sound back where that is the promise, lengths, loss, states, files, clear errors."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcodec import (
    AudioFormatError,
    BitrateError,
    Packet,
    StreamDecoder,
    StreamEncoder,
    Tier,
    decode_array,
    encode_array,
)
from streamcodec.codec.float_stream import FloatEncoder
from streamcodec.codec.stream_format import format_of
from tests.helpers.partials import floats, pcm, snr_db

Samples = NDArray[np.generic]
EXACT = ("lossless", "near-lossless")


def pair(
    tier: str, rate_hz: int = 44_100, channels: int = 1, bits: int = 16, **options: object
) -> tuple[StreamEncoder, StreamDecoder]:
    form = {"tier": tier, "channels": channels, "bits_per_sample": bits}
    return StreamEncoder(rate_hz, **form, **options), StreamDecoder(rate_hz, **form)  # type: ignore[arg-type]


def heard(decoder: StreamDecoder, packets: list[Packet | None]) -> Samples:
    blocks = [decoder.push(None if p is None else p.to_bytes()) for p in packets]
    return np.concatenate([decoder.silence(0), *blocks, decoder.flush()])


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 2_500), max_size=8), st.sampled_from([(1, 16), (2, 16), (2, 24), (1, 20)]))
def test_lossless_streams_give_every_sample_back_in_any_pieces(sizes: list[int], form: tuple[int, int]) -> None:
    channels, bits = form
    sound = pcm(5_000, channels, bits)
    encoder, decoder = pair("lossless", channels=channels, bits=bits, key_period_s=0.1)
    packets: list[Packet | None] = []
    position = 0
    for size in sizes:
        packets += encoder.push(sound[position : position + size])
        position = min(position + size, len(sound))
    packets += [*encoder.push(sound[position:]), *encoder.flush()]
    result = heard(decoder, packets)
    assert result.dtype == (np.int16 if bits == 16 else np.int32)
    np.testing.assert_array_equal(result, sound)
    assert decoder.concealed == 0


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 48_000, 96_000])
@pytest.mark.parametrize("tier", EXACT)
def test_rates_and_lengths(tier: str, rate_hz: int) -> None:
    for samples in (0, 1, 777, rate_hz // 5):
        sound = floats(samples, 2) if tier == "near-lossless" else pcm(samples, 2).astype(np.int16)
        decoded = decode_array(encode_array(sound, rate_hz, tier=tier))  # type: ignore[arg-type]
        assert decoded.shape == sound.shape
        assert decoded.dtype == sound.dtype
        if tier == "lossless":
            np.testing.assert_array_equal(decoded, sound)


@pytest.mark.parametrize(("target", "least_db"), [({"ratio": 8}, 30), ({"snr_db": 40}, 38), ({"step_index": 60}, 60)])
def test_near_lossless_quality(target: dict[str, float], least_db: float) -> None:
    sound = floats(20_000, 2)
    whole = encode_array(sound, 44_100, tier="near-lossless", optimise="mse", **target)
    assert snr_db(sound, decode_array(whole)) > least_db
    if "ratio" in target:
        assert 0.95 * sound.size * 2 / 8 < whole.payload_bytes <= sound.size * 2 / 8


def test_near_lossless_holds_a_bitrate() -> None:
    encoder, _ = pair("near-lossless", bitrate_bps=64_000)
    packets = [*encoder.push(floats(3 * 44_100)), *encoder.flush()]
    assert 8 * sum(len(p.payload) for p in packets) / 3 == pytest.approx(64_000, rel=0.1)


@pytest.mark.parametrize("tier", EXACT)
def test_the_declared_delay_is_the_delay(tier: str) -> None:
    encoder, decoder = pair(tier, **({"step_index": 60, "optimise": "mse"} if tier == "near-lossless" else {}))
    sound = pcm(8_000).astype(np.int16)
    result = heard(decoder, [*encoder.push(sound), *encoder.flush()])
    lag = encoder.delay_samples + decoder.delay_samples
    aligned = result[lag : lag + len(sound)] * (1 if tier == "lossless" else 32_768)
    assert np.abs(sound - aligned).max() <= (0 if tier == "lossless" else 4)
    assert (encoder.latency_samples + decoder.delay_samples) / 44_100 <= 0.025


@pytest.mark.parametrize(("mode", "tier"), [("stream", t) for t in EXACT] + [("independent", t) for t in EXACT])
def test_key_packets(mode: str, tier: str) -> None:
    encoder, _ = pair(tier, mode=mode, key_period_s=0.25)
    packets = encoder.push(pcm(44_100).astype(np.int16))
    keys = [k for k, packet in enumerate(packets) if packet.is_key]
    period = 1 if mode == "independent" else round(0.25 * 44_100 / encoder.block_samples)
    assert keys == list(range(0, len(packets), period))
    assert {packet.tier for packet in packets} == {encoder.tier}


@pytest.mark.parametrize(
    ("rate_hz", "channels", "options"),
    [(44_100, 1, {"tier": tier}) for tier in EXACT] + [(24_000, channels, {"mode": "stream"}) for channels in (1, 2)],
)
def test_key_packets_on_request(rate_hz: int, channels: int, options: dict[str, Any]) -> None:
    encoder = StreamEncoder(rate_hz, channels=channels, **options)
    sound = floats(rate_hz // 5, channels)
    if encoder.tier is Tier.LOSSLESS:
        sound = pcm(rate_hz // 5)
    assert [packet.is_key for packet in encoder.push(sound)].count(True) == 1
    encoder.request_key()
    keys = [packet.is_key for packet in encoder.push(sound)]
    assert keys[0]
    assert keys.count(True) == 1


@pytest.mark.parametrize("tier", EXACT)
def test_loss_and_damage_never_raise_and_end_at_the_next_key(tier: str) -> None:
    encoder, decoder = pair(tier, channels=2, key_period_s=0.2)
    sound = pcm(44_100, 2).astype(np.int16)
    packets: list[Packet | None] = [*encoder.push(sound)]
    clean = heard(decoder, packets)
    decoder.reset()
    length = encoder.block_samples
    packets[13] = None
    lossy = heard(decoder, packets)
    assert len(lossy) == len(clean)
    assert not np.array_equal(lossy[13 * length : 14 * length], clean[13 * length : 14 * length])
    resumed = next(k for k, p in enumerate(packets) if k > 13 and p is not None and p.is_key)
    overlap = 0 if tier == "lossless" else 1
    np.testing.assert_array_equal(lossy[(resumed + overlap) * length :], clean[(resumed + overlap) * length :])
    assert decoder.concealed == resumed - 13
    assert np.abs(lossy).max() <= 1.05 * np.abs(clean).max()


@pytest.mark.parametrize("tier", EXACT)
def test_anything_may_arrive(tier: str) -> None:
    rng = random.Random(5)
    encoder, decoder = pair(tier, key_period_s=0.1)
    foreign = [
        *StreamEncoder(24_000).push(np.zeros(480, np.float32)),
        *pair(tier, rate_hz=48_000)[0].push(np.ones(1_000, np.int16)),
        *pair(tier, channels=2)[0].push(np.ones((1_000, 2), np.int16)),
    ]
    for packet in foreign:
        block = decoder.push(packet)
        assert block.shape == (decoder.block_samples, 1)
        assert not block.any()
    assert decoder.concealed == len(foreign)
    for packet in encoder.push(pcm(30_000).astype(np.int16)):
        damaged = bytearray(packet.payload)
        for _ in range(rng.randrange(4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        cut = bytes(damaged[: rng.randrange(1, len(damaged) + 1)]) if rng.random() < 0.3 else bytes(damaged)
        for arrived in (Packet(packet.tier, 0, 0, 0, packet.flags, cut), packet.to_bytes()[:-1], b"", None):
            block = decoder.push(arrived)
            assert block.ndim == 2
            assert np.isfinite(block).all()


def test_concealment_of_lossless_sound_does_not_click() -> None:
    encoder, decoder = pair("lossless")
    sound = pcm(8_820).astype(np.int16)
    packets: list[Packet | None] = [*encoder.push(sound)]
    result = heard(decoder, [*packets[:5], None, None]).astype(np.int32)
    seam = 5 * encoder.block_samples
    assert np.abs(np.diff(result[seam - 10 :, 0])).max() <= 1.5 * np.abs(np.diff(sound.astype(np.int32)[:, 0])).max()
    assert not result[seam + encoder.block_samples :].any()


@pytest.mark.parametrize("tier", EXACT)
def test_copied_state_goes_on_alike(tier: str) -> None:
    encoder, decoder = pair(tier)
    sound = pcm(20_000).astype(np.int16)
    heard(decoder, [*encoder.push(sound[:9_999])])
    states = encoder.state, decoder.state
    packets: list[Packet | None] = [*encoder.push(sound[9_999:]), *encoder.flush()]
    first = heard(decoder, packets)
    other_encoder, other_decoder = pair(tier)
    for _ in range(2):
        other_encoder.state, other_decoder.state = states
        again = [*other_encoder.push(sound[9_999:]), *other_encoder.flush()]
        assert again == packets
        np.testing.assert_array_equal(heard(other_decoder, [*again]), first)
    encoder.reset()
    decoder.reset()
    assert np.array_equal(heard(decoder, [*encoder.push(sound)]), heard(pair(tier)[1], [*pair(tier)[0].push(sound)]))


@pytest.mark.parametrize(("packet_ms", "form"), [(100, (44_100, 1, 16)), (80, (384_000, 8, 32))])
def test_long_lossless_packets_come_back(packet_ms: int, form: tuple[int, int, int]) -> None:
    rate_hz, channels, bits = form
    encoder, decoder = pair("lossless", rate_hz, channels, bits, packet_ms=packet_ms)
    assert encoder.packet_ms <= packet_ms
    sound = pcm(2 * encoder.block_samples + 100, channels, bits)
    packets = [*encoder.push(sound), *encoder.flush()]
    assert len(packets) == 3
    heard = np.concatenate([decoder.push(packet.to_bytes()) for packet in packets])
    assert np.array_equal(heard.reshape(sound.shape), sound)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"tier": "other"}, AudioFormatError, "'near-lossless'"),
        ({"tier": "lossless", "bitrate_bps": 6_000}, BitrateError, "bitrate_bps does not apply"),
        ({"tier": "lossless", "channels": 9}, AudioFormatError, "1 to 8 channels"),
        ({"tier": "lossless", "bits_per_sample": 33}, AudioFormatError, "bits per sample"),
        ({"tier": "lossless", "dtx": True}, BitrateError, "neural tier"),
        ({"tier": "lossless", "key_period_s": 0}, AudioFormatError, "key_period_s"),
        ({"tier": "near-lossless", "ratio": 8, "snr_db": 30}, BitrateError, "one rate target"),
        ({"tier": "near-lossless", "snr_db": 30, "optimise": "perceptual"}, BitrateError, "held with optimise='mse'"),
        ({"tier": "near-lossless", "ratio": -1}, BitrateError, "compression ratio"),
        ({"tier": "near-lossless", "bitrate_bps": 6}, BitrateError, "4 to 6000 kbps"),
        ({"tier": "near-lossless", "optimise": "other"}, BitrateError, "perceptual"),
        ({"tier": "near-lossless", "mode": "other"}, AudioFormatError, "mode"),
        ({"tier": "neural", "ratio": 8}, BitrateError, "near-lossless tier"),
        ({"tier": "neural", "channels": 3}, AudioFormatError, "one channel, or two"),
    ],
)
def test_settings_that_do_not_fit_are_named(options: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        StreamEncoder(44_100, **options)  # type: ignore[arg-type]


def test_samples_that_do_not_fit_are_named_and_change_nothing() -> None:
    encoder, decoder = pair("lossless", channels=2)
    for samples, says in (
        (np.zeros((10, 2), np.float32), "near-lossless tier"),
        (np.zeros((10, 3), np.int16), "channels=2"),
        (np.full((10, 2), 40_000), "16 bits"),
    ):
        with pytest.raises(AudioFormatError, match=says):
            encoder.push(samples)
    with pytest.raises(BitrateError):
        encoder.set_bitrate(9_000)
    sound = pcm(3_000, 2).astype(np.int16)
    np.testing.assert_array_equal(heard(decoder, [*encoder.push(sound), *encoder.flush()]), sound)
    with pytest.raises(AudioFormatError, match="int32"):
        pair("near-lossless")[0].push(np.zeros(4, np.int32))
    with pytest.raises(BitrateError, match="4 bytes are too few"):
        encode_array(floats(300), 44_100, tier="near-lossless", ratio=150)
    with pytest.raises(BitrateError, match="1 bytes are too few for this sound at any step: ask for a lower ratio"):
        encode_array(floats(300), 44_100, tier="near-lossless", ratio=150, packet_ms=100)
    with pytest.raises(AudioFormatError, match="rate it was encoded at"):
        decode_array(encode_array(sound, 44_100, tier="lossless"), 48_000)


def test_calls_take_no_more_than_two_channels_of_24_bits() -> None:
    surround = StreamEncoder(48_000, tier="lossless", channels=6)
    with pytest.raises(AudioFormatError, match="calls carry up to 2 channels"):
        FloatEncoder(surround)
    (packet,) = surround.push(np.ones((960, 6), np.int16))
    assert format_of(packet) is None


def test_tiers_are_loaded_when_asked_for() -> None:
    code = """
import sys
import numpy as np, streamcodec
packets = streamcodec.StreamEncoder(24000).push(np.zeros(480, np.float32))
streamcodec.StreamDecoder(24000).push(packets[0])
assert not any("lossless" in name or "mdct" in name for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
    code = """
import sys
import numpy as np, streamcodec
for tier in ("lossless", "near-lossless"):
    streamcodec.StreamEncoder(24000, tier=tier).push(np.zeros(480, np.int16))
assert "onnxruntime" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


@pytest.mark.parametrize("target_db", [30, 40, 50])
def test_a_signal_to_noise_ratio_is_held_without_saying_for_what(target_db: int) -> None:
    time_s = np.arange(2 * 24_000) / 24_000
    sound = sum(np.sin(2 * np.pi * 220 * k * time_s) / k for k in range(1, 12))
    sound = (0.1 * sound * (1 + np.sin(2 * np.pi * 3 * time_s))).astype(np.float32)
    decoded = decode_array(encode_array(sound, 24_000, tier="near-lossless", snr_db=target_db))
    assert snr_db(sound, decoded) > target_db - 2
