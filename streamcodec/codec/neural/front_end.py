"""What a frame goes through before the encoder network, in one compiled call.

Steady tones taken out, low cut, how voiced and how loud it is, the lift of quiet sound, companded spectra, and
whether they are of tones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.lift import LiftState, raise_frame
from native_dsp.filters.low_cut import LowCutState, cut_lows
from native_dsp.filters.tonality import tonal
from native_dsp.filters.tones import ToneFinderState, take_tones
from native_dsp.filters.voicing import VoicingState, voicing
from native_dsp.jit import kernel
from native_dsp.kernel_arguments import KernelArguments, bundle_arguments
from native_dsp.transforms.companding import analyse_companded
from native_dsp.transforms.stft import StftState
from streamcodec.codec.neural.activity import mean_square_dbfs

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


class FrontEnd(NamedTuple):
    """State of one stream, scratch, and where the result goes.

    Shape: real, imaginary ``[bins]``, scratch; companded ``[hops, 2 * bins]``; raised ``[frame_samples]``.
    """

    low_cut: LowCutState
    voicing: VoicingState
    lift: LiftState
    stft: StftState
    real: Float32Array
    imaginary: Float32Array
    companded: Float32Array
    raised: Float32Array
    tones: ToneFinderState


def bundle_front_end(front_end: FrontEnd) -> Any:
    """The first argument of :func:`take_frame`; it goes on with these arrays."""
    return bundle_arguments(front_end)


@kernel
def prepare_frame(
    low_cut: LowCutState,
    pitch: VoicingState,
    lift: LiftState,
    stft: StftState,
    real: Float32Array,
    imaginary: Float32Array,
    companded: Float32Array,
    raised: Float32Array,
    frame: Float32Array,
    frame_s: float,
    raises: bool,
    may_change: bool,
) -> tuple[float, float, int, bool]:
    """See :func:`take_frame`, whose arguments these are one by one; ``raised`` may be the frame itself.

    Shape: as :class:`FrontEnd`; frame ``[frame_samples]``.
    """
    cut_lows(low_cut, frame)
    correlation = voicing(pitch, frame)
    power = 0.0
    for i in range(len(frame)):
        raised[i] = frame[i]
        power += np.float64(frame[i]) * np.float64(frame[i])
    mean_square = power / len(frame)
    shift = 0
    if raises:
        dbfs = mean_square_dbfs(mean_square)
        shift = raise_frame(lift, dbfs, correlation, frame_s, may_change, raised)
    analyse_companded(stft, raised, real, imaginary, companded)
    return mean_square, correlation, shift, tonal(companded, len(frame) / frame_s)


@kernel
def take_frame(
    arguments: KernelArguments,
    frame: Float32Array,
    frame_s: float,
    raises: bool,
    may_change: bool,
    most_tones: int,
    told: Float64Array,
) -> tuple[float, float, int, bool, int]:
    """Companded spectra of a frame, from which steady tones and the low cut take away in place.

    ``raises`` says whether quiet sound is raised, ``may_change`` whether a packet begins, ``most_tones`` how many
    tones may be told beside the latents, -1 for none to be looked for. Returns the frame's mean square, its pitch
    correlation, the shift by which it was raised (``native_dsp.filters.lift``), whether what is left is of steady
    tones (``native_dsp.filters.tonality``), and how many were taken out (``native_dsp.filters.tones``).

    ``arguments`` holds :class:`FrontEnd`.

    Shape: frame ``[frame_samples]``, told ``[MOST_TONES, 2]``, written unless ``most_tones`` is -1.
    """
    low_cut, pitch, lift, stft, real, imaginary, companded, raised, tones = arguments.parts
    taken = 0
    if most_tones >= 0:
        taken = take_tones(tones, frame, len(frame) / frame_s, most_tones, told)
    mean_square, correlation, shift, is_tonal = prepare_frame(
        low_cut, pitch, lift, stft, real, imaginary, companded, raised, frame, frame_s, raises, may_change
    )
    return mean_square, correlation, shift, is_tonal, taken
