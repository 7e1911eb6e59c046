"""Whole arrays and whole files, built on the streaming classes, so that streaming equals offline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from streamcodec.codec.audio_format import SAMPLE_RATES_HZ, as_mono
from streamcodec.codec.container import FileHeader, FileReader, FileWriter, TimedPacket
from streamcodec.codec.packet import SEQUENCE_MODULUS, Packet, Tier
from streamcodec.codec.stream import PACKETS_PER_SECOND, StreamDecoder, StreamEncoder
from streamcodec.errors import AudioFormatError, FileFormatError
from streamcodec.models.shipped import DEFAULT_MODEL

Float32Array = NDArray[np.float32]
Progress = Callable[[float], None]
METADATA_FIELDS = ("title", "artist", "album", "date", "comment", "genre", "tracknumber", "copyright", "license")
MAX_GAP_PACKETS = 24 * 3600 * PACKETS_PER_SECOND


@dataclass(frozen=True)
class EncodedAudio:
    """A whole sound as packets, with what is needed to give back exactly as many samples."""

    sample_rate_hz: int
    samples: int
    delay_samples: int
    packets: tuple[TimedPacket, ...]

    @property
    def payload_bytes(self) -> int:
        """Bytes of coded sound, packet headers not counted."""
        return sum(len(timed.packet.payload) for timed in self.packets)

    @property
    def payload_bps(self) -> float:
        """Payload bits per second of sound."""
        return 8.0 * self.payload_bytes * self.sample_rate_hz / max(self.samples, 1)


class _Clock:
    """Extends the wrapping timestamps of packets in order to times that never wrap."""

    def __init__(self) -> None:
        self._time = -1

    def time_of(self, packet: Packet) -> int:
        self._time += (packet.timestamp - self._time) % SEQUENCE_MODULUS
        return self._time


def encode_array(samples: object, sample_rate_hz: int, bitrate_bps: float = 6_000, **options: Any) -> EncodedAudio:
    """Encode a whole sound; ``options`` as for :class:`StreamEncoder`.

    Shape: ``[n]`` or ``[n, channels]``.
    """
    encoder = StreamEncoder(sample_rate_hz, bitrate_bps, **options)
    sound = as_mono(samples)
    clock = _Clock()
    packets = [TimedPacket(clock.time_of(p), p) for p in [*encoder.push(sound), *encoder.flush()]]
    return EncodedAudio(sample_rate_hz, sound.size, encoder.delay_samples, tuple(packets))


def decode_array(
    encoded: EncodedAudio, sample_rate_hz: int | None = None, *, model: str = DEFAULT_MODEL
) -> Float32Array:
    """Decode to the source's length, delay removed.

    Shape: output ``[n]``; ``n`` as encoded, times the ratio of the rates.
    """
    rate_hz = sample_rate_hz or encoded.sample_rate_hz
    decoder = StreamDecoder(rate_hz, model=model)
    total = -(-encoded.samples * rate_hz // encoded.sample_rate_hz)
    lag = _lag_samples(decoder, encoded.delay_samples, encoded.sample_rate_hz)
    blocks = _decode_timed(decoder, encoded.packets)
    return np.concatenate([np.zeros(0, np.float32), *_trim(blocks, lag, total)])


def encode_file(
    source: str | Path | IO[bytes],
    target: str | Path | IO[bytes],
    bitrate_bps: float = 6_000,
    *,
    progress: Progress | None = None,
    model: str = DEFAULT_MODEL,
    **options: Any,
) -> FileHeader:
    """Encode a sound file (any format libsndfile reads) to a ``.sc`` file, block by block.

    ``options`` as for :class:`StreamEncoder`; ``mode`` is ``"stream"`` unless said otherwise, since a file is a
    reliable link. Raises AudioFormatError or FileFormatError.
    """
    options.setdefault("mode", "stream")
    with _open_sound(source) as sound:
        rate_hz = int(sound.samplerate)
        if rate_hz not in SAMPLE_RATES_HZ:
            raise AudioFormatError(
                f"{_name(source)} has {rate_hz} samples per second; the neural tier takes "
                f"{', '.join(map(str, SAMPLE_RATES_HZ))}: resample it first"
            )
        encoder = StreamEncoder(rate_hz, bitrate_bps, model=model, **options)
        metadata = {k: str(getattr(sound, k)) for k in METADATA_FIELDS if getattr(sound, k, "")}
        header = FileHeader(Tier.NEURAL, rate_hz, 1, PACKETS_PER_SECOND, encoder.delay_samples, model, metadata)
        with _open_binary(target, "wb") as out:
            writer = FileWriter(out, header)
            clock = _Clock()
            total = 0
            for block in sound.blocks(blocksize=rate_hz, dtype="float32", always_2d=True):
                total += len(block)
                for packet in encoder.push(block):
                    writer.write(clock.time_of(packet), packet)
                if progress is not None and sound.frames > 0:
                    progress(min(total / sound.frames, 1.0))
            for packet in encoder.flush():
                writer.write(clock.time_of(packet), packet)
            writer.close(total)
    return header


def decode_file(
    source: str | Path | IO[bytes],
    target: str | Path | IO[bytes],
    *,
    sample_rate_hz: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Decode a ``.sc`` file to a sound file (16-bit; the suffix says the format, WAV for a stream).

    Returns the number of samples written. Damage is concealed. Raises FileFormatError or ModelError.
    """
    with _open_binary(source, "rb") as file:
        reader = FileReader(file)
        header = reader.header
        rate_hz = sample_rate_hz or header.sample_rate_hz
        decoder = StreamDecoder(rate_hz, model=header.model or DEFAULT_MODEL)
        lag = _lag_samples(decoder, header.delay_samples, header.sample_rate_hz)
        total = None
        if reader.total_samples is not None:
            total = -(-reader.total_samples * rate_hz // header.sample_rate_hz)
        format_name = None if isinstance(target, str | Path) and Path(target).suffix else "WAV"
        try:
            out = soundfile.SoundFile(
                target, "w", samplerate=rate_hz, channels=1, subtype="PCM_16", format=format_name
            )
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            raise FileFormatError(f"cannot write {_name(target)}: {error}; use a .wav or .flac name") from error
        written = 0
        with out:
            for key, value in header.metadata.items():
                if key in METADATA_FIELDS:
                    setattr(out, key, value)
            for block in _trim(_decode_timed(decoder, reader.packets()), lag, total):
                out.write(block)
                written += block.size
                if progress is not None and total:
                    progress(min(written / total, 1.0))
    return written


def _lag_samples(decoder: StreamDecoder, encoder_delay_samples: int, encoder_rate_hz: int) -> int:
    return decoder.delay_samples + round(encoder_delay_samples * decoder.sample_rate_hz / encoder_rate_hz)


def _decode_timed(decoder: StreamDecoder, packets: Iterable[TimedPacket]) -> Iterator[Float32Array]:
    """Sound of every packet duration, gaps concealed, tail flushed."""
    time = 0
    for timed in packets:
        for _ in range(min(timed.time - time, MAX_GAP_PACKETS)):
            yield decoder.push(None)
        yield decoder.push(timed.packet)
        time = timed.time + 1
    yield decoder.flush()


def _trim(blocks: Iterable[Float32Array], lag: int, total: int | None) -> Iterator[Float32Array]:
    """Drop ``lag`` samples in front; end after ``total``, with silence where too few came."""
    given = 0
    for block in blocks:
        kept = block[min(lag, block.size) :]
        lag -= block.size - kept.size
        if total is not None:
            kept = kept[: total - given]
        given += kept.size
        if kept.size:
            yield kept
    while total is not None and given < total:
        silence = np.zeros(min(total - given, 1 << 16), np.float32)
        given += silence.size
        yield silence


def _name(file: str | Path | IO[bytes]) -> str:
    return str(file) if isinstance(file, str | Path) else "the stream"


class _Borrowed:
    """A file object that the caller closes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __enter__(self) -> IO[bytes]:
        return self._file

    def __exit__(self, *error: object) -> None:
        return None


def _open_binary(file: str | Path | IO[bytes], mode: str) -> Any:
    if not isinstance(file, str | Path):
        return _Borrowed(file)
    try:
        return Path(file).open(mode)
    except OSError as error:
        raise FileFormatError(f"cannot open {file}: {error.strerror}") from error


def _open_sound(source: str | Path | IO[bytes]) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(source)
    except (soundfile.LibsndfileError, TypeError, OSError) as error:
        raise AudioFormatError(
            f"cannot read {_name(source)} as sound: {error}; WAV, FLAC, Ogg and MP3 files work"
        ) from error
