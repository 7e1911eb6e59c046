"""What near-lossless decoders play in gaps is what the plain form of it says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.transforms.mdct import make_mdct, mdct_backward, mdct_forward
from streamcodec.codec.near_lossless.concealment import begin_lost_block, conceal, hear, make_concealment
from streamcodec.codec.near_lossless.format import FULL_SCALE, NearLosslessFormat, default_block_samples
from tests.reference.concealment_reference import ReferenceConcealment

Float32Array = NDArray[np.float32]


def _signal(rate_hz: int, channels: int) -> Float32Array:
    """Half a second of a voice's partials, and a quarter of noise; ``[channels, samples]``, in steps of 16 bits."""
    rng = np.random.default_rng(1)
    time_s = np.arange(rate_hz // 2) / rate_hz
    voice = sum(np.sin(2 * np.pi * 143 * k * time_s + k * k) / k for k in range(1, 20))
    sound = np.concatenate([0.1 * voice, rng.normal(0, 0.1, rate_hz // 4)])
    beside = rng.normal(0, 0.003, (channels, sound.size))
    return ((sound * np.linspace(1, 0.4, channels)[:, None] + beside) * FULL_SCALE).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("rate_hz", "share"), [(24_000, 4), (44_100, 1), (8_000, 1), (96_000, 4)])
def test_lost_blocks_are_made_up_as_by_the_reference(rate_hz: int, share: int, channels: int) -> None:
    """Gaps of one to seven blocks, in what repeats and what does not, from the second block on."""
    form = NearLosslessFormat(rate_hz, channels, default_block_samples(rate_hz))
    size, overlap = form.block_samples, form.block_samples // share
    signal = _signal(rate_hz, channels)
    blocks = signal.shape[1] // size
    lost = {1, 8, 9, 14, *range(20, 27), blocks - 12, blocks - 3}
    forward, back, slow_back = ([make_mdct(size, overlap) for _ in range(channels)] for _ in range(3))
    state, slow = make_concealment(form, overlap), ReferenceConcealment(form, overlap)
    spectra, slow_spectra = np.zeros((2, channels, size), np.float32)
    repeated = []
    for k in range(blocks):
        coded = np.zeros((channels, size), np.float32)
        for channel in range(channels):
            block = np.ascontiguousarray(signal[channel, k * size : (k + 1) * size])
            mdct_forward(forward[channel], block, coded[channel])
        if k in lost:
            begin_lost_block(state)
            for channel in range(channels):
                conceal(state, back[channel], channel, spectra[channel])
            slow_spectra = slow.spectra(slow_spectra, slow_back)
            assert state.control.lag_samples[0] == slow.lag_samples
            repeated.append(slow.lag_samples > 0)
        else:
            spectra, slow_spectra = coded, coded.copy()
            state.control.lost_in_a_row[0] = slow.lost_in_a_row = 0
        played, expected = np.zeros((2, channels, size), np.float32)
        for channel in range(channels):
            mdct_backward(back[channel], spectra[channel], played[channel])
            hear(state, back[channel], channel, played[channel])
            mdct_backward(slow_back[channel], slow_spectra[channel], expected[channel])
        slow.hear(expected)
        np.testing.assert_allclose(played, expected, rtol=0, atol=0.05)
    assert any(repeated)
    assert not all(repeated)
