"""From what the decoder network gives out to sound, with background noise for gaps.

One compiled call per frame: gains of the post-filter, noise of the network's own, expansion, tracking of the
background, concealment gains, inverse STFT, filters of the post-filter, back to the level that the sound had
before it was raised, and the steady tones that were told beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.lift import scale_along
from native_dsp.filters.noise import COSINES, SINES, add_noise, make_noise_state
from native_dsp.filters.post_filter import PostFilterParameters, PostFilterState, filter_frame, scale_spectrum
from native_dsp.filters.tones import ToneBankState, add_tones
from native_dsp.jit import kernel
from native_dsp.kernel_arguments import KernelArguments, bundle_arguments
from native_dsp.state import copy_state
from native_dsp.transforms.companding import expand
from native_dsp.transforms.stft import StftState, synthesise

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
RISE_PER_HOP = np.float32(1.04)
"""17 dB per second: a new background is found within seconds, and a syllable raises it by a few decibels."""
RISE_START = np.float32(1e-9)
SMOOTHING = np.float32(0.2)
START_POWER = 1e-6
NOT_HEARD = -1.0
BEFORE, NOW, GAP = range(3)
LEAST_OVERLAP = 0.1
"""Where overlap-add has less than this of what comes next, that is too little to tell the whole by."""


class Background(NamedTuple):
    """Spectrum of the background and the generator of all noise, of one stream.

    The background is the quietest spectrum heard lately (minimum statistics after Martin, "Noise power spectral
    density estimation based on optimal smoothing and minimum statistics", 2001, in its simplest form).

    Shape: smooth, power ``[bins]``; spectrum ``[2 * bins]``, ones, real, imaginary ``[bins]`` are scratch.
    """

    smooth: Float32Array
    power: Float32Array
    random: NDArray[np.int64]
    spectrum: Float32Array
    deviation: Float32Array
    real: Float32Array
    imaginary: Float32Array

    def copy(self) -> Background:
        """An independent copy."""
        return copy_state(self)


def make_background(bins: int) -> Background:
    """Nothing heard yet."""
    return Background(
        smooth=np.full(bins, NOT_HEARD, np.float32),
        power=np.full(bins, START_POWER, np.float32),
        random=make_noise_state(),
        spectrum=np.zeros(2 * bins, np.float32),
        deviation=np.zeros(bins, np.float32),
        real=np.zeros(bins, np.float32),
        imaginary=np.zeros(bins, np.float32),
    )


@kernel
def bridge(latents: Float32Array, following: Float32Array, frames_left: int, envelope_latents: int) -> None:
    """Move ``latents`` one frame along the line to ``following``, which lies ``frames_left`` frames behind the next.

    Those of the waveform, from ``envelope_latents`` on, keep their length on the way, which a straight line between
    two phases would cut short.

    Shape: both ``[latents]``.
    """
    share = np.float32(1.0 / (1.0 + frames_left))
    before = after = along = np.float32(0.0)
    for k in range(len(latents)):
        moved = latents[k] + share * (following[k] - latents[k])
        if k >= envelope_latents:
            before += latents[k] * latents[k]
            after += following[k] * following[k]
            along += moved * moved
        latents[k] = moved
    if along > 0.0:
        length = np.sqrt(before) + share * (np.sqrt(after) - np.sqrt(before))
        gain = np.float32(length / np.sqrt(along))
        for k in range(envelope_latents, len(latents)):
            latents[k] *= gain


def not_raised() -> Float32Array:
    """By what sound was raised before the first packet: nothing known.

    Shape: output ``[3]``, at BEFORE by what the frame before was raised, 0 if there was none; at NOW this frame; at
    GAP whether a frame is missing between them.
    """
    return np.array([0.0, 1.0, 0.0], np.float32)


@kernel
def _change_level(raised: Float32Array, background: Background) -> None:
    """Keep the background where it was, now that sound is raised by another factor."""
    before, now = raised[BEFORE], raised[NOW]
    if before == 0.0:
        raised[BEFORE] = now
    elif before != now:
        ratio = now / before
        for k in range(background.power.size):
            background.power[k] *= ratio * ratio
            if background.smooth[k] > 0.0:
                background.smooth[k] *= ratio * ratio
        if raised[GAP]:
            # Whatever raised the sound did so in what is missing.
            raised[BEFORE] = max(before, now)
    raised[GAP] = 0.0


@kernel
def _hear_background(background: Background, known: bool) -> None:
    """Track the background by one decoded hop, ``known`` to hold nothing else."""
    real, imaginary, smooth, power = background.real, background.imaginary, background.smooth, background.power
    if smooth[0] < 0.0:
        # The first hop is all that is known: a power to come down from, not to rise to for seconds.
        for k in range(len(power)):
            smooth[k] = power[k] = real[k] * real[k] + imaginary[k] * imaginary[k]
    for k in range(len(power)):
        smooth[k] += SMOOTHING * (real[k] * real[k] + imaginary[k] * imaginary[k] - smooth[k])
    if known:
        for k in range(len(power)):
            power[k] += SMOOTHING * (real[k] * real[k] + imaginary[k] * imaginary[k] - power[k])
    else:
        for k in range(len(power)):
            power[k] = min(power[k] * RISE_PER_HOP + RISE_START, smooth[k])


@kernel
def render_frame(
    decoded: Float32Array,
    background: Background,
    stft: StftState,
    parameters: PostFilterParameters,
    post_filter: PostFilterState,
    cosines: Float32Array,
    sines: Float32Array,
    gain: float,
    noise_gain: float,
    known_background: bool,
    gains_row: int,
    quality_index: int,
    raised: Float32Array,
    out: Float32Array,
) -> None:
    """Sound of one frame from the network's output, which is used up.

    A ``gain`` of 1 plays what was decoded and lets the background be tracked (``known_background`` says that it is
    all there is to hear); less fades towards the background at ``noise_gain``. ``gains_row`` is the quality index
    that the network was told, one past the last where the frame was lost, or ``ALREADY_SCALED``; ``quality_index``
    that of the last frame decoded, ``NOTHING_DECODED`` before the first. ``raised`` says by what the sound was raised
    (:func:`not_raised`), which is undone.

    Shape: raised ``[3]``, decoded ``[hops, 3 * bins]`` -> out ``[hops * hop_samples]``, which may exceed full scale.
    """
    bins = background.power.size
    hop = out.size // decoded.shape[0]
    real, imaginary, spectrum = background.real, background.imaginary, background.spectrum
    _change_level(raised, background)
    scale_spectrum(parameters, post_filter, gains_row, decoded)
    for h in range(decoded.shape[0]):
        frame = decoded[h]
        add_noise(frame[: 2 * bins], frame[2 * bins :], background.random, cosines, sines)
        expand(frame[: 2 * bins], real, imaginary)
        if gain == 1.0:
            _hear_background(background, known_background)
        else:
            for k in range(bins):
                spectrum[k] = np.float32(gain) * real[k]
                spectrum[bins + k] = np.float32(gain) * imaginary[k]
                background.deviation[k] = np.float32(noise_gain) * np.sqrt(background.power[k])
            spectrum[bins] = spectrum[2 * bins - 1] = 0.0
            add_noise(spectrum, background.deviation, background.random, cosines, sines)
            for k in range(bins):
                real[k] = spectrum[k]
                imaginary[k] = spectrum[bins + k]
        imaginary[0] = imaginary[bins - 1] = 0.0
        synthesise(stft, real, imaginary, out[h * hop : (h + 1) * hop])
    # Half of what comes next has been added up already; it says what the whole will be like.
    oldest = stft.analysis_window.size - stft.synthesis_window.size + hop
    ahead = post_filter.envelope.ahead
    for i in range(ahead.size):
        half = stft.analysis_window[oldest + i] * stft.synthesis_window[hop + i]
        ahead[i] = stft.overlap[i] / max(half, np.float32(LEAST_OVERLAP))
    filter_frame(parameters, post_filter, quality_index, out)
    # What the first samples hold came before the frame: they are the tail of the overlap.
    scale_along(out, raised[BEFORE], raised[NOW], stft.synthesis_window.size - hop, True)
    raised[BEFORE] = raised[NOW]


class Rendering(NamedTuple):
    """What :func:`render` is given once and for all: a stream's state, a model's parameters, where the network's
    output lies.

    Shape: as in :func:`render_frame`.
    """

    decoded: Float32Array
    background: Background
    stft: StftState
    parameters: PostFilterParameters
    post_filter: PostFilterState
    cosines: Float32Array
    sines: Float32Array
    raised: Float32Array
    tones: ToneBankState


def bundle_rendering(
    decoded: Float32Array,
    background: Background,
    stft: StftState,
    parameters: PostFilterParameters,
    post_filter: PostFilterState,
    raised: Float32Array,
    tones: ToneBankState,
) -> Any:
    """The first argument of :func:`render`; it goes on with these arrays."""
    return bundle_arguments(
        Rendering(decoded, background, stft, parameters, post_filter, COSINES, SINES, raised, tones)
    )


@kernel
def render(
    arguments: KernelArguments,
    gain: float,
    noise_gain: float,
    known_background: bool,
    gains_row: int,
    quality_index: int,
    told: Float64Array,
    told_share: float,
    sample_rate_hz: float,
    out: Float32Array,
) -> None:
    """:func:`render_frame` with all that stays the same in ``arguments``, which hold :class:`Rendering`, and then
    :func:`~native_dsp.filters.tones.add_tones`.

    Shape: told ``[MOST_TONES, 2]``, out ``[hops * hop_samples]``, within full scale.
    """
    decoded, background, stft, parameters, post_filter, cosines, sines, raised, tones = arguments.parts
    render_frame(
        decoded,
        background,
        stft,
        parameters,
        post_filter,
        cosines,
        sines,
        gain,
        noise_gain,
        known_background,
        gains_row,
        quality_index,
        raised,
        out,
    )
    add_tones(tones, told, told_share, sample_rate_hz, out)
