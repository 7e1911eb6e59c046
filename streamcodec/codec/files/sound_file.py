"""Sound files, read and written as each tier needs them: integers for the lossless tier, floats for the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from streamcodec.codec.packet import Tier
from streamcodec.codec.tiers import Samples
from streamcodec.errors import AudioFormatError, FileFormatError

METADATA_FIELDS = ("title", "artist", "album", "date", "comment", "genre", "tracknumber", "copyright", "license")
INTEGER_SUBTYPES = frozenset({"PCM_16", "PCM_24"})
FINE_SUBTYPES = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE"})

SoundSource = str | Path | IO[bytes]


def name_of(file: SoundSource) -> str:
    """What to call a file in a message."""
    return str(file) if isinstance(file, str | Path) else "the stream"


class SoundReader:
    """A sound file open for one tier: its rate, depth and samples, block by block.

    Errors: AudioFormatError for what libsndfile cannot read, or the lossless tier cannot represent.
    """

    def __init__(self, source: SoundSource, tier: Tier) -> None:
        try:
            self._file = soundfile.SoundFile(source)
        except (soundfile.LibsndfileError, TypeError, OSError) as error:
            raise AudioFormatError(
                f"cannot read {name_of(source)} as sound: {error}; WAV, FLAC, Ogg and MP3 files work"
            ) from error
        self.tier = tier
        self._integers = tier is Tier.LOSSLESS
        subtype = self._file.subtype
        if self._integers and subtype not in INTEGER_SUBTYPES:
            self._file.close()
            raise AudioFormatError(
                f"{name_of(source)} holds {subtype} samples; the lossless tier takes 16- and 24-bit PCM: convert it "
                "first, or use the near-lossless tier"
            )
        self.bits_per_sample = 24 if subtype in FINE_SUBTYPES else 16
        self.sample_rate_hz = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.samples = int(self._file.frames)
        self.metadata = {k: str(getattr(self._file, k)) for k in METADATA_FIELDS if getattr(self._file, k, "")}

    def __enter__(self) -> SoundReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def blocks(self) -> Iterator[Samples]:
        """All samples, a second at a time.

        Shape: ``[n, channels]``, float32, or for the lossless tier int32 of the file's depth.
        """
        kind = "int32" if self._integers else "float32"
        for block in self._file.blocks(blocksize=self.sample_rate_hz, dtype=kind, always_2d=True):
            yield block >> (32 - self.bits_per_sample) if self._integers else block

    def read(self) -> Samples:
        """All samples at once; shape and type as of :meth:`blocks`."""
        nothing = np.zeros((0, self.channels), np.int32 if self._integers else np.float32)
        return np.concatenate([nothing, *self.blocks()])


class SoundWriter:
    """A sound file being written with 16 or 24 bits; the suffix says the format, WAV where there is none.

    Errors: FileFormatError for what libsndfile cannot write.
    """

    def __init__(
        self,
        target: SoundSource,
        sample_rate_hz: int,
        channels: int,
        bits_per_sample: int,
        metadata: dict[str, str],
    ) -> None:
        self._depth = 16 if bits_per_sample <= 16 else 24
        self._bits_per_sample = bits_per_sample
        format_name = None if isinstance(target, str | Path) and Path(target).suffix else "WAV"
        try:
            self._file = soundfile.SoundFile(
                target,
                "w",
                samplerate=sample_rate_hz,
                channels=channels,
                subtype=f"PCM_{self._depth}",
                format=format_name,
            )
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            raise FileFormatError(f"cannot write {name_of(target)}: {error}; use a .wav or .flac name") from error
        for key, value in metadata.items():
            if key in METADATA_FIELDS:
                setattr(self._file, key, value)

    def __enter__(self) -> SoundWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, block: Samples) -> None:
        """Append samples: floats of full scale 1, or integers of the depth given.

        Shape: ``[n]`` or ``[n, channels]``.
        """
        if np.issubdtype(block.dtype, np.integer):
            # libsndfile takes the upper bits of its own integer types.
            block = block.astype(np.int32) << (32 - self._bits_per_sample)
        self._file.write(block)


class _Borrowed:
    """A file object that the caller closes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __enter__(self) -> IO[bytes]:
        return self._file

    def __exit__(self, *error: object) -> None:
        return None


def open_binary(file: SoundSource, mode: str) -> Any:
    """A context that gives the open file; raises FileFormatError. The caller's own file objects stay open."""
    if not isinstance(file, str | Path):
        return _Borrowed(file)
    try:
        return Path(file).open(mode)
    except OSError as error:
        raise FileFormatError(f"cannot open {file}: {error.strerror}") from error
