"""Latents as arrays: what the encoder codes, however sound comes in, and a version that follows the weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import streamcodec
from streamcodec.codec import latents as latents_module
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.entropy import STEP_BITS
from streamcodec.codec.neural.model import load_runtime
from streamcodec.models.shipped import DEFAULT_MODEL, load_model


def test_latents_are_what_packets_carry_before_they_are_rounded(speech: np.ndarray) -> None:
    found = streamcodec.latents(speech[:24_000], 24_000)
    assert found.shape == (50, 96)
    assert found.dtype == np.float32
    runtime = load_runtime(DEFAULT_MODEL)
    encoder = streamcodec.StreamEncoder(24_000, 20_000, packet_ms=20)
    decoder = NeuralDecoder(runtime)
    for k, packet in enumerate(encoder.push(speech[:24_000])):
        carried = decoder.latents_of(packet)
        steps = runtime.tables.step[packet.quality_index] / 2.0**STEP_BITS
        assert (np.abs(carried - found[k]) <= 0.5 * steps + 1e-3).all()


def test_latents_do_not_depend_on_what_comes_after_or_how_sound_is_given(speech: np.ndarray) -> None:
    whole = streamcodec.latents(speech[:19_200], 24_000)
    np.testing.assert_array_equal(streamcodec.latents(speech[:9_600], 24_000), whole[:20])
    stereo = np.stack([speech[:9_600]] * 2, axis=1)
    np.testing.assert_allclose(streamcodec.latents(stereo, 24_000), whole[:20], atol=1e-3)
    integers = np.rint(speech[:9_600] * 32_768).clip(-32_768, 32_767).astype(np.int16)
    assert np.corrcoef(streamcodec.latents(integers, 24_000).ravel(), whole[:20].ravel())[0, 1] > 0.999


@pytest.mark.parametrize(
    ("samples", "rate_hz", "frames"), [(0, 24_000, 0), (1, 24_000, 1), (481, 24_000, 2), (8_000, 8_000, 51)]
)
def test_every_sample_is_in_a_frame(samples: int, rate_hz: int, frames: int) -> None:
    found = streamcodec.latents(np.zeros(samples, np.float32), rate_hz)
    assert found.shape == (frames, 96)
    assert np.isfinite(found).all()


def test_wrong_sound_is_told() -> None:
    with pytest.raises(streamcodec.AudioFormatError, match="resample"):
        streamcodec.latents(np.zeros(100), 11_025)
    with pytest.raises(streamcodec.AudioFormatError, match="array"):
        streamcodec.latents("talk.wav", 24_000)
    with pytest.raises(streamcodec.ModelError):
        streamcodec.latents(np.zeros(100), 24_000, model="no-such-model")


def test_the_version_follows_the_encoder_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    version = streamcodec.latents_version()
    assert version.startswith(f"{DEFAULT_MODEL}:")
    assert version == streamcodec.latents_version(DEFAULT_MODEL)
    shipped = load_model(DEFAULT_MODEL)
    weights = shipped.load_weights()
    names = {"encoder": "encoder.leave.bias", "decoder": next(name for name in weights if name.startswith("decoder"))}

    def changed(part: str) -> str:
        altered = {**weights, names[part]: np.asarray(latents_module.floats_of(weights[names[part]])) + 0.01}
        other = dataclasses.replace(shipped)
        monkeypatch.setattr(type(other), "load_weights", lambda self: altered)
        monkeypatch.setattr(latents_module, "load_model", lambda name: other)
        latents_module.latents_version.cache_clear()
        return streamcodec.latents_version()

    try:
        assert changed("encoder") != version
        assert changed("decoder") == version
    finally:
        latents_module.latents_version.cache_clear()
