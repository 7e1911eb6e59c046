"""Sound that comes through a pipe: sent as it comes, not read whole before the call begins."""

from __future__ import annotations

import queue
import struct
import sys
import threading
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from streamcodec.cli.call_sound import FileSource, SoundFormat
from streamcodec.errors import AudioFormatError

Float32Array = NDArray[np.float32]

MAX_HEADER_BYTES = 1 << 16
BLOCK_S = 0.02
QUEUE_BLOCKS = 25
"""Half a second: a program that makes sound faster waits, as pipes do."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


class SoundFile(Protocol):
    """A source that has a format and an end."""

    format: SoundFormat

    def read(self, count_samples: int, /) -> Float32Array | None: ...

    def close(self) -> None: ...


def open_source(name: str, *, all_channels: bool = False) -> SoundFile:
    """A sound file, or standard input as a stream of WAV for ``-``. Raises AudioFormatError, StreamcodecError."""
    if name != "-":
        return _Closable(FileSource(name, all_channels=all_channels))
    if sys.stdin is None or sys.stdin.closed:
        raise AudioFormatError("there is no standard input to read sound from; give --input a file")
    return StreamSource(sys.stdin.buffer, all_channels=all_channels)


class _Closable:
    def __init__(self, file: FileSource) -> None:
        self.format = file.format
        self.read = file.read

    def close(self) -> None:
        """Nothing is open."""


class StreamSource:
    """WAV from a pipe, read on a thread of its own: integers of 8 to 32 bits or floats of 32, whatever its length.

    Errors: AudioFormatError where it does not begin as WAV does.
    """

    def __init__(self, stream: IO[bytes], *, all_channels: bool = False) -> None:
        self._stream = stream
        self._all_channels = all_channels
        self._read_header()
        self._pending: list[Float32Array] = []
        self._pending_samples = 0
        self._blocks: queue.Queue[Float32Array | None] = queue.Queue(QUEUE_BLOCKS)
        self._ended = False
        self._closing = threading.Event()
        # A daemon: a read that nothing comes to must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="streamcodec-input", daemon=True)
        self._thread.start()

    def read(self, count_samples: int) -> Float32Array | None:
        """The next samples, fewer where no more have come yet; None after the last.

        Shape: ``[n]`` or ``[n, channels]``, n at most ``count_samples``.
        """
        while self._pending_samples < count_samples and not self._ended:
            try:
                block = self._blocks.get_nowait()
            except queue.Empty:
                break
            if block is None:
                self._ended = True
            else:
                self._pending.append(block)
                self._pending_samples += len(block)
        if not self._pending:
            return None if self._ended else self._nothing()
        whole = np.concatenate(self._pending)
        out, rest = whole[:count_samples], whole[count_samples:]
        self._pending = [rest] if len(rest) else []
        self._pending_samples = len(rest)
        return out

    def close(self) -> None:
        """Read no further."""
        self._closing.set()

    # -- inside -------------------------------------------------------------------------------------------------

    def _nothing(self) -> Float32Array:
        channels = self.format.channels
        return np.zeros(0 if channels == 1 else (0, channels), np.float32)

    def _read_header(self) -> None:
        head = self._exactly(12)
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            raise AudioFormatError(
                "standard input is not a stream of WAV, which --input - takes: convert it first, for example with "
                "ffmpeg -i FILE -f wav -, or give the file's name"
            )
        form: bytes | None = None
        for _ in range(64):
            kind, size = struct.unpack("<4sI", self._exactly(8))
            if kind == b"data":
                if form is None:
                    break
                # 0 and all ones stand for a length that nobody knew when the stream began.
                self._left_bytes = None if size in (0, 0xFFFFFFFF) or size >= 0x7FFFF000 else size
                self._understand(form)
                return
            if size > MAX_HEADER_BYTES:
                break
            body = self._exactly(size + size % 2)
            if kind == b"fmt ":
                form = body
        raise AudioFormatError("standard input begins as WAV does and tells no format of its samples")

    def _understand(self, form: bytes) -> None:
        if len(form) < 16:
            raise AudioFormatError("standard input tells no complete format of its samples")
        kind, channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", form[:16])
        if kind == _EXTENSIBLE and len(form) >= 26:
            kind = int.from_bytes(form[24:26], "little")
        known = (kind == _PCM and bits in (8, 16, 24, 32)) or (kind == _FLOAT and bits == 32)
        if not known or not 1 <= channels <= 32 or not 1_000 <= rate_hz <= 384_000:
            raise AudioFormatError(
                f"standard input has {bits}-bit samples of kind {kind}, {channels} channels at {rate_hz} Hz; "
                "taken are integers of 8 to 32 bits and floats of 32"
            )
        self._kind, self._bits, self._channels = kind, bits, channels
        self._block_bytes = round(BLOCK_S * rate_hz) * channels * bits // 8
        heard = channels if self._all_channels else 1
        self.format = SoundFormat(rate_hz, heard, 24 if bits > 16 else 16)

    def _exactly(self, count: int) -> bytes:
        data = self._stream.read(count)
        if data is None or len(data) < count:
            raise AudioFormatError("standard input ended before any sound came")
        return data

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                wanted = self._block_bytes if self._left_bytes is None else min(self._block_bytes, self._left_bytes)
                data = self._stream.read(wanted) if wanted else b""
                if not data:
                    break
                if self._left_bytes is not None:
                    self._left_bytes -= len(data)
                self._hand_over(self._samples(data))
        except (OSError, ValueError):
            pass  # the pipe has broken, which is an end too
        self._hand_over(None)

    def _hand_over(self, block: Float32Array | None) -> None:
        while not self._closing.is_set():
            try:
                self._blocks.put(block, timeout=0.1)
            except queue.Full:
                continue
            return

    def _samples(self, data: bytes) -> Float32Array:
        frame_bytes = self._channels * self._bits // 8
        data = data[: len(data) // frame_bytes * frame_bytes]
        if self._kind == _FLOAT:
            samples = np.frombuffer(data, "<f4").astype(np.float32)
        elif self._bits == 8:
            samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
        elif self._bits == 24:
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            samples = (wide.view("<i4")[:, 0] >> 8).astype(np.float32) / np.float32(1 << 23)
        else:
            whole = np.frombuffer(data, "<i2" if self._bits == 16 else "<i4")
            samples = (whole / float(1 << (self._bits - 1))).astype(np.float32)
        plane = samples.reshape(-1, self._channels)
        if self.format.channels == 1:
            return np.asarray(plane.mean(axis=1, dtype=np.float32), np.float32)
        return np.ascontiguousarray(plane)
