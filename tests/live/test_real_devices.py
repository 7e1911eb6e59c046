"""The command on real PortAudio streams, in a room made of a PulseAudio null sink: delay from mouth to ear."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.helpers.fake_device import delay_ms
from tests.helpers.pulse import pulse_room, wait_for, what_is_missing

RATE_HZ = 48_000
CHIRPS = 4
CHIRP_S = 0.25
SPACING_S = 0.6
LONGEST_DELAY_S = SPACING_S - CHIRP_S / 2
ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demos" / "loopback.py"
COMMAND = [sys.executable, "-c", "from streamcodec.cli import console; console()", "loopback"]

pytestmark = [
    pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing() or "everything is installed"),
    # These run in real time: where the whole machine stalls, the sound server loses its stream, whoever uses it.
    pytest.mark.flaky(reruns=4, reruns_delay=2),
]


@pytest.fixture(scope="module")
def room() -> Iterator[dict[str, str]]:
    # Paths of sockets are limited to about 100 characters, which pytest's own folders may exceed.
    with tempfile.TemporaryDirectory(prefix="sc-") as folder, pulse_room(Path(folder)) as environment:
        # A script in demos/ is not beside the package, wherever pytest was started.
        yield {**environment, "PYTHONPATH": str(ROOT)}


def chirps() -> NDArray[np.float64]:
    """Sweeps through the speech band, with pauses longer than any delay between them."""
    time_s = np.arange(round(CHIRP_S * RATE_HZ)) / RATE_HZ
    sweep = 0.3 * np.hanning(time_s.size) * np.sin(2 * np.pi * (300.0 + 0.5 * 3_200.0 / CHIRP_S * time_s) * time_s)
    sound = np.zeros(round((CHIRPS + 1) * SPACING_S * RATE_HZ))
    for k in range(CHIRPS):
        start = round((0.3 + k * SPACING_S) * RATE_HZ)
        sound[start : start + sweep.size] = sweep
    return sound


def delays_ms(pair: NDArray[np.float32]) -> list[float]:
    """By how much the right channel lags the left, chirp by chirp."""
    first = int(np.argmax(np.abs(pair[:, 0]) > 0.01))
    found = []
    for k in range(CHIRPS):
        start = first + round(k * SPACING_S * RATE_HZ)
        spoken = pair[start : start + round(CHIRP_S * RATE_HZ), 0]
        heard = pair[start : start + round((CHIRP_S + LONGEST_DELAY_S) * RATE_HZ), 1]
        assert float(np.abs(heard).max()) > 0.05, f"chirp {k} was not heard"
        found.append(delay_ms(spoken, heard, RATE_HZ))
    return found


def test_delay_from_mouth_to_ear(room: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "chirps.wav", chirps(), RATE_HZ)
    raw = (tmp_path / "room.raw").open("wb")
    recorder = subprocess.Popen(
        ["parec", "-d", "room.monitor", "--channels=2", f"--rate={RATE_HZ}", "--format=float32le", "--raw"],
        env=room,
        stdout=raw,
    )
    seconds = (CHIRPS + 1) * SPACING_S + 1.5
    record = tmp_path / "callback.wav"
    loopback = subprocess.Popen(
        [*COMMAND, "--seconds", str(seconds), "--json", "--record", str(record)],
        env=room,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(room, "sink-inputs", "protocol-native.c\tfloat32le")
        subprocess.run(["paplay", "-d", "lips", str(tmp_path / "chirps.wav")], env=room, timeout=10, check=True)
        printed, complaints = loopback.communicate(timeout=15)
        assert loopback.returncode == 0, complaints
    finally:
        for process in (loopback, recorder):
            process.kill()
            process.wait(5)
        raw.close()
    figures = json.loads(printed)
    in_room = np.fromfile(tmp_path / "room.raw", "<f4")
    total_ms = delays_ms(in_room[: in_room.size // 2 * 2].reshape(-1, 2))
    inside, _ = soundfile.read(record, dtype="float32")
    engine_ms = delays_ms(inside)
    split = figures["delay"]
    buffer_ms = engine_ms[-1] - split["frame_ms"] - split["codec_ms"]
    device_ms = total_ms[-1] - engine_ms[-1]
    with capsys.disabled():
        print(
            f"\nmouth to ear {total_ms[-1]:.1f} ms = devices {device_ms:.1f} (stated {split['device_ms']:.1f}) + "
            f"frame {split['frame_ms']:.1f} + codec {split['codec_ms']:.1f} + buffer {buffer_ms:.1f}; "
            f"chirp by chirp {', '.join(f'{ms:.1f}' for ms in total_ms)}"
        )
    # What the engine says of itself is what its callback's recording shows, up to late blocks after the last chirp.
    assert -25.0 <= split["buffer_ms"] - buffer_ms <= 45.0
    assert 0.0 < device_ms < 1_000.0 * LONGEST_DELAY_S
    assert figures["lost"] == 0
    assert figures["feedback_found"] == 0
    assert figures["seconds"] >= seconds


def test_a_howl_is_muted_and_so_recorded(room: dict[str, str], tmp_path: Path) -> None:
    record = tmp_path / "howl.wav"
    subprocess.run(["pactl", "set-sink-volume", "lips", "180%"], env=room, timeout=5, check=True)
    try:
        # The loudspeaker is where the microphone hears it.
        printed = subprocess.run(
            [*COMMAND, "--seconds", "2.5", "--json", "--record", str(record)],
            env={**room, "PULSE_SINK": "lips"},
            stdout=subprocess.PIPE,
            timeout=20,
            check=True,
        ).stdout
    finally:
        subprocess.run(["pactl", "set-sink-volume", "lips", "100%"], env=room, timeout=5, check=True)
    figures = json.loads(printed)
    assert figures["feedback_found"] == 1
    assert figures["guard"] == "muted"
    inside, _ = soundfile.read(record, dtype="float32")
    assert float(np.abs(inside[:RATE_HZ, 1]).max()) > 0.1
    assert float(np.abs(inside[-RATE_HZ // 4 :, 1]).max()) == 0.0


def test_the_demo_runs_until_interrupted(room: dict[str, str]) -> None:
    demo = subprocess.Popen(
        [sys.executable, str(DEMO), "3", "0.1"], env=room, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert demo.stdout is not None
        shown = ""
        while "concealed" not in shown:
            shown += demo.stdout.read(1) or pytest.fail(demo.communicate(timeout=5)[1])
        demo.send_signal(signal.SIGINT)
        assert demo.wait(40) == 0  # kernels that nobody has compiled yet may be under way
        assert "kbps" in shown
    finally:
        demo.kill()


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_sound_server_that_restarts_ends_nothing(comes_back: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="sc-") as folder, ExitStack() as servers:
        environment = servers.enter_context(pulse_room(Path(folder)))
        loopback = subprocess.Popen(
            [*COMMAND, "--seconds", "3", "--json"],
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_for(environment, "sink-inputs", "protocol-native.c\tfloat32le")
            time.sleep(0.5)  # the server lists a stream before the program that opens it knows
            subprocess.run(["pactl", "exit"], env=environment, timeout=5, check=True)
            if comes_back:
                servers.enter_context(pulse_room(Path(folder)))
            printed, complaints = loopback.communicate(timeout=25)
        finally:
            loopback.kill()
    if comes_back:
        assert loopback.returncode == 0, complaints
        assert json.loads(printed)["device_restarts"] >= 1
    else:
        assert loopback.returncode == 2
        assert complaints.strip().splitlines()[-1].endswith("was it unplugged?")


def test_devices_are_listed(room: dict[str, str]) -> None:
    listing = subprocess.run(
        [*COMMAND, "--list-devices"], env=room, capture_output=True, text=True, timeout=20, check=True
    ).stdout
    default = [line for line in listing.splitlines() if line.startswith("><")]
    assert len(default) == 1
    assert "default (ALSA)" in default[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--input-device", "no such thing"], "no microphone 'no such thing'"),
        (["--output-device", "77"], "loudspeaker 77"),
    ],
)
def test_a_device_that_is_not_there_is_named(room: dict[str, str], arguments: list[str], says: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], env=room, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.skipif(bool(list(Path("/proc/asound").glob("card*"))), reason="this machine has a sound card")
@pytest.mark.parametrize("argument", ["--seconds=1", "--list-devices"])
def test_a_machine_without_devices_says_what_to_do(room: dict[str, str], argument: str) -> None:
    bare = {**room, "ALSA_CONFIG_PATH": "/usr/share/alsa/alsa.conf", "PULSE_SERVER": "unix:/nowhere"}
    done = subprocess.run([*COMMAND, argument], env=bare, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "there is no" in done.stderr
    assert "libasound2-plugins" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
