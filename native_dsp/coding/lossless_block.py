"""One block of exact samples through prediction and residual coder, in either direction.

Per sample and channel: least squares over the last 32 samples (with two channels also the other's), then three
normalised LMS filters, long to short, each predicting what the ones before it left over; the sum is the prediction.
The cascade follows Monkey's Audio and MPEG-4 ALS (RLS-LMS mode) in idea. All arithmetic is integer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.range_coder import decoder_init, encoder_finish, encoder_init
from native_dsp.coding.residual_coder import DISTANCE_BITS, ResidualCoder, code_residual, make_residual_coder
from native_dsp.filters.backward_prediction import (
    INTERVAL,
    TAPS,
    BackwardState,
    backward_predict,
    backward_refresh,
    make_backward,
)
from native_dsp.filters.nlms import NlmsState, make_nlms, nlms_predict, nlms_update
from native_dsp.jit import inlined, kernel

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
ByteArray = NDArray[np.uint8]

LONG_TAPS = 256
MIDDLE_TAPS = 32
SHORT_TAPS = 16
# The normal equations are solved every interval at first, every other one later.
EAGER_SAMPLES = 2048
# Of 1024.
LONG_STEP = 10
MIDDLE_STEP = 20
SHORT_STEP = 20


class LosslessState(NamedTuple):
    """Everything that both ends must share before a block; ``clock [1]`` int64 counts samples."""

    backward: BackwardState
    long: NlmsState
    middle: NlmsState
    short: NlmsState
    residuals: ResidualCoder
    clock: Int64Array

    @property
    def channels(self) -> int:
        """Channels coded together."""
        return len(self.backward.history)


def make_lossless_state(channels: int) -> LosslessState:
    """State at a key block; one or two channels."""
    return LosslessState(
        backward=make_backward(channels),
        long=make_nlms(channels, LONG_TAPS),
        middle=make_nlms(channels, MIDDLE_TAPS),
        short=make_nlms(channels, SHORT_TAPS),
        residuals=make_residual_coder(channels),
        clock=np.zeros(1, np.int64),
    )


@inlined
def _code_samples(
    coder: Int64Array, buffer: ByteArray, state: LosslessState, samples: Int32Array, bits: int, decoding: bool
) -> None:
    highest = (1 << (bits - 1)) - 1
    lowest = -highest - 1
    fraction_bits = min(max(20 - bits, 0), 4)
    widest = 1 << (bits + fraction_bits)
    channels = samples.shape[1]
    backward, clocks = state.backward, state.clock
    mixer, signs, registers = state.residuals.mixer, state.residuals.signs, state.residuals.registers
    long_state, middle_state, short_state = state.long, state.middle, state.short
    first_error = np.int64(0)
    for n in range(samples.shape[0]):
        clock = clocks[0]
        phase = clock & (INTERVAL - 1)
        for channel in range(channels):
            base = backward_predict(backward, channel, phase, fraction_bits)
            base = min(max(base, -widest), widest)
            long = nlms_predict(long_state, channel, LONG_TAPS)
            middle = nlms_predict(middle_state, channel, MIDDLE_TAPS)
            short = nlms_predict(short_state, channel, SHORT_TAPS)
            correction = long + middle + short
            prediction = min(max(base + correction, lowest << fraction_bits), highest << fraction_bits)
            outer = first_error if channel == 1 else abs(correction)
            sample = code_residual(
                coder,
                buffer,
                mixer,
                signs,
                registers,
                channel,
                prediction,
                outer << (DISTANCE_BITS - fraction_bits),
                fraction_bits,
                np.int64(samples[n, channel]),
                decoding,
            )
            if decoding:
                sample = min(max(sample, lowest), highest)
                samples[n, channel] = sample
            first_error = abs((sample << fraction_bits) - prediction)

            backward.history[channel, TAPS + phase] = sample
            left = min(max((sample << fraction_bits) - base, -widest), widest)
            after = min(max(left - long, -widest), widest)
            nlms_update(long_state, channel, LONG_TAPS, LONG_STEP, after, left)
            left = after
            after = min(max(left - middle, -widest), widest)
            nlms_update(middle_state, channel, MIDDLE_TAPS, MIDDLE_STEP, after, left)
            left = after
            after = min(max(left - short, -widest), widest)
            nlms_update(short_state, channel, SHORT_TAPS, SHORT_STEP, after, left)
        clock += 1
        clocks[0] = clock
        if clock & (INTERVAL - 1) == 0:
            backward_refresh(backward, clock < EAGER_SAMPLES or clock & INTERVAL == 0)


@kernel
def encode_samples(coder: Int64Array, buffer: ByteArray, state: LosslessState, samples: Int32Array, bits: int) -> int:
    """Code a block into ``buffer``; returns its length in bytes, or -1 where the buffer is too short.

    Whatever it returns, the state has moved past the block, as the decoder's will have.

    Shape: ``samples [n, channels]``, signed, ``bits`` wide (8 to 24).
    """
    encoder_init(coder)
    _code_samples(coder, buffer, state, samples, bits, False)
    return encoder_finish(coder, buffer)


@kernel
def decode_samples(
    coder: Int64Array, buffer: ByteArray, state: LosslessState, samples: Int32Array, bits: int
) -> None:
    """Decode a block of the length of ``samples`` into it; any bytes give samples of the right width.

    Shape: ``buffer [bytes]``; ``samples [n, channels]``, ``bits`` wide (8 to 24), are written.
    """
    decoder_init(coder, buffer, len(buffer))
    _code_samples(coder, buffer, state, samples, bits, True)
