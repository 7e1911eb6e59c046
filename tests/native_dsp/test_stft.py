"""Streaming STFT: parity with torch and scipy, exact round trip, explicit state."""

from __future__ import annotations

import itertools

import numba
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from native_dsp.transforms.stft import (
    StftState,
    analyse,
    analyse_frames,
    make_stft,
    synthesise,
    synthesise_frames,
)
from native_dsp.transforms.windows import dual_window, hann_periodic, low_delay_pair

FFT, HOP, OVERLAP = 512, 240, 120


def codec_stft() -> StftState:
    """The framing of the neural tier."""
    return make_stft(FFT, HOP, *low_delay_pair(FFT, HOP, OVERLAP), HOP + OVERLAP)


def hann_stft(fft: int, hop: int) -> StftState:
    """The ordinary STFT of textbooks."""
    window = hann_periodic(fft)
    return make_stft(fft, hop, window, dual_window(window, hop), fft)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def test_analysis_and_synthesis_equal_the_torch_forms() -> None:
    torch = pytest.importorskip("torch")
    from streamcodec.models.config import NeuralConfig
    from streamcodec.models.spectrum import Spectrum

    config = NeuralConfig()
    torch_form = Spectrum(config)
    state = make_stft(
        config.fft_samples,
        config.hop_samples,
        *low_delay_pair(config.fft_samples, config.hop_samples, config.overlap_samples),
        config.hop_samples + config.overlap_samples,
    )
    samples = noise(40 * config.hop_samples)
    re, im = analyse_frames(state, samples)
    spectra = torch_form.analyse(torch.from_numpy(samples)[None])
    # measured: 1e-6 at bins of magnitude 10
    np.testing.assert_allclose(re + 1j * im, spectra[0].numpy(), atol=5e-6)

    rotated = spectra * torch.polar(torch.linspace(0.5, 1.5, config.bins), torch.linspace(0.0, 3.0, config.bins))
    expected = torch_form.synthesise(rotated)[0].numpy()
    re, im = rotated[0].real.numpy().copy(), rotated[0].imag.numpy().copy()
    np.testing.assert_allclose(synthesise_frames(state, re, im), expected, atol=2e-6)


@pytest.mark.parametrize("fft", [512, 1024, 2048])
def test_hann_analysis_and_synthesis_equal_scipy(fft: int) -> None:
    hop = fft // 4
    samples = noise(hop * 24)
    state = hann_stft(fft, hop)
    re, im = analyse_frames(state, samples)
    # Frame i of ours ends at sample (i + 1) * hop; scipy's frame p is centred on p * hop.
    transform = scipy.signal.ShortTimeFFT(hann_periodic(fft).astype(np.float64), hop, fs=1.0, phase_shift=None)
    first = 1 - fft // (2 * hop)
    expected = transform.stft(samples.astype(np.float64), p0=first, p1=first + len(re)).T
    np.testing.assert_allclose(re + 1j * im, expected, atol=1e-6 * np.abs(expected).max())

    out = synthesise_frames(state, re, im)
    restored = transform.istft(transform.stft(samples.astype(np.float64)), k1=len(samples))
    delay = fft - hop
    assert state.delay_samples == delay
    np.testing.assert_allclose(out[delay:], restored[:-delay], atol=2e-6)


@pytest.mark.parametrize(
    "state",
    [codec_stft(), hann_stft(512, 128), hann_stft(1024, 512), hann_stft(64, 16)],
    ids=["codec", "hann-512", "hann-1024-half", "hann-64"],
)
def test_round_trip_is_exact_after_the_declared_delay(state: StftState) -> None:
    samples = noise(30 * state.hop_samples)
    out = synthesise_frames(state, *analyse_frames(state, samples))
    delay = state.delay_samples
    np.testing.assert_allclose(out[delay:], samples[: len(samples) - delay], atol=2e-6)
    np.testing.assert_allclose(out[:delay], 0, atol=2e-6)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 20), max_size=4))
def test_any_partition_into_calls_gives_the_same_bits(cuts: list[int]) -> None:
    samples = noise(20 * HOP)
    whole_re, whole_im = analyse_frames(codec_stft(), samples)
    whole = synthesise_frames(codec_stft(), whole_re, whole_im)
    analysis, synthesis = codec_stft(), codec_stft()
    edges = [0, *sorted(cuts), 20]
    parts = []
    for begin, end in itertools.pairwise(edges):
        re, im = analyse_frames(analysis, samples[begin * HOP : end * HOP])
        np.testing.assert_array_equal(re, whole_re[begin:end])
        parts.append(synthesise_frames(synthesis, re, im))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_hop_by_hop_equals_the_batch_form() -> None:
    samples = noise(12 * HOP)
    expected_re, expected_im = analyse_frames(codec_stft(), samples)
    expected = synthesise_frames(codec_stft(), expected_re, expected_im)
    state = codec_stft()
    re, im, out = (np.empty(n, np.float32) for n in (state.bins, state.bins, HOP))
    for i in range(12):
        analyse(state, samples[i * HOP : (i + 1) * HOP], re, im)
        np.testing.assert_array_equal(re, expected_re[i])
        np.testing.assert_array_equal(im, expected_im[i])
        synthesise(state, re, im, out)
        np.testing.assert_array_equal(out, expected[i * HOP : (i + 1) * HOP])


def test_kernels_can_be_called_from_compiled_code() -> None:
    @numba.njit
    def through(state: StftState, samples: np.ndarray, re: np.ndarray, im: np.ndarray, out: np.ndarray) -> None:
        for begin in range(0, len(samples), state.hop_samples):
            analyse(state, samples[begin : begin + state.hop_samples], re, im)
            synthesise(state, re, im, out[begin : begin + state.hop_samples])

    samples = noise(5 * HOP)
    state = codec_stft()
    re, im, out = (np.empty(n, np.float32) for n in (state.bins, state.bins, len(samples)))
    through(state, samples, re, im, out)
    np.testing.assert_allclose(out[OVERLAP:], samples[:-OVERLAP], atol=2e-6)


def test_a_copy_goes_on_alone_and_reset_forgets() -> None:
    state = codec_stft()
    samples, other = noise(4 * HOP), noise(4 * HOP, seed=1)
    synthesise_frames(state, *analyse_frames(state, samples))
    saved = state.copy()
    expected = synthesise_frames(state, *analyse_frames(state, other))
    np.testing.assert_array_equal(synthesise_frames(saved, *analyse_frames(saved, other)), expected)
    assert np.abs(expected).max() > 0

    state.reset()
    fresh = codec_stft()
    np.testing.assert_array_equal(analyse_frames(state, other)[0], analyse_frames(fresh, other)[0])


def test_the_future_never_changes_the_past() -> None:
    samples = noise(10 * HOP)
    changed = samples.copy()
    changed[6 * HOP :] += 1.0
    first, second = codec_stft(), codec_stft()
    re, im = analyse_frames(first, samples)
    changed_re, changed_im = analyse_frames(second, changed)
    np.testing.assert_array_equal(re[:6], changed_re[:6])
    assert not np.array_equal(re[6], changed_re[6])
    out, changed_out = synthesise_frames(first, re, im), synthesise_frames(second, changed_re, changed_im)
    np.testing.assert_array_equal(out[: 6 * HOP], changed_out[: 6 * HOP])


def test_denormal_input_is_silence() -> None:
    state = codec_stft()
    re, im = analyse_frames(state, np.full(4 * HOP, 1e-40, np.float32))
    assert not re.any()
    assert not im.any()
    assert not state.analysis_memory.any()


@pytest.mark.parametrize(
    ("fft", "hop", "support", "window_samples", "message"),
    [
        (512, 240, 200, 512, "hop_samples"),
        (512, 0, 512, 512, "hop_samples"),
        (512, 240, 513, 512, "hop_samples"),
        (512, 240, 360, 480, "window must have shape"),
        (480, 240, 360, 480, "power of two"),
    ],
)
def test_impossible_framings_are_refused(fft: int, hop: int, support: int, window_samples: int, message: str) -> None:
    window = np.ones(window_samples, np.float32)
    with pytest.raises(ValueError, match=message):
        make_stft(fft, hop, window, window, support)


def test_wrong_lengths_are_refused_and_nothing_is_written() -> None:
    state = codec_stft()
    re, im = np.zeros(257, np.float32), np.zeros(257, np.float32)
    with pytest.raises(ValueError, match="hop"):
        analyse(state, np.ones(239, np.float32), re, im)
    with pytest.raises(ValueError, match="bins"):
        analyse(state, np.ones(240, np.float32), re[:256], im[:256])
    with pytest.raises(ValueError, match="bins"):
        synthesise(state, re, im[:256], np.zeros(240, np.float32))
    with pytest.raises(ValueError, match="whole number of hops"):
        analyse_frames(state, np.ones(241, np.float32))
    with pytest.raises(ValueError, match="same shape"):
        synthesise_frames(state, np.zeros((2, 257), np.float32), np.zeros((3, 257), np.float32))
    assert not state.analysis_memory.any()
