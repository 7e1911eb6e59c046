"""Where a call's sound comes from and goes to: files for scripted calls, or the devices of ``streamcodec.live``."""

from __future__ import annotations

import importlib.util
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamcodec.cli.common import read_sound
from streamcodec.errors import AudioFormatError, StreamcodecError

Float32Array = NDArray[np.float32]


class Source(Protocol):
    """A microphone or what stands in for one."""

    def read(self, count_samples: int, /) -> Float32Array | None:
        """The next samples; None once there will be no more."""
        ...


class Sink(Protocol):
    """A loudspeaker or what stands in for one."""

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

    def write(self, samples: Float32Array) -> None:
        """Append."""
        self._file.write(samples)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def check_devices() -> None:
    """Raise StreamcodecError, with what to do about it, where a call has no microphone and no loudspeaker."""
    if importlib.util.find_spec("streamcodec.live") is None:
        raise StreamcodecError(
            "sound devices come with streamcodec[live]; without them give files (--input FILE, --output FILE)"
        )
    raise StreamcodecError("calls do not use sound devices yet; give files (--input FILE, --output FILE)")
