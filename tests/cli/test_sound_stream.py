"""Sound through a pipe: read as it comes, of every kind of WAV, and refused in one sentence where it is none."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from streamcodec.cli.call_sound import SoundFormat
from streamcodec.cli.sound_stream import StreamSource, open_source
from streamcodec.errors import AudioFormatError
from tests.helpers.commands import COMMAND, start

RATE_HZ = 24_000


def wav(samples: np.ndarray[Any, Any], subtype: str = "PCM_16", rate_hz: int = RATE_HZ) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, subtype=subtype, format="WAV")
    return out.getvalue()


def everything(source: StreamSource, block: int = 480) -> np.ndarray[Any, Any]:
    """All that comes, at whatever pace."""
    got = []
    until_s = time.monotonic() + 10
    while (samples := source.read(block)) is not None:
        assert len(samples) <= block
        assert time.monotonic() < until_s
        got.append(samples)
        if not len(samples):
            time.sleep(0.001)
    return np.concatenate(got)


def tone(channels: int = 1) -> np.ndarray[Any, Any]:
    sound = 0.4 * np.sin(np.arange(2 * RATE_HZ) * 0.05)
    return sound if channels == 1 else np.stack([sound, -0.5 * sound], axis=1)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_pipe_gives_what_the_file_would(subtype: str, channels: int) -> None:
    data = wav(tone(channels), subtype)
    wanted, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    source = StreamSource(io.BytesIO(data), all_channels=True)
    assert source.format == SoundFormat(RATE_HZ, channels, 16 if subtype in ("PCM_U8", "PCM_16") else 24)
    np.testing.assert_allclose(everything(source), wanted, atol=1e-7)
    mono = everything(StreamSource(io.BytesIO(data)))
    np.testing.assert_allclose(mono, wanted if channels == 1 else wanted.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_length_that_was_not_known_is_not_believed(length: int) -> None:
    data = bytearray(wav(tone()))
    data[40:44] = struct.pack("<I", length)
    assert len(everything(StreamSource(io.BytesIO(bytes(data))))) == 2 * RATE_HZ


def test_a_pipe_is_read_as_it_is_written_and_no_further() -> None:
    reading, writing = os.pipe()
    data = wav(np.tile(tone(), 20))
    with open(reading, "rb") as out, open(writing, "wb", buffering=0) as into:
        into.write(data[:44])
        source = StreamSource(out)
        assert source.read(480) is not None
        assert source.read(480).size == 0  # type: ignore[union-attr]
        into.write(data[44 : 44 + 2 * 4_800])
        deadline_s = time.monotonic() + 5
        got = 0
        while got < 4_800:
            got += len(source.read(480))  # type: ignore[arg-type]
            assert time.monotonic() < deadline_s
        os.set_blocking(writing, False)
        # A program that makes sound faster than it is sent is made to wait.
        written = 0
        for _ in range(200):
            written += into.write(data[:4_096]) or 0
            time.sleep(0.0005)
        assert written < 65_536 + 25 * 960 + 4 * 8_192
        source.close()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ended before any sound"),
        (b"fLaC" + bytes(100), "not a stream of WAV"),
        (wav(tone())[:30], "ended before"),
        (b"RIFF\0\0\0\0WAVEdata" + bytes(50), "no format"),
        (b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff" + bytes(50), "no format"),
        (b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0abcddata" + bytes(50), "no complete format"),
        (wav(tone(), "DOUBLE"), "64-bit"),
    ],
    ids=["nothing", "flac", "cut", "no fmt", "huge chunk", "short fmt", "double"],
)
def test_what_is_no_wav_is_refused_in_one_sentence(data: bytes, says: str) -> None:
    with pytest.raises(AudioFormatError, match=says) as caught:
        StreamSource(io.BytesIO(data))
    assert "\n" not in str(caught.value)


def test_a_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(AudioFormatError, match="no standard input"):
        open_source("-")


def test_sound_from_a_pipe_is_sent(speech_file: Path) -> None:
    relay = start("serve", "--port", "0")
    assert relay.stdout is not None
    sound, rate_hz = soundfile.read(speech_file)
    try:
        url = relay.stdout.readline().strip()
        done = subprocess.run(
            [*COMMAND, "call", "r", "--speak-only", "--server", url, "--input", "-", "--wait", "0.2"],
            input=wav(sound[: 2 * rate_hz], rate_hz=rate_hz),
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 2
        assert done.stderr.decode().splitlines()[-1] == "streamcodec: nobody else came within 0.2 s"
        assert b"Traceback" not in done.stderr
    finally:
        relay.kill()
        relay.communicate()
