"""Exponential, logarithm and activations of float32 in plain arithmetic, so that loops over them are vectorised.

Calls of a mathematics library go number by number, some 5 ns each. Relative errors are below 3e-7.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from native_dsp.jit import kernel

_ONE, _TWO = np.float32(1), np.float32(2)
_LOG2_E = np.float32(1.4426950408889634)
# ln 2 in two parts, of which the first has few bits, so that multiples of it are exact.
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LEAST, _MOST = np.float32(-87.0), np.float32(88.0)
_ROOT_OF_HALF = np.int32(0x3F3504F3)
WHOLE_NUMBERS = np.float32(1.5 * 2**23)
"""What has this added to it has no bits left behind the point: add and subtract it to round."""
_POWERS = tuple(np.float32(1.0 / factorial) for factorial in (1, 2, 6, 24, 120, 720))
_GELU_LINEAR = np.float32(2.0 * np.sqrt(2.0 / np.pi))
_GELU_CUBIC = np.float32(0.044715 * 2.0 * np.sqrt(2.0 / np.pi))


@kernel
def number_of_bits(bits: np.int32) -> np.float32:
    """The float32 that has these bits."""
    number: np.float32 = np.int32(bits).view(np.float32)
    return number


@kernel
def exponential(x: Any) -> Any:
    """e to the power of x, which is taken for no less than -87 and no more than 88."""
    x = min(max(x, _LEAST), _MOST)
    octaves = x * _LOG2_E + WHOLE_NUMBERS - WHOLE_NUMBERS
    rest = x - octaves * _LN2_HIGH - octaves * _LN2_LOW
    p1, p2, p3, p4, p5, p6 = _POWERS
    series = _ONE + rest * (p1 + rest * (p2 + rest * (p3 + rest * (p4 + rest * (p5 + rest * p6)))))
    return np.float32(series * number_of_bits(np.int32((np.int32(octaves) + np.int32(127)) << np.int32(23))))


@kernel
def logarithm(x: Any) -> Any:
    """The natural logarithm of a positive, normal number."""
    bits = np.float32(x).view(np.int32)
    octaves = np.int32(np.int32(bits - _ROOT_OF_HALF) >> np.int32(23))
    mantissa = number_of_bits(np.int32(bits - np.int32(octaves << np.int32(23))))
    # The series of twice an inverse hyperbolic tangent, of at most 0.172.
    z = (mantissa - _ONE) / (mantissa + _ONE)
    z2 = z * z
    series = z2 * (np.float32(1 / 3) + z2 * (np.float32(1 / 5) + z2 * (np.float32(1 / 7) + z2 * np.float32(1 / 9))))
    whole = np.float32(octaves)
    return np.float32(whole * _LN2_HIGH + (whole * _LN2_LOW + _TWO * z * (_ONE + series)))


@kernel
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return np.float32(_ONE / (_ONE + exponential(-x)))


@kernel
def gelu(x: Any) -> Any:
    """The Gaussian error linear unit with a tanh in it: x (1 + tanh(u)) / 2 is x sigmoid(2 u)."""
    return np.float32(x * sigmoid(x * (_GELU_LINEAR + _GELU_CUBIC * (x * x))))


@kernel
def softplus(x: Any) -> Any:
    """ln(1 + e^x)."""
    y = exponential(-abs(x))
    # ln(1 + y) as the series of twice an inverse hyperbolic tangent of at most 1/3.
    z = y / (_TWO + y)
    z2 = z * z
    series = np.float32(1 / 9) + z2 * (np.float32(1 / 11) + z2 * (np.float32(1 / 13) + z2 * np.float32(1 / 15)))
    series = np.float32(1 / 3) + z2 * (np.float32(1 / 5) + z2 * (np.float32(1 / 7) + z2 * series))
    return np.float32(max(x, np.float32(0)) + _TWO * z * (_ONE + z2 * series))
