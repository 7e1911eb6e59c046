"""Between the caller's rate and the network's: wide in band, short in delay, the same block after block."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from streamcodec.codec.neural.resample import BlockResampler

INSIDE_HZ, BLOCKS_PER_S = 24_000, 50
RATES_HZ = [8_000, 16_000, 22_050, 32_000, 44_100, 48_000]
Sound = NDArray[np.float32]


def through(resampler: BlockResampler, sound: Sound, rate_hz: int) -> Sound:
    return np.concatenate([resampler.process(block) for block in sound.reshape(-1, rate_hz // BLOCKS_PER_S)])


def there_and_back(rate_hz: int) -> tuple[BlockResampler, BlockResampler]:
    return (
        BlockResampler(rate_hz, INSIDE_HZ, BLOCKS_PER_S, rate_hz),
        BlockResampler(INSIDE_HZ, rate_hz, BLOCKS_PER_S, rate_hz),
    )


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_most_of_the_band_survives_both_ways(rate_hz: int) -> None:
    """A converter chosen for its delay alone took everything above 6.4 of 8 kHz, and 9.6 of 12."""
    sound = (0.1 * np.random.default_rng(7).standard_normal(2 * rate_hz)).astype(np.float32)
    inwards, outwards = there_and_back(rate_hz)
    heard = through(outwards, through(inwards, sound, rate_hz), INSIDE_HZ)
    hz, before = signal.welch(sound, rate_hz, nperseg=512)
    _, after = signal.welch(heard, rate_hz, nperseg=512)
    level_db = 10 * np.log10(after / before)
    highest_hz = min(rate_hz, INSIDE_HZ) / 2
    assert np.abs(level_db[(hz > 100) & (hz < 0.83 * highest_hz)]).max() < 0.5
    # Half of what is left of the amplitude at each pass.
    assert level_db[hz < 0.92 * highest_hz].min() > -14


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_delay_is_what_it_says(rate_hz: int) -> None:
    inwards, outwards = there_and_back(rate_hz)
    sound = np.zeros(rate_hz // 5, np.float32)
    sound[rate_hz // 10] = 1.0
    heard = through(outwards, through(inwards, sound, rate_hz), INSIDE_HZ)
    assert np.argmax(np.abs(heard)) - rate_hz // 10 == inwards.delay_samples + outwards.delay_samples
    assert (inwards.delay_samples + outwards.delay_samples) / rate_hz <= 0.005


def test_equal_rates_pass_sound_as_it_is() -> None:
    same = BlockResampler(INSIDE_HZ, INSIDE_HZ, BLOCKS_PER_S, INSIDE_HZ)
    block = np.arange(480, dtype=np.float32)
    assert same.delay_samples == 0
    np.testing.assert_array_equal(same.process(block), block)


def test_reset_is_the_start_of_a_stream() -> None:
    resampler = BlockResampler(16_000, INSIDE_HZ, BLOCKS_PER_S, 16_000)
    block = np.linspace(-1, 1, 320, dtype=np.float32)
    first = resampler.process(block)
    resampler.process(block)
    resampler.reset()
    np.testing.assert_array_equal(resampler.process(block), first)
