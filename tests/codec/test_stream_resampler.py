"""Sound of a waveform tier at a listener's own rate: pieces of any length, the same as in one piece."""

from __future__ import annotations

import numpy as np
import pytest

from streamcodec.codec.stream_resampler import StreamResampler


def tone(rate_hz: int, hz: float, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz).astype(np.float32)


@pytest.mark.parametrize(("in_hz", "out_hz"), [(44_100, 48_000), (48_000, 44_100), (8_000, 48_000), (96_000, 22_050)])
def test_pieces_of_any_length_give_what_one_piece_gives(in_hz: int, out_hz: int) -> None:
    sound = np.random.default_rng(1).standard_normal((in_hz // 4, 2)).astype(np.float32)
    whole = StreamResampler(in_hz, out_hz, 2).process(sound)
    resampler, pieces, start = StreamResampler(in_hz, out_hz, 2), [], 0
    for length in [1, 0, 7, 480, 1_024, 3_000] * 20:
        pieces.append(resampler.process(sound[start : start + length]))
        start = min(start + length, len(sound))
    joined = np.concatenate(pieces)
    np.testing.assert_array_equal(joined, whole[: len(joined)])
    assert abs(len(whole) / out_hz - 0.25) < 0.005


@pytest.mark.parametrize(("in_hz", "out_hz"), [(44_100, 48_000), (48_000, 32_000), (44_099, 48_000)])
def test_a_tone_stays_a_tone_and_what_the_lower_rate_cannot_hold_stays_out(in_hz: int, out_hz: int) -> None:
    kept = StreamResampler(in_hz, out_hz).process(tone(in_hz, 0.4 * min(in_hz, out_hz), 0.5))[2_000:-2_000]
    assert abs(float(np.sqrt(2 * np.mean(kept**2))) - 1.0) < 0.01
    if out_hz < in_hz:
        folded = StreamResampler(in_hz, out_hz).process(tone(in_hz, 0.55 * out_hz, 0.5))[2_000:-2_000]
        assert float(np.abs(folded).max()) < 2e-4
