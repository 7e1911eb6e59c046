"""lhotse: a backend that reads ``.sc`` files, and those in Shar shards that ``streamcodec pack --shards shar`` wrote.

Importing this module puts it in front of the backend in use; what is not a ``.sc`` file is read by that one, as
before. https://lhotse.readthedocs.io
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.adapters.coded_bytes import decode_bytes, facts_of
from streamcodec.codec.files.container import MAGIC_BYTES, begins_as_coded
from streamcodec.extras import extra_imports

with extra_imports("lhotse"):
    from lhotse.audio.backend import (
        AudioBackend,
        LibsndfileCompatibleAudioInfo,
        get_current_audio_backend,
        set_current_audio_backend,
    )


class StreamcodecBackend(AudioBackend):  # type: ignore[misc]
    """Reads ``.sc`` files from a path or from memory, and has ``others`` read all the rest."""

    def __init__(self, others: AudioBackend | None = None) -> None:
        self._others = others

    def read_audio(
        self,
        path_or_fd: Any,
        offset: float = 0.0,
        duration: float | None = None,
        force_opus_sampling_rate: int | None = None,
    ) -> tuple[NDArray[np.float32], int]:
        """Sound from ``offset`` seconds on, for ``duration`` seconds.

        Shape: float32 ``[channels, n]``, and its rate in Hz.
        """
        if self._others is not None and not is_coded(path_or_fd):
            found: tuple[NDArray[np.float32], int] = self._others.read_audio(
                path_or_fd, offset, duration, force_opus_sampling_rate
            )
            return found
        samples, rate_hz = decode_bytes(path_or_fd)
        start = round(offset * rate_hz)
        stop = samples.shape[1] if duration is None else start + round(duration * rate_hz)
        return samples[:, start:stop], rate_hz

    def info(self, path_or_fd: Any, force_opus_sampling_rate: int | None = None) -> Any:
        """Length, rate and channels, without decoding."""
        if self._others is not None and not is_coded(path_or_fd):
            return self._others.info(path_or_fd, force_opus_sampling_rate)
        header, samples = facts_of(path_or_fd)
        rate_hz = header.sample_rate_hz
        return LibsndfileCompatibleAudioInfo(
            channels=header.channels, frames=samples, samplerate=rate_hz, duration=samples / rate_hz
        )

    def handles_special_case(self, path_or_fd: Any) -> bool:
        """Whether this is a ``.sc`` file."""
        return is_coded(path_or_fd)

    def is_applicable(self, path_or_fd: Any) -> bool:
        """Whether it can be read, by this backend or by the others."""
        return is_coded(path_or_fd) or (self._others is not None and self._others.is_applicable(path_or_fd))

    def supports_info(self) -> bool:
        """Yes."""
        return True

    def supports_save(self) -> bool:
        """Where the others do."""
        return self._others is not None and self._others.supports_save()

    def save_audio(self, *arguments: Any, **options: Any) -> None:
        """Write with the others."""
        if self._others is None:
            raise NotImplementedError("this backend reads .sc files; streamcodec.encode_file writes them")
        self._others.save_audio(*arguments, **options)


def is_coded(path_or_fd: Any) -> bool:
    """Whether this is a ``.sc`` file, by its name or by its first bytes."""
    if isinstance(path_or_fd, str | Path):
        return str(path_or_fd).endswith(".sc")
    return isinstance(path_or_fd, BytesIO) and begins_as_coded(bytes(path_or_fd.getbuffer()[:MAGIC_BYTES]))


def install() -> None:
    """Put the backend in front of the one in use; done when this module is imported."""
    now = get_current_audio_backend()
    if not isinstance(now, StreamcodecBackend):
        set_current_audio_backend(StreamcodecBackend(now))


install()
