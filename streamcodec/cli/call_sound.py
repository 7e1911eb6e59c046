"""Where a call's sound comes from and goes to: the devices of ``streamcodec.live``, or files for scripted calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamcodec.cli.common import input_file, read_sound
from streamcodec.errors import AudioFormatError
from streamcodec.live.sound_devices import Loudspeaker, Microphone

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class SoundFormat:
    """What sound in a file or at a device is like."""

    sample_rate_hz: int
    channels: int = 1
    bits_per_sample: int = 16


class Source(Protocol):
    """A microphone or what stands in for one."""

    def read(self, count_samples: int, /) -> Float32Array | None:
        """The next samples: ``count_samples`` of a file, as many as there are of a device; None after the last."""
        ...


class Sink(Protocol):
    """A loudspeaker or what stands in for one."""

    def wanted(self, count_samples: int, /) -> int:
        """How many samples to write, where the clock says ``count_samples``."""
        ...

    def write(self, samples: Float32Array, /) -> None: ...


class FileSource:
    """A sound file: as it is with ``all_channels``, else mixed down to mono."""

    def __init__(self, name: str, *, all_channels: bool = False) -> None:
        import soundfile

        samples, rate_hz = read_sound(name)
        if not all_channels or samples.shape[1] == 1:
            samples = samples.mean(axis=1, dtype=np.float32)
        self._samples: Float32Array = samples
        deep = soundfile.info(input_file(name)).subtype not in ("PCM_16", "PCM_S8", "PCM_U8")
        self.format = SoundFormat(rate_hz, 1 if samples.ndim == 1 else samples.shape[1], 24 if deep else 16)
        self._position = 0

    def read(self, count_samples: int) -> Float32Array | None:
        """The next samples, silence behind the last ones; None after them.

        Shape: ``[n]``, or ``[n, channels]`` for more than one.
        """
        if self._position >= len(self._samples):
            return None
        block = self._samples[self._position : self._position + count_samples]
        self._position += count_samples
        return np.pad(block, ((0, count_samples - len(block)), *((0, 0) for _ in block.shape[1:])))


class FileSink:
    """A sound file that grows as the call goes on, of 16 or 24 bits."""

    def __init__(self, name: str, form: SoundFormat) -> None:
        import soundfile

        self._full_scale = 1 << (form.bits_per_sample - 1)
        self._shift = 32 - form.bits_per_sample
        try:
            self._file = soundfile.SoundFile(
                name, "w", form.sample_rate_hz, channels=form.channels, subtype=f"PCM_{form.bits_per_sample}"
            )
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            raise AudioFormatError(f"cannot write {name}: {error}; use a .wav or .flac name") from error

    def wanted(self, count_samples: int) -> int:
        """As many as the clock says."""
        return count_samples

    def write(self, samples: Float32Array) -> None:
        """Append. Integers that a lossless stream has become floating-point numbers of come out as they were.

        Shape: ``[n]`` or ``[n, channels]``.
        """
        scaled = np.clip(np.rint(samples * np.float32(self._full_scale)), -self._full_scale, self._full_scale - 1)
        self._file.write(scaled.astype(np.int32) << self._shift)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class DeviceSource:
    """The microphone."""

    def __init__(self, microphone: Microphone) -> None:
        self._microphone = microphone

    def read(self, count_samples: int) -> Float32Array:
        """What has been captured since the last call."""
        return self._microphone.read()


class DeviceSink:
    """The loudspeaker."""

    def __init__(self, loudspeaker: Loudspeaker) -> None:
        self._loudspeaker = loudspeaker

    def wanted(self, count_samples: int) -> int:
        """As many as the device has played."""
        return self._loudspeaker.wanted_samples

    def write(self, samples: Float32Array) -> None:
        """Play."""
        self._loudspeaker.write(samples)
