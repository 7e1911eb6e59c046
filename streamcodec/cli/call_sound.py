"""Where a call's sound comes from and goes to: the devices of ``streamcodec.live``, or files for scripted calls."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamcodec.cli.common import read_sound
from streamcodec.errors import AudioFormatError
from streamcodec.live import DuplexSound

Float32Array = NDArray[np.float32]


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

    def close(self) -> None: ...


class FileSource:
    """A sound file, mixed down to mono."""

    def __init__(self, name: str) -> None:
        samples, self.sample_rate_hz = read_sound(name)
        self._samples: Float32Array = samples.mean(axis=1, dtype=np.float32)
        self._position = 0

    def read(self, count_samples: int) -> Float32Array | None:
        """The next samples, silence behind the last ones; None after them."""
        if self._position >= self._samples.size:
            return None
        block = self._samples[self._position : self._position + count_samples]
        self._position += count_samples
        return np.pad(block, (0, count_samples - block.size))


class FileSink:
    """A sound file that grows as the call goes on, 16-bit."""

    def __init__(self, name: str, sample_rate_hz: int) -> None:
        import soundfile

        try:
            self._file = soundfile.SoundFile(name, "w", sample_rate_hz, channels=1, subtype="PCM_16")
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            raise AudioFormatError(f"cannot write {name}: {error}; use a .wav or .flac name") from error

    def wanted(self, count_samples: int) -> int:
        """As many as the clock says."""
        return count_samples

    def write(self, samples: Float32Array) -> None:
        """Append."""
        self._file.write(samples)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class DeviceSource:
    """The microphone."""

    def __init__(self, sound: DuplexSound) -> None:
        self._sound = sound

    def read(self, count_samples: int) -> Float32Array:
        """What has been captured since the last call."""
        return self._sound.read()


class DeviceSink:
    """The loudspeaker."""

    def __init__(self, sound: DuplexSound) -> None:
        self._sound = sound

    def wanted(self, count_samples: int) -> int:
        """As many as the device has played."""
        return self._sound.wanted_samples

    def write(self, samples: Float32Array) -> None:
        """Play."""
        self._sound.write(samples)

    def close(self) -> None:
        """The devices are closed by whoever opened them."""
