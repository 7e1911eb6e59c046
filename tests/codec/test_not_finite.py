"""Samples that are NaN or infinite: coded as silence and as the loudest sample, counted, told once, never raised."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest

from streamcodec import StreamcodecWarning, StreamEncoder, StreamPool
from streamcodec.codec.audio_format import SAMPLE_LIMIT, FiniteSamples
from streamcodec.codec.float_stream import FloatEncoder
from streamcodec.codec.latents import latents
from streamcodec.codec.options import Samples
from streamcodec.codec.stream import EncoderState

RATE_HZ = 24_000
BAD = {100: np.nan, 101: np.inf, 102: -np.inf}
MENDED = {100: 0.0, 101: SAMPLE_LIMIT, 102: -SAMPLE_LIMIT}


def with_samples(sound: Samples, values: dict[int, float]) -> Samples:
    changed = sound.copy()
    changed[list(values)] = np.reshape(list(values.values()), (-1, *(1,) * (sound.ndim - 1)))
    return changed


@pytest.fixture(scope="module")
def tone() -> Samples:
    return np.asarray(0.1 * np.sin(np.arange(2_400) / 9.0), np.float32)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("coding", "channels"),
    [({}, 1), ({}, 2), ({"channels": 2}, 2), ({"tier": "near-lossless", "channels": 2}, 2)],
    ids=["mono", "mixed down", "stereo", "near-lossless"],
)
def test_a_stream_goes_on_and_says_so_once(tone: Samples, coding: Any, channels: int, kind: Any) -> None:
    sound = tone.astype(kind) if channels == 1 else np.stack([tone, tone / 2], axis=1).astype(kind)
    encoder, mended = StreamEncoder(RATE_HZ, **coding), StreamEncoder(RATE_HZ, **coding)
    with pytest.warns(StreamcodecWarning, match=f"the sound pushed holds {3 * channels} sample") as told:
        packets = [*encoder.push(with_samples(sound, BAD)), *encoder.push(with_samples(sound, BAD))]
    assert len(told) == 1
    assert encoder.not_finite == 6 * channels
    expected = [packet for _ in range(2) for packet in mended.push(with_samples(sound, MENDED))]
    assert [packet.to_bytes() for packet in packets] == [packet.to_bytes() for packet in expected]
    assert mended.not_finite == 0


def test_warnings_that_are_errors_do_not_stop_a_stream(tone: Samples) -> None:
    encoder = StreamEncoder(RATE_HZ)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(encoder.push(with_samples(tone, BAD))) == len(tone) // encoder.block_samples
    assert encoder.not_finite == 3


def test_the_count_goes_with_copies_and_ends_with_the_stream(tone: Samples) -> None:
    encoder = StreamEncoder(RATE_HZ)
    with pytest.warns(StreamcodecWarning):
        encoder.push(with_samples(tone, BAD))
    assert pickle.loads(pickle.dumps(encoder)).not_finite == 3
    assert isinstance(encoder.state, EncoderState)
    encoder.reset()
    assert encoder.not_finite == 0


def test_the_callers_samples_stay_as_they_are(tone: Samples) -> None:
    bad = with_samples(tone, BAD)
    bad.setflags(write=False)
    finite = FiniteSamples()
    with pytest.warns(StreamcodecWarning):
        assert np.array_equal(finite.clean(bad), with_samples(tone, MENDED))
    assert finite.clean(tone) is tone


def test_a_pool_counts_for_each_stream(tone: Samples) -> None:
    pool = StreamPool(2)
    well, ill = pool.join(), pool.join()
    block = tone[:480]
    with pytest.warns(StreamcodecWarning, match="3 sample"):
        pool.encode({well: block, ill: with_samples(block, BAD)})
    assert (pool.encoder(well).not_finite, pool.encoder(ill).not_finite) == (0, 3)


def test_lossless_calls_count_too(tone: Samples) -> None:
    encoder = FloatEncoder(StreamEncoder(RATE_HZ, tier="lossless"))
    with pytest.warns(StreamcodecWarning):
        packets = encoder.push(with_samples(tone, BAD))
    expected = FloatEncoder(StreamEncoder(RATE_HZ, tier="lossless")).push(with_samples(tone, MENDED))
    assert [packet.to_bytes() for packet in packets] == [packet.to_bytes() for packet in expected]
    assert encoder.encoder.not_finite == 3


def test_latents_of_broken_sound_are_finite(tone: Samples) -> None:
    assert np.array_equal(latents(with_samples(tone, BAD), RATE_HZ), latents(with_samples(tone, MENDED), RATE_HZ))
