"""A PulseAudio of its own for a test: a room made of a null sink, in which lips, ear and microphone are told apart.

The room has two channels. What is played on ``lips`` sounds on the left, and only that is heard by the microphone
``mouth``; what is played on ``ear`` sounds on the right. A recording of the room has both, sample by sample.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("pulseaudio", "pactl", "parec", "paplay")
ALSA_PLUGIN = "*/alsa-lib/libasound_module_pcm_pulse.so"
SETUP = """
load-module module-native-protocol-unix socket={folder}/native auth-anonymous=1
load-module module-null-sink sink_name=room rate=48000 channels=2 channel_map=front-left,front-right
load-module module-remap-sink sink_name=lips master=room channels=1 channel_map=mono master_channel_map=front-left \
remix=no
load-module module-remap-sink sink_name=ear master=room channels=1 channel_map=mono master_channel_map=front-right \
remix=no
load-module module-remap-source source_name=mouth master=room.monitor channels=1 channel_map=mono \
master_channel_map=front-left remix=no
set-default-sink ear
set-default-source mouth
"""
ALSA_SETUP = """
pcm.!default { type pulse }
ctl.!default { type pulse }
"""
START_TIMEOUT_S = 8.0


def what_is_missing() -> str:
    """Why these tests cannot run here; empty where they can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if ctypes.util.find_library("portaudio") is None:
        missing.append("PortAudio")
    if not any(Path(root).glob(ALSA_PLUGIN) for root in ("/usr/lib", "/usr/lib64")):
        missing.append("ALSA's pulse plugin")
    if not Path("/usr/share/alsa/alsa.conf").is_file():
        missing.append("ALSA's configuration")
    return f"not installed: {', '.join(missing)}; .ci/packages installs them" if missing else ""


@contextmanager
def pulse_room(folder: Path) -> Iterator[dict[str, str]]:
    """Start the room and yield the environment in which programs find it; it ends with the block."""
    folder.chmod(0o700)
    (folder / "room.pa").write_text(SETUP.format(folder=folder))
    (folder / "asound.conf").write_text(ALSA_SETUP)
    environment = {
        **os.environ,
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PULSE_RUNTIME_PATH": str(folder / "pulse"),
        "PULSE_SERVER": f"unix:{folder}/native",
        "ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{folder}/asound.conf",
    }
    options = ("--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes", "--realtime=no")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            ["pulseaudio", "-n", "-F", str(folder / "room.pa"), *options, "--high-priority=no"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(environment, "sources", "mouth")
        yield environment
    finally:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(5)


def listed(environment: dict[str, str], kind: str) -> str:
    """What ``pactl`` lists of a kind, one a line."""
    return subprocess.run(
        ["pactl", "list", "short", kind], env=environment, capture_output=True, text=True, timeout=5, check=False
    ).stdout


def wait_for(environment: dict[str, str], kind: str, name: str) -> None:
    """Return once ``pactl`` lists something with this name; raises TimeoutError."""
    until_s = time.monotonic() + START_TIMEOUT_S
    while name not in listed(environment, kind):
        if time.monotonic() > until_s:
            raise TimeoutError(f"PulseAudio lists no {kind} {name}")
        time.sleep(0.05)
