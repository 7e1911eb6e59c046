"""Two channels to one: the mean where they agree, the voice itself where they are opposite."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.filters.mixdown import make_mixdown, mix_down
from streamcodec import StreamEncoder
from streamcodec.codec.audio_format import as_mono

RATE_HZ = 16_000
Float32Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def voice() -> Float32Array:
    rng = np.random.default_rng(0)
    return (0.2 * np.convolve(rng.standard_normal(2 * RATE_HZ), np.hanning(9), "same")).astype(np.float32)


def mixed(first: Float32Array, second: Float32Array) -> Float32Array:
    both, out = np.stack([first, second], axis=1), np.empty(len(first), np.float32)
    mix_down(make_mixdown(RATE_HZ), both, out)
    return out


@pytest.mark.parametrize("share", [1.0, 0.3, 0.0, -0.05])
def test_channels_that_are_not_opposite_give_their_mean_to_the_bit(voice: Float32Array, share: float) -> None:
    other = np.random.default_rng(1).standard_normal(len(voice)).astype(np.float32) * np.float32(0.2)
    second = (share * voice + np.sqrt(1.0 - share**2) * other).astype(np.float32)
    np.testing.assert_array_equal(mixed(voice, second), np.stack([voice, second], 1).mean(1, dtype=np.float32))


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_an_opposite_channel_does_not_cancel(voice: Float32Array, gain: float) -> None:
    out = mixed(voice, -np.float32(gain) * voice)
    half = np.float32(0.5 * (1.0 + gain))
    np.testing.assert_allclose(out[RATE_HZ // 4 :], half * voice[RATE_HZ // 4 :], atol=1e-6)


def test_turning_and_turning_back_never_falls_silent_nor_clicks(voice: Float32Array) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 200 * np.arange(3 * RATE_HZ) / RATE_HZ).astype(np.float32)
    sign = np.where(np.arange(len(tone)) // RATE_HZ == 1, -1.0, 1.0).astype(np.float32)
    out = mixed(tone, sign * tone)
    np.testing.assert_allclose(out[-RATE_HZ // 2 :], tone[-RATE_HZ // 2 :], atol=1e-6)
    settled = out[RATE_HZ + RATE_HZ // 4 : 2 * RATE_HZ]
    assert np.std(settled) == pytest.approx(np.std(tone), rel=0.01)
    # The second channel itself jumps where it is turned over; nothing adds to that.
    jumps = np.abs(np.diff(out))
    assert np.max(jumps) < 1.05 * max(np.max(np.abs(np.diff(0.5 * tone * (1 + sign)))), np.max(np.abs(np.diff(tone))))


def test_faulty_samples_do_not_stay(voice: Float32Array) -> None:
    both = np.stack([voice, voice], axis=1)
    broken = both.copy()
    broken[100] = np.nan, np.inf
    state = make_mixdown(RATE_HZ)
    first = as_mono(broken[:800], state)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(as_mono(both[800:], state), voice[800:])


def test_an_encoder_codes_a_voice_out_of_opposite_channels(voice: Float32Array) -> None:
    one, other = StreamEncoder(RATE_HZ), StreamEncoder(RATE_HZ)
    alone = one.push(voice)
    before = other.push(np.stack([voice, -voice], axis=1)[:RATE_HZ])
    snapshot = other.state
    rest = other.push(np.stack([voice, -voice], axis=1)[RATE_HZ:])
    packets = [*before, *rest]
    sizes, wanted = (sum(len(p.payload) for p in each[25:]) for each in (packets, alone))
    assert sizes == pytest.approx(wanted, rel=0.1)
    other.state = snapshot
    assert [p.payload for p in other.push(np.stack([voice, -voice], axis=1)[RATE_HZ:])] == [p.payload for p in rest]
