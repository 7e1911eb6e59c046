"""Lossless engine: every sample back, on every kind of signal; damage is one typed error; gaps are noticed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamcodec.codec.lossless.engine import LosslessDecoder, LosslessEncoder, is_key_payload
from streamcodec.codec.packet import MAX_PAYLOAD_BYTES
from streamcodec.errors import AudioFormatError, DamagedPayload
from tests.helpers.damage import damaged

RATE_HZ = 16_000

# Made by another process, with the version that set the format: a change here breaks every stream out there.
GOLDEN_DIGEST = "9d0138cdc4fd7ab8"
GOLDEN_WIDE_DIGEST = "7679040ab6dc65aa"
GOLDEN_PAYLOAD_HEX = (
    "04001002003e800028ff8fb8ff080f50ad843560bec64060eae34fbc73ffdf089ae5be07f2e2755637dd6356cc4a0331"
    "c5f7c370e127f8c170c78162074fac06c07c630b4fd19883fc64e233e1b1a0"
)


def golden_signal() -> np.ndarray:
    """Integer arithmetic alone, so that it is the same everywhere."""
    value, samples = 1, []
    for n in range(1500):
        value = (value * 1103515245 + 12345) & 0x7FFFFFFF
        samples.append([(n * n // 7) % 4001 - 2000 + (value >> 26), (n * 37) % 2003 - 1000])
    return np.array(samples, np.int32)


def payloads_of(
    signal: np.ndarray, bits: int = 16, block_samples: int = 320, key_every: int = 0, rate_hz: int = RATE_HZ
) -> list[bytes]:
    encoder = LosslessEncoder(rate_hz, signal.shape[1], bits, block_samples)
    blocks = [signal[i : i + block_samples] for i in range(0, len(signal), block_samples)]
    return [encoder.encode(block, bool(key_every and i % key_every == 0)) for i, block in enumerate(blocks)]


def decoded(payloads: list[bytes]) -> np.ndarray:
    decoder = LosslessDecoder()
    return np.concatenate([decoder.decode(payload) for payload in payloads])


def kinds(bits: int, length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(bits)
    top = (1 << (bits - 1)) - 1
    t = np.arange(length)
    return {
        "tone": np.rint(np.sin(0.05 * t) * top * 0.9),
        "square": np.where((t // 50) % 2, top, -top - 1),
        "alternating": np.where(t % 2, top, -top - 1),
        "noise": rng.integers(-top - 1, top + 1, length),
        "silence": np.zeros(length),
        "constant": np.full(length, -top - 1),
        "quiet": rng.integers(-1, 2, length),
        "coarse": rng.integers(-9, 9, length) * 64,
        "bursts": np.where((t // 700) % 2, rng.integers(-top, top, length), 0),
        "click": np.where(t == 1000, top, 0),
    }


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bits", [8, 16, 20, 24])
@pytest.mark.parametrize("name", list(kinds(16, 1)))
def test_every_sample_comes_back(name: str, bits: int, channels: int) -> None:
    one = kinds(bits, 3001)[name] if bits > 8 or name != "coarse" else kinds(16, 3001)["quiet"]
    signal = np.stack([one, np.roll(one, 5)][:channels], axis=1).astype(np.int32)
    payloads = payloads_of(signal, bits, key_every=4)
    result = decoded(payloads)
    assert result.dtype == np.int32
    assert np.array_equal(result, signal)
    raw = signal.size * ((bits + 7) // 8)
    assert sum(map(len, payloads)) <= raw + 20 * len(payloads)


@pytest.mark.parametrize(("bits", "channels"), [(32, 1), (32, 2), (24, 3), (8, 5), (32, 8), (27, 4)])
@pytest.mark.parametrize("name", list(kinds(16, 1)))
def test_every_wide_sample_of_many_channels_comes_back(name: str, bits: int, channels: int) -> None:
    one = kinds(bits, 1501)[name] if bits > 8 or name != "coarse" else kinds(16, 1501)["quiet"]
    signal = np.stack([np.roll(one, 5 * k) for k in range(channels)], axis=1).astype(np.int32)
    payloads = payloads_of(signal, bits, key_every=4)
    assert np.array_equal(decoded(payloads), signal)
    raw = signal.size * ((bits + 7) // 8)
    assert sum(map(len, payloads)) <= raw + 20 * len(payloads)


def test_low_bits_come_and_go_within_a_stream() -> None:
    rng = np.random.default_rng(6)
    tone = np.rint(np.sin(np.arange(640) * 0.05) * 8000).astype(np.int32)[:, None]
    wide = rng.integers(-(1 << 31), 1 << 31, (320, 1)).astype(np.int32)
    signal = np.concatenate([tone, tone << 16, wide, tone, tone << 8, np.zeros_like(tone), tone << 3])
    for key_every in (0, 4):
        payloads = payloads_of(signal, 32, 160, key_every)
        assert np.array_equal(decoded(payloads), signal)
    # 16-bit sound in 32-bit samples costs what it costs in 16, and its low bits once a wide block has been.
    as_wide, as_16 = (sum(map(len, payloads_of(tone << shift, bits))) for shift, bits in ((16, 32), (0, 16)))
    assert as_wide < 1.05 * as_16


def test_pairs_are_coded_together_and_apart_from_others() -> None:
    noise = np.random.default_rng(3).normal(0, 500, (8_000, 3)).astype(np.int32)
    two = sum(map(len, payloads_of(noise[:, :2])))
    six = sum(map(len, payloads_of(noise[:, [0, 0, 1, 1, 2, 2]])))
    assert six < 1.1 * 1.5 * two


def test_blocks_of_many_channels_fit_into_packets() -> None:
    for rate_hz, channels, bits in ((192_000, 8, 32), (384_000, 2, 32), (96_000, 8, 24), (384_000, 8, 32)):
        encoder = LosslessEncoder(rate_hz, channels, bits)
        samples = encoder.format.block_samples
        assert samples > rate_hz // 250
        noise = np.random.default_rng(1).integers(-(1 << bits - 1), 1 << bits - 1, (samples, channels))
        assert len(encoder.encode(noise.astype(np.int32))) <= MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("bits", range(8, 25))
def test_full_scale_square_waves_of_every_depth_come_back(bits: int) -> None:
    top = (1 << (bits - 1)) - 1
    t = np.arange(700)
    rising = np.where(np.floor(np.sqrt(t)) % 2, top, -top - 1)
    signal = np.stack([rising, np.where(t % 2, -top - 1, top)], axis=1).astype(np.int32)
    for channels in (1, 2):
        assert np.array_equal(decoded(payloads_of(signal[:, :channels], bits, 300)), signal[:, :channels])


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("block_samples", [1, 7, 0])
def test_rates_and_block_lengths(rate_hz: int, block_samples: int) -> None:
    encoder, decoder = LosslessEncoder(rate_hz, 2, 16, block_samples), LosslessDecoder()
    signal = np.random.default_rng(0).integers(-900, 900, (50, 2)).astype(np.int16)
    longest = min(encoder.format.block_samples, 50)
    for start in range(0, 50, longest):
        block = signal[start : start + longest]
        assert np.array_equal(decoder.decode(encoder.encode(block)), block)
    assert decoder.format == encoder.format
    assert block_samples or encoder.format.block_samples == rate_hz // 50


@st.composite
def signals(draw: st.DrawFn) -> tuple[int, np.ndarray]:
    """Bits per sample, and a signal that fits them: anything at all, with the extremes often."""
    bits = draw(st.integers(8, 32))
    top = (1 << (bits - 1)) - 1
    elements = st.one_of(st.integers(-top - 1, top), st.sampled_from([0, 1, -1, top, -top - 1]))
    return bits, draw(hnp.arrays(np.int32, st.tuples(st.integers(1, 300), st.integers(1, 8)), elements=elements))


@settings(max_examples=80, deadline=None)
@given(case=signals(), block_samples=st.integers(1, 120), key_every=st.integers(0, 4))
def test_any_signal_of_any_depth_comes_back(case: tuple[int, np.ndarray], block_samples: int, key_every: int) -> None:
    bits, signal = case
    assert np.array_equal(decoded(payloads_of(signal, bits, block_samples, key_every)), signal)


def test_silence_is_nearly_free_and_noise_never_grows_past_its_raw_size() -> None:
    assert all(len(payload) <= 6 for payload in payloads_of(np.zeros((3200, 2), np.int32))[1:])
    noise = np.random.default_rng(1).integers(-(1 << 23), 1 << 23, (8192, 2)).astype(np.int32)
    (payload,) = payloads_of(noise, 24, 8192)
    assert noise.size * 3 < len(payload) <= noise.size * 3 + 13 <= MAX_PAYLOAD_BYTES


def test_predictable_sound_gets_small() -> None:
    tone = np.rint(np.sin(np.arange(16_000) * 0.05) * 8000).astype(np.int32)[:, None]
    assert sum(map(len, payloads_of(tone))) < 0.2 * 2 * len(tone)


def test_the_second_of_two_equal_channels_is_cheap() -> None:
    noise = np.random.default_rng(3).normal(0, 500, (16_000, 1)).astype(np.int32)
    alone = sum(map(len, payloads_of(noise)))
    assert sum(map(len, payloads_of(np.repeat(noise, 2, axis=1)))) < 1.1 * alone


def test_zero_low_bits_cost_nothing() -> None:
    noise = np.random.default_rng(3).normal(0, 500, (16_000, 1)).astype(np.int32)
    assert sum(map(len, payloads_of(noise << 8, 24))) < 1.02 * sum(map(len, payloads_of(noise, 16)))


def test_copies_go_on_alike_and_apart() -> None:
    signal = golden_signal()
    encoder, decoder = LosslessEncoder(RATE_HZ, 2), LosslessDecoder()
    decoder.decode(encoder.encode(signal[:320]))
    twin_encoder, twin_decoder = encoder.copy(), decoder.copy()
    encoder.encode(signal[900:1000])
    payload = twin_encoder.encode(signal[320:640])
    assert np.array_equal(twin_decoder.decode(payload), signal[320:640])
    assert np.array_equal(decoder.decode(payload), signal[320:640])


def test_golden_payload_is_coded_and_decoded_alike_today() -> None:
    payloads = payloads_of(golden_signal()[:40], block_samples=40)
    assert payloads[0].hex() == GOLDEN_PAYLOAD_HEX
    assert np.array_equal(decoded([bytes.fromhex(GOLDEN_PAYLOAD_HEX)]), golden_signal()[:40])
    whole = b"".join(payloads_of(golden_signal()))
    assert hashlib.sha256(whole).hexdigest()[:16] == GOLDEN_DIGEST
    wide = np.concatenate([golden_signal(), golden_signal()[:, ::-1] * 99_991], axis=1)[:, :3].astype(np.int32)
    coded = payloads_of(wide, 32)
    assert hashlib.sha256(b"".join(coded)).hexdigest()[:16] == GOLDEN_WIDE_DIGEST


def test_another_process_decodes() -> None:
    signal = golden_signal()
    script = textwrap.dedent(
        """
        import hashlib, sys
        from streamcodec.codec.lossless.engine import LosslessDecoder
        decoder, digest = LosslessDecoder(), hashlib.sha256()
        for line in sys.stdin:
            digest.update(decoder.decode(bytes.fromhex(line.strip())).astype("<i4").tobytes())
        print(digest.hexdigest())
        """
    )
    lines = "\n".join(payload.hex() for payload in payloads_of(signal))
    found = subprocess.run(
        [sys.executable, "-c", script], input=lines, capture_output=True, text=True, check=True, timeout=100
    )
    assert found.stdout.strip() == hashlib.sha256(signal.astype("<i4").tobytes()).hexdigest()


@pytest.mark.parametrize("gap", [1, 3])
def test_a_lost_block_is_noticed_and_the_next_key_block_mends_it(gap: int) -> None:
    signal = golden_signal()
    payloads = payloads_of(signal, block_samples=100, key_every=8)
    decoder = LosslessDecoder()
    for payload in payloads[:3]:
        decoder.decode(payload)
    for payload in payloads[3 + gap : 8]:
        assert not is_key_payload(payload)
        with pytest.raises(DamagedPayload, match=r"missing"):
            decoder.decode(payload)
    assert is_key_payload(payloads[8])
    assert np.array_equal(decoder.decode(payloads[8]), signal[800:900])
    assert np.array_equal(decoder.decode(payloads[9]), signal[900:1000])


def test_a_first_block_is_a_key_block_unasked() -> None:
    assert is_key_payload(LosslessEncoder(RATE_HZ).encode(np.ones((5, 1), np.int32), key=False))


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        (np.zeros((10, 1), np.float32), "near-lossless"),
        (np.zeros((10, 1), np.uint16), "signed integer"),
        (np.zeros((10, 2), np.int16), "shape"),
        (np.zeros(10, np.int16), "shape"),
        (np.zeros((0, 1), np.int16), "shape"),
        (np.zeros((321, 1), np.int16), "shape"),
        (np.full((10, 1), 40_000, np.int32), "16 bits"),
    ],
)
def test_wrong_blocks_are_refused_and_leave_the_stream_whole(block: np.ndarray, complaint: str) -> None:
    encoder, decoder = LosslessEncoder(RATE_HZ), LosslessDecoder()
    decoder.decode(encoder.encode(np.ones((10, 1), np.int16)))
    with pytest.raises(AudioFormatError, match=complaint):
        encoder.encode(block)
    assert (decoder.decode(encoder.encode(np.full((10, 1), 3, np.int16))) == 3).all()


@pytest.mark.parametrize(
    "arguments", [(7_999,), (384_001,), (8_000, 9), (8_000, 1, 33), (8_000, 1, 16, 8193), (8_000, 8, 32, 2_000)]
)
def test_formats_out_of_range_are_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(AudioFormatError):
        LosslessEncoder(*arguments)


def test_damaged_payloads_raise_only_damaged_payload() -> None:
    rng = np.random.default_rng(9)
    signal = golden_signal()[:120]
    good = payloads_of(signal, block_samples=24)
    good += payloads_of(signal[:, :1] * 16, 24, block_samples=24)
    good += payloads_of(rng.integers(-(1 << 15), 1 << 15, (48, 1)).astype(np.int32), block_samples=24)
    good += payloads_of(np.full((24, 1), 5, np.int32), block_samples=24)
    good += payloads_of(np.repeat(signal, 2, axis=1)[:, :3] * 77_777, 32, block_samples=24)
    primed = LosslessDecoder()
    primed.decode(good[0])
    refused = 0
    for case in range(20_000):
        payload = damaged(good[case % len(good)], case, rng, 60)
        decoder = LosslessDecoder() if case % 16 else primed.copy()
        try:
            samples = decoder.decode(payload)
        except DamagedPayload:
            refused += 1
        else:
            assert samples.ndim == 2
    assert refused > 17_000
