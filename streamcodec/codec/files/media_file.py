"""Sound of files that libsndfile does not read (m4a, AAC, WebM, Matroska, video), where PyAV is installed."""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import soundfile

from streamcodec.codec.files.sound_lengths import id3_bytes
from streamcodec.errors import AudioFormatError

SUBTYPES = {"s16": "PCM_16", "s32": "PCM_32", "flt": "FLOAT", "dbl": "FLOAT", "u8": "PCM_16"}
"""What a sample format of FFmpeg is kept as, packed or planar."""
TAG_NAMES = {"track": "tracknumber"}


def can_read() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def is_bare_aac(file: IO[bytes]) -> bool:
    """Whether a file is AAC in no container (ADTS), which libsndfile takes for MP3. It is read from its start.

    A frame begins with 12 bits set and a layer of 0, which MPEG's other sound never has; tags (ID3) may stand before.
    """
    file.seek(0)
    head = file.read(10)
    if tag_bytes := id3_bytes(head):
        file.seek(tag_bytes)
        head = file.read(2)
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


@dataclass(frozen=True)
class DecodedMedia:
    """The first sound of a file."""

    wav: IO[bytes]
    """In a temporary file."""
    tags: dict[str, str]
    codec: str
    """What FFmpeg calls the coding, such as ``aac``."""
    bits_per_sample: int | None
    """24 where integers of 32 bits have nothing in their last 8, as FFmpeg gives those of 24; None where the WAV's
    depth is the sound's."""


def decoded(file: IO[bytes], name: str) -> DecodedMedia:
    """The first sound of a file as a WAV, and its tags.

    What an encoder put before and after the sound (priming, padding) is left out, as the container says.
    Errors: AudioFormatError for what FFmpeg cannot read, and where there is no sound.
    """
    import av

    file.seek(0)
    wav = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with av.open(file, "r") as container:
            if not container.streams.audio:
                raise AudioFormatError(f"cannot read {name} as sound: it holds none")
            stream = container.streams.audio[0]
            codec = str(stream.codec_context.name)
            found = {key.lower(): str(value) for key, value in {**stream.metadata, **container.metadata}.items()}
            tags = {TAG_NAMES.get(key, key): value for key, value in found.items()}
            out: soundfile.SoundFile | None = None
            last_bits = 0
            for frame in container.decode(stream):
                if out is None:
                    subtype = SUBTYPES.get(frame.format.name.rstrip("p"), "FLOAT")
                    channels = len(frame.layout.channels)
                    out = soundfile.SoundFile(wav, "w", frame.sample_rate, channels, subtype, format="RF64")
                plane = _plane(frame, out.channels)
                if plane.dtype == np.int32:
                    last_bits |= int(np.bitwise_or.reduce(plane, axis=None)) & 0xFF
                out.write(plane)
            if out is None:
                raise AudioFormatError(f"cannot read {name} as sound: it holds none")
            wide = out.subtype == "PCM_32"
            out.close()
    except (av.error.FFmpegError, soundfile.LibsndfileError, OSError, ValueError) as error:
        wav.close()
        if isinstance(error, AudioFormatError):
            raise
        why = getattr(error, "strerror", None) or str(error)
        if isinstance(error, av.error.InvalidDataError):
            why = "it is not in any format of sound or video that is known here, or damaged"
        raise AudioFormatError(f"cannot read {name} as sound: {why}") from error
    wav.seek(0)
    return DecodedMedia(wav, tags, codec, 24 if wide and not last_bits else None)


def _plane(frame: Any, channels: int) -> np.ndarray[Any, Any]:
    """Shape: output ``[n, channels]``."""
    samples: np.ndarray[Any, Any] = frame.to_ndarray()
    plane: np.ndarray[Any, Any] = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
    if plane.dtype == np.uint8:
        return np.asarray((plane.astype(np.int16) - 128) << 8, np.int16)
    return np.ascontiguousarray(plane)
