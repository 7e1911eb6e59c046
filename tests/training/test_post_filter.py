"""Training hears what listeners do: the post-filter over a batch is that of the decoder, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from native_dsp.filters.noise import COSINES, SINES, add_noise, make_noise_state
from native_dsp.filters.post_filter import NOTHING_DECODED, neutral_parameters
from streamcodec.codec.neural.model import NeuralModel, load_runtime
from streamcodec.codec.neural.post_filter import PostFilter
from streamcodec.codec.neural.synthesis import make_background, not_raised, render_frame
from streamcodec.models.codec import CodecOutput
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.models.spectrum import Spectrum
from streamcodec.training.post_filter import (
    as_played,
    output_gains,
    parameters_from_tensors,
    parameters_to_tensors,
    without_lines,
)
from streamcodec.training.task import TrainingError

Float32Array = NDArray[np.float32]
FRAMES = 50


@pytest.fixture(scope="module")
def runtime() -> NeuralModel:
    return load_runtime(DEFAULT_MODEL)


def decoded_voice(runtime: NeuralModel, speech: Float32Array) -> Float32Array:
    """What a decoder network might give out for speech: its companded spectra, roughened, and some noise."""
    config = runtime.model.config
    spectrum = Spectrum(config)
    companded = spectrum.compand(spectrum.analyse(torch.from_numpy(0.3 * speech[None, : FRAMES * 480])))[0].numpy()
    random = np.random.default_rng(0)
    rough = companded * (1.0 + 0.4 * random.standard_normal((FRAMES * 2, 1)))
    noise = np.full((FRAMES * 2, config.bins), 0.02)
    return np.concatenate([rough, noise], axis=1).astype(np.float32)


def rendered(runtime: NeuralModel, decoded: Float32Array, qualities: NDArray[np.int64]) -> Float32Array:
    """By the decoder's own kernel."""
    config = runtime.model.config
    stft, background, post_filter = runtime.new_stft(), make_background(config.bins), runtime.post_filter.new_state()
    out = np.zeros((len(qualities), config.frame_samples), np.float32)
    last, raised = NOTHING_DECODED, not_raised()
    for k, quality_index in enumerate(qualities):
        last = last if quality_index == config.qualities else int(quality_index)
        frame = decoded.reshape(len(qualities), 2, -1)[k].copy()
        parameters, row = runtime.post_filter.parameters, int(quality_index)
        render_frame(
            frame,
            background,
            stft,
            parameters,
            post_filter,
            COSINES,
            SINES,
            1.0,
            0.0,
            False,
            row,
            last,
            raised,
            out[k],
        )
    return out.reshape(-1)


def with_drawn_noise(decoded: Float32Array, bins: int) -> Float32Array:
    """The noise that the decoder's generator draws from its start."""
    state, out = make_noise_state(), decoded[:, : 2 * bins].copy()
    for hop, frame in enumerate(out):
        add_noise(frame, np.ascontiguousarray(decoded[hop, 2 * bins :]), state, COSINES, SINES)
    return out


def trained_pass(runtime: NeuralModel, decoded: Float32Array, qualities: NDArray[np.int64]) -> CodecOutput:
    """As the torch codec makes it, with the same noise."""
    config = runtime.model.config
    spectrum = Spectrum(config)
    scaled = decoded * output_gains(runtime.post_filter.parameters).numpy()[qualities].repeat(2, axis=0)
    drawn = torch.from_numpy(with_drawn_noise(scaled, config.bins))[None]
    samples, tails = spectrum.overlap_add(spectrum.expand(drawn))
    samples.requires_grad_()
    nothing = torch.zeros(())
    tails = tails[:, 1::2]
    return CodecOutput(samples, samples, nothing, nothing, torch.from_numpy(scaled)[None], tails, tails)


@pytest.mark.parametrize("quality_index", [1, 5, 12])
def test_a_batch_is_filtered_as_the_decoder_filters(
    runtime: NeuralModel, speech: Float32Array, quality_index: int
) -> None:
    decoded = decoded_voice(runtime, speech)
    qualities = np.full(FRAMES, quality_index)
    qualities[20:22] = runtime.model.config.qualities
    out = trained_pass(runtime, decoded, qualities)
    lost = torch.from_numpy(qualities == runtime.model.config.qualities)[None]
    told = torch.from_numpy(np.full((1, FRAMES), quality_index))
    first, second = as_played(runtime.post_filter, out, told, lost)
    expected = rendered(runtime, decoded, qualities)
    assert np.abs(expected).max() < 1.0
    np.testing.assert_allclose(first.detach()[0].numpy(), expected, atol=2e-3 * np.abs(expected).max())
    assert torch.equal(first, second)
    # And something was filtered: by the pitch filter, and by the envelope filter.
    plain = out.samples.detach()[0].numpy()
    assert np.square(expected - plain).mean() > 1e-4 * np.square(plain).mean()
    parameters = runtime.post_filter.parameters
    without = PostFilter(
        runtime.model.config,
        parameters._replace(envelope=neutral_parameters(1, parameters.band_gains.shape[1]).envelope),
    )
    other = as_played(without, out, told, lost)[0].detach()[0].numpy()
    assert np.square(other - first.detach()[0].numpy()).mean() > 1e-4 * np.square(plain).mean()


def test_gradients_pass_as_if_nothing_were_filtered(runtime: NeuralModel, speech: Float32Array) -> None:
    qualities = np.full(FRAMES, 2)
    out = trained_pass(runtime, decoded_voice(runtime, speech), qualities)
    heard, _ = as_played(
        runtime.post_filter, out, torch.from_numpy(qualities)[None], torch.zeros(1, FRAMES, dtype=bool)
    )
    pull = torch.randn_like(heard)
    (gradient,) = torch.autograd.grad((heard * pull).sum(), out.samples)
    assert torch.equal(gradient, pull)


def test_parameters_that_change_nothing_change_nothing(runtime: NeuralModel, speech: Float32Array) -> None:
    config = runtime.model.config
    qualities = np.full(FRAMES, 2)
    out = trained_pass(runtime, decoded_voice(runtime, speech), qualities)
    neutral = PostFilter(config, neutral_parameters(config.qualities, config.bins))
    heard, _ = as_played(neutral, out, torch.from_numpy(qualities)[None], torch.zeros(1, FRAMES, dtype=bool))
    assert torch.equal(heard, out.samples)


def test_parameters_survive_a_checkpoint(runtime: NeuralModel) -> None:
    parameters = runtime.post_filter.parameters
    back = parameters_from_tensors(parameters_to_tensors(parameters))
    for mine, theirs in zip((*back[:3], *back.envelope), (*parameters[:3], *parameters.envelope), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
    for damaged in (None, {}, {"band_gains": torch.zeros(1)}):
        with pytest.raises(TrainingError, match="post-filter is damaged"):
            parameters_from_tensors(damaged)


def test_what_is_predicted_near_a_line_gives_way_to_noise(runtime: NeuralModel) -> None:
    config = runtime.model.config
    neutral = neutral_parameters(config.qualities, config.bins)
    found = without_lines(config, neutral, (8_000.0, 3_000.0))
    bins_hz = np.arange(config.bins) * config.sample_rate_hz / config.fft_samples
    near = (np.abs(bins_hz - 8_000.0) < 90.0) | (np.abs(bins_hz - 3_000.0) < 90.0)
    far = (np.abs(bins_hz - 8_000.0) > 110.0) & (np.abs(bins_hz - 3_000.0) > 110.0)
    assert near.any()
    assert (found.band_gains[:, near] < 0.7).all()
    assert (found.noise_gains[:, near] > 1.1).all()
    np.testing.assert_array_equal(found.band_gains[:, far], neutral.band_gains[:, far])
    np.testing.assert_array_equal(found.noise_gains[:, far], neutral.noise_gains[:, far])
