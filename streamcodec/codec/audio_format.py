"""What sound goes in and out: rates, types, shapes."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.mixdown import MixdownState, mix_down
from native_dsp.jit import kernel
from streamcodec.errors import AudioFormatError, StreamcodecWarning

Float32Array = NDArray[np.float32]

# To be compared with: types would be made into these every time.
_INT16, _FLOAT32, _FLOAT64 = np.dtype(np.int16), np.dtype(np.float32), np.dtype(np.float64)

MAX_CHANNELS = 64
MAX_CHANNELS_OF_ONE_SAMPLE = 8
"""A row of more is a short piece of channels-first sound."""
SAMPLE_LIMIT = 8.0
"""Louder samples than this (full scale is 1) are clipped: they are faults, and squares of them must stay finite."""


def as_array(samples: object) -> NDArray[Any]:
    """Samples as a plain array, whatever holds them (tensors on their way to a gradient included).

    Errors: AudioFormatError for what is no array of numbers.
    """
    if isinstance(samples, np.ndarray):
        array = np.asarray(samples)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    detach = getattr(samples, "detach", None)
    try:
        array = np.asarray(samples if detach is None else _of_tensor(detach().cpu()))
    except (TypeError, ValueError, RuntimeError) as error:
        raise AudioFormatError(
            f"samples must be an array, [n] or [n, channels], of float32, float64 or integers, got "
            f"{_described(samples)}"
        ) from error
    if array.dtype.kind not in "iufb":
        raise AudioFormatError(
            f"samples must be an array, [n] or [n, channels], of float32, float64 or integers, got "
            f"{_described(samples)}"
        )
    return array


def _of_tensor(tensor: Any) -> Any:
    """A tensor of a type that numpy knows: bfloat16 and others become float32."""
    try:
        return tensor.numpy()
    except TypeError:
        return tensor.float().numpy()


def _described(samples: object) -> str:
    if samples is None:
        return "None: a pause is pushed as zeros, and flush() ends a stream"
    kind = f"a {type(samples).__name__}"
    return f"{kind} of {samples.dtype}" if hasattr(samples, "dtype") else kind


def check_sound(samples: object) -> NDArray[Any]:
    """Accepted sound as an array, as it is: see :func:`as_mono`; anything else raises AudioFormatError."""
    array = as_array(samples)
    if array.dtype not in (_INT16, _FLOAT32, _FLOAT64):
        raise AudioFormatError(
            f"samples must be float32, float64 (full scale 1.0) or int16, got {array.dtype}; convert them first"
        )
    if array.ndim not in (1, 2):
        raise AudioFormatError(f"samples must be [n] or [n, channels], got shape {array.shape}")
    if array.ndim == 2:
        if not 1 <= array.shape[1] <= MAX_CHANNELS:
            raise AudioFormatError(
                f"samples must be [n] or [n, channels] with 1 to {MAX_CHANNELS} channels, got shape "
                f"{array.shape}; transpose channels-first sound"
            )
        if array.shape[0] == 1 and array.shape[1] > MAX_CHANNELS_OF_ONE_SAMPLE:
            raise AudioFormatError(
                f"shape {array.shape} would be one sample of {array.shape[1]} channels: sound goes in as [n] or "
                "[n, channels]; transpose channels-first sound"
            )
    return array


def as_floats(samples: object) -> Float32Array:
    """Accepted sound (see :func:`as_mono`) in float32; anything else raises AudioFormatError.

    Shape: kept, a new array.
    """
    array = check_sound(samples)
    if array.dtype == _INT16:
        return np.asarray(np.divide(array, np.float32(32768.0), dtype=np.float32, order="C"))
    # What is beyond float32 becomes infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32, order="C")


def as_mono(samples: object, mixdown: MixdownState | None = None) -> Float32Array:
    """Any accepted sound as clean mono float32: channels averaged, NaN to 0, infinities and faults clipped.

    With the ``mixdown`` of a stream, two channels that are opposite to each other do not cancel.

    Accepts float32 or float64 (full scale 1.0) and int16, shape ``[n]`` or ``[n, channels]``; anything else
    raises AudioFormatError.

    Shape: output ``[n]``, a new array.
    """
    sound = as_floats(samples)
    clean(sound.reshape(-1))
    if sound.ndim == 1:
        mono: Float32Array = sound
        return mono
    if mixdown is not None and sound.shape[1] == 2:
        mixed = np.empty(len(sound), np.float32)
        mix_down(mixdown, sound, mixed)
        return mixed
    return np.asarray(sound.mean(axis=1, dtype=np.float32))


@kernel
def clean(sound: Float32Array) -> int:
    """Make samples fit to code, in place: NaN to 0, infinities and what is louder to ``SAMPLE_LIMIT``.

    Returns how many were no finite numbers.

    Shape: ``[n]``, full scale 1, contiguous.
    """
    limit = np.float32(SAMPLE_LIMIT)
    not_finite = 0
    for i in range(len(sound)):
        x = sound[i]
        not_finite += not np.isfinite(x)
        sound[i] = np.float32(0.0) if np.isnan(x) else min(max(x, -limit), limit)
    return not_finite


def _are_finite(samples: NDArray[Any]) -> bool:
    if samples.dtype == _FLOAT32 and samples.flags.c_contiguous:
        return bool(all_finite(samples.reshape(-1)))
    return bool(np.isfinite(samples).all())


@kernel
def all_finite(sound: Float32Array) -> bool:
    """Whether no sample is NaN or infinite.

    Shape: ``[n]``, contiguous.
    """
    not_finite = 0
    for i in range(len(sound)):
        not_finite += not np.isfinite(sound[i])
    return not_finite == 0


def warn_of_not_finite(name: str, count: int) -> None:
    """Tell (StreamcodecWarning) of samples that were no finite numbers."""
    if count:
        warnings.warn(
            f"{name} holds {count} sample(s) that are no finite numbers: NaN was coded as silence, infinity as the "
            "loudest sample; mend what made them",
            StreamcodecWarning,
            stacklevel=3,
        )


class FiniteSamples:
    """Sound of one stream made finite as it comes. Samples that were not are counted, and the first ones told of.

    Telling (StreamcodecWarning) never stops a live stream: where warnings are errors, the count alone says it.
    """

    def __init__(self, name: str = "the sound pushed", *, live: bool = True) -> None:
        self._name, self._live = name, live
        self.count = 0
        """Samples so far that were NaN or infinite."""

    def clean(self, samples: NDArray[Any]) -> NDArray[Any]:
        """The samples themselves if all are finite (or integers), else a copy as :func:`clean` leaves it, in float32.

        Shape: any, kept.
        """
        samples = as_array(samples)
        if samples.dtype not in (_FLOAT32, _FLOAT64) or _are_finite(samples):
            return samples
        with np.errstate(over="ignore", invalid="ignore"):
            cleaned = samples.astype(np.float32, order="C")
        found = clean(cleaned.reshape(-1))
        first, self.count = self.count == 0, self.count + found
        if first:
            with contextlib.suppress(StreamcodecWarning) if self._live else contextlib.nullcontext():
                warn_of_not_finite(self._name, found)
        return cleaned


def to_int16(samples: NDArray[Any], bits_per_sample: int) -> NDArray[np.int16]:
    """16-bit samples of floats of full scale 1, or of integers of so many bits, of which the lowest are cut off.

    Shape: kept.
    """
    if samples.dtype.kind == "i":
        return np.asarray((samples.astype(np.int64) << 16) >> bits_per_sample, np.int16)
    return np.asarray(np.round(np.clip(samples, -1.0, 1.0) * 32_767.0), np.int16)
