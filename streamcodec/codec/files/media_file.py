"""Sound of files that libsndfile does not read (m4a, AAC, WebM, Matroska, video), where PyAV is installed."""

from __future__ import annotations

import importlib.util
import tempfile
from typing import IO, Any

import numpy as np
import soundfile

from streamcodec.errors import AudioFormatError

SUBTYPES = {"s16": "PCM_16", "s32": "PCM_24", "flt": "FLOAT", "dbl": "FLOAT", "u8": "PCM_16"}
"""What a sample format of FFmpeg is kept as, packed or planar; PCM of 32 bits is 24 wide in what is met (ALAC)."""
TAG_NAMES = {"track": "tracknumber"}


def can_read() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def as_wav(file: IO[bytes], name: str) -> tuple[IO[bytes], dict[str, str]]:
    """The first sound of a file as a WAV in a temporary file, and its tags.

    What an encoder put before and after the sound (priming, padding) is left out, as the container says.
    Errors: AudioFormatError for what FFmpeg cannot read, and where there is no sound.
    """
    import av

    file.seek(0)
    wav = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with av.open(file) as container:
            if not container.streams.audio:
                raise AudioFormatError(f"cannot read {name} as sound: it holds none")
            stream = container.streams.audio[0]
            found = {key.lower(): str(value) for key, value in {**stream.metadata, **container.metadata}.items()}
            tags = {TAG_NAMES.get(key, key): value for key, value in found.items()}
            out: soundfile.SoundFile | None = None
            for frame in container.decode(stream):
                if out is None:
                    subtype = SUBTYPES.get(frame.format.name.rstrip("p"), "FLOAT")
                    channels = len(frame.layout.channels)
                    out = soundfile.SoundFile(wav, "w", frame.sample_rate, channels, subtype, format="RF64")
                out.write(_plane(frame, out.channels))
            if out is None:
                raise AudioFormatError(f"cannot read {name} as sound: it holds none")
            out.close()
    except (av.error.FFmpegError, soundfile.LibsndfileError, OSError, ValueError) as error:
        wav.close()
        if isinstance(error, AudioFormatError):
            raise
        raise AudioFormatError(f"cannot read {name} as sound: {error}") from error
    wav.seek(0)
    return wav, tags


def _plane(frame: Any, channels: int) -> np.ndarray[Any, Any]:
    """Shape: output ``[n, channels]``."""
    samples: np.ndarray[Any, Any] = frame.to_ndarray()
    plane: np.ndarray[Any, Any] = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
    if plane.dtype == np.uint8:
        return np.asarray((plane.astype(np.int16) - 128) << 8, np.int16)
    return np.ascontiguousarray(plane)
