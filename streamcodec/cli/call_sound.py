"""Where a call's sound comes from and goes to: the devices of ``streamcodec.live``, or files for scripted calls."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamcodec.cli.common import input_file
from streamcodec.codec.files.output_file import check_not_read
from streamcodec.codec.files.sound_file import SoundReader
from streamcodec.codec.files.sound_writer import SoundWriter, warn_of_unfinished
from streamcodec.codec.packet import Tier
from streamcodec.errors import FileFormatError
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
        with SoundReader(input_file(name), Tier.NEURAL) as sound:
            samples, rate_hz, bits = sound.read(), sound.sample_rate_hz, sound.bits_per_sample
        if not all_channels or samples.shape[1] == 1:
            samples = samples.mean(axis=1, dtype=np.float32)
        self._samples: Float32Array = samples
        self.format = SoundFormat(rate_hz, 1 if samples.ndim == 1 else samples.shape[1], bits)
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
    """A sound file that grows as the call goes on, of 16 or 24 bits.

    It gets its name at the end, and only if there was something to write; until then an older file of that name
    stays. A full disk ends the recording, which keeps what it has, and not the call: :meth:`close` tells.
    """

    def __init__(self, name: str, form: SoundFormat, *sources: str) -> None:
        self._name = name
        self._form = form
        self._full_scale = 1 << (form.bits_per_sample - 1)
        self._writer: SoundWriter | None = None
        self._written = 0
        self._failure: FileFormatError | None = None
        for source in sources:
            check_not_read(name, source)
        # What cannot be written is to be known before the call and not after it.
        SoundWriter(io.BytesIO(), *self._shape, {}, like=name).discard()
        folder = Path(name).resolve().parent
        if not folder.is_dir():
            raise FileFormatError(f"cannot write {name}: there is no folder {folder}")
        warn_of_unfinished(name)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self._form.sample_rate_hz, self._form.channels, self._form.bits_per_sample

    def wanted(self, count_samples: int) -> int:
        """As many as the clock says."""
        return count_samples

    def write(self, samples: Float32Array) -> None:
        """Append. Integers that a lossless stream has become floating-point numbers of come out as they were.

        Shape: ``[n]`` or ``[n, channels]``.
        """
        if self._failure is not None:
            return
        scaled = np.clip(np.rint(samples * np.float32(self._full_scale)), -self._full_scale, self._full_scale - 1)
        try:
            self._writer = self._writer or SoundWriter(self._name, *self._shape, {}, recording=True)
            self._writer.write(scaled.astype(np.int32))
        except FileFormatError as error:
            kept_s = self._written / self._form.sample_rate_hz
            self._failure = FileFormatError(f"{error}; the recording ends after {kept_s:.1f} s, the call goes on")
            print(f"streamcodec: {self._failure}", file=sys.stderr, flush=True)
            return
        self._written += len(scaled)

    def close(self) -> None:
        """Finish the file; raises FileFormatError where not everything could be written."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.finish(as_far_as_it_goes=self._failure is not None)
        if self._failure is not None:
            kept_s = self._written / self._form.sample_rate_hz
            cause = str(self._failure).partition(";")[0]
            raise FileFormatError(f"{cause}; the recording ended after {kept_s:.1f} s")


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
