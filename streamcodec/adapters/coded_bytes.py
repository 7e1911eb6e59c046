"""What the data loaders share: the sound of a ``.sc`` file that is already in memory, or lies on disk."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.files.container import FileHeader
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.decoding import decode_file
from streamcodec.codec.files.sound_file import open_binary


class DecodedSound(NamedTuple):
    """Shape: samples float32 ``[channels, n]``."""

    samples: NDArray[np.float32]
    sample_rate_hz: int


def decode_bytes(source: str | Path | bytes | IO[bytes], sample_rate_hz: int | None = None) -> DecodedSound:
    """All sound of a ``.sc`` file, channels first as data loaders have it; the neural tier's at any of its rates.

    Raises FileFormatError, AudioFormatError or ModelError.
    """
    import soundfile

    out = io.BytesIO()
    decode_file(_opened(source), out, sample_rate_hz=sample_rate_hz, floats=True)
    out.seek(0)
    samples, rate_hz = soundfile.read(out, dtype="float32", always_2d=True)
    return DecodedSound(np.ascontiguousarray(samples.T), rate_hz)


class CodedFacts(NamedTuple):
    """Of a file that is not decoded."""

    header: FileHeader
    samples: int


def facts_of(source: str | Path | bytes | IO[bytes]) -> CodedFacts:
    """What a ``.sc`` file says about itself; raises FileFormatError."""
    with open_binary(_opened(source)) as file:
        reader = FileReader(file)
        if reader.total_samples is not None:
            return CodedFacts(reader.header, reader.total_samples)
    return CodedFacts(reader.header, decode_bytes(source).samples.shape[1])


def _opened(source: str | Path | bytes | IO[bytes]) -> str | Path | IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
