"""A call on real PortAudio streams in a PulseAudio null sink, with a scripted call at the other end."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from numpy.typing import NDArray

from tests.helpers.pulse import pulse_room, what_is_missing

pytest.importorskip("aiortc")
pytestmark = [
    pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing() or "everything is installed"),
    # These run in real time: where the whole machine stalls, the sound server loses its stream, whoever uses it.
    pytest.mark.flaky(reruns=4, reruns_delay=2),
]

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from streamcodec.cli import console; console()"]


def loudness(sound: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """Level over time, 50 values a second, mean removed."""
    frame = rate_hz // 50
    level = np.sqrt(np.mean(np.square(sound[: len(sound) // frame * frame].reshape(-1, frame)), axis=1))
    return np.asarray(level - level.mean())


def similarity(sound: NDArray[np.float64], rate_hz: int, heard: NDArray[np.float64], heard_hz: int) -> float:
    """Highest correlation of loudness at any lag: the receiver stretches sound, so waveforms drift apart."""
    spoken, played = loudness(sound, rate_hz), loudness(heard, heard_hz)
    return float(
        scipy.signal.correlate(played, spoken, method="fft").max() / (np.linalg.norm(spoken) * np.linalg.norm(played))
    )


def test_somebody_at_devices_talks_with_somebody_at_files(tmp_path: Path, speech_file: Path) -> None:
    sound, rate_hz = soundfile.read(speech_file)
    voices = {"lips": sound[: 3 * rate_hz], "file": sound[-3 * rate_hz :]}
    for name, voice in voices.items():
        soundfile.write(tmp_path / f"{name}.wav", voice, rate_hz)
    with tempfile.TemporaryDirectory(prefix="sc-") as folder, pulse_room(Path(folder)) as room:
        environment = {**room, "PYTHONPATH": str(ROOT)}

        def start(*arguments: str) -> subprocess.Popen[str]:
            pipe = subprocess.PIPE
            return subprocess.Popen([*COMMAND, *arguments], env=environment, stdout=pipe, stderr=pipe, text=True)

        def finish(process: subprocess.Popen[str]) -> None:
            _, error = process.communicate(timeout=40)
            assert process.returncode == 0, error

        relay = start("serve", "--port", "0")
        assert relay.stdout is not None
        call = ("call", "room", "--server", relay.stdout.readline().strip(), "--relay-only")
        at_devices = start(*call, "--name", "Ann")
        assert at_devices.stderr is not None
        while not at_devices.stderr.readline().startswith("in room"):
            assert at_devices.poll() is None
        ear = str(tmp_path / "ear.wav")
        recording = subprocess.Popen(
            ["parec", "--file-format=wav", "--device=room.monitor", "--channels=2", ear], env=environment
        )
        files = ("--input", str(tmp_path / "file.wav"), "--output", str(tmp_path / "heard.wav"))
        at_files = start(*call, *files, "--seconds", "4.5")
        assert at_files.stderr is not None
        while "is here" not in at_files.stderr.readline():
            assert at_files.poll() is None
        subprocess.run(["paplay", "--device=lips", str(tmp_path / "lips.wav")], env=environment, check=True)
        finish(at_files)
        for process in (at_devices, relay):
            process.send_signal(signal.SIGINT)
            finish(process)
        recording.terminate()
        recording.wait(10)
    at_file = soundfile.read(tmp_path / "heard.wav")
    played, played_hz = soundfile.read(ear)
    at_ear = played[:, 1], played_hz
    for name, other, (sound, heard_hz) in (("lips", "file", at_file), ("file", "lips", at_ear)):
        wanted, unwanted = (similarity(voices[who], rate_hz, sound, heard_hz) for who in (name, other))
        # Loudness of any two voices has something in common at some lag.
        assert wanted > max(0.5, 1.3 * unwanted), (name, wanted, unwanted)
