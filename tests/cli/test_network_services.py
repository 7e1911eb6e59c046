"""Calls from the command line beside the real parts of a deployment: coturn, NATS, relays that die and come back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.helpers.commands import finish, has_address, start
from tests.helpers.relay import free_port

pytest.importorskip("aiortc")

RATE_HZ = 24_000
SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
TURN_SERVER = shutil.which("turnserver", path=SBIN)
NATS_SERVER = shutil.which("nats-server", path=SBIN)
PASSWORD = "hush hush"


@contextmanager
def running(*command: str, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when its TCP port answers to the end of the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=log.parent, stdout=file, stderr=file)
    try:
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def relay(*arguments: str, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``streamcodec serve`` and its URL."""
    process = start("serve", "--port", str(port), *arguments)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def voice(path: Path, seconds: float, pitch_hz: float) -> str:
    """Something without pauses, so that every gap is the network's."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    sound = sum(np.sin(2 * np.pi * k * pitch_hz * time_s + k * k) / k for k in range(1, 9))
    soundfile.write(path, 0.1 * sound, RATE_HZ)
    return str(path)


def call(folder: Path, name: str, seconds: float, *arguments: str) -> subprocess.Popen[str]:
    """One side of a scripted call, from ``name.wav`` to ``name-heard.wav``."""
    pitch_hz = {"Ann": 140.0, "Bob": 190.0}[name]
    files = (
        "--input",
        voice(folder / f"{name}.wav", seconds, pitch_hz),
        "--output",
        str(folder / f"{name}-heard.wav"),
    )
    return start("call", "room", "--name", name, "--json", *files, *arguments)


def figures(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a call says at its end; one other person was there all along."""
    result: dict[str, Any] = json.loads(finish(process)[0])
    assert len(result["peers"]) == 1
    return result


def recorded_s(path: Path) -> float:
    """How long a recording is by now; it has a name of its own beside until it is whole."""
    sizes = [part.stat().st_size for part in path.parent.glob(f"*{path.name}*")]
    return max(sizes, default=0) / (2 * RATE_HZ)


def wait_until_heard(path: Path, seconds: float) -> None:
    """Return once a recording has grown to this length."""
    deadline_s = time.monotonic() + 30
    while recorded_s(path) < seconds:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


class UdpTap:
    """Between one client at a time and a UDP server, counting what the client asks."""

    def __init__(self, target: int) -> None:
        self.asked = 0
        self._target = ("127.0.0.1", target)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        client = None
        while True:
            data, source = self._socket.recvfrom(2_048)
            if source == self._target:
                self._socket.sendto(data, client or source)
            else:
                client = source
                self.asked += 1
                self._socket.sendto(data, self._target)


@pytest.mark.skipif(TURN_SERVER is None, reason="coturn is not installed; .ci/packages installs it")
@pytest.mark.skipif(not has_address(), reason="direct lines need an address other than loopback")
def test_a_call_over_turn_alone_to_somebody_with_stun(tmp_path: Path) -> None:
    """Ann may use nothing but what coturn relays, Bob asks it for his address; no packet goes through our relay."""
    assert TURN_SERVER is not None
    (tmp_path / "password").write_text(PASSWORD)
    port = free_port()
    options = (
        "--no-cli --no-tls --no-dtls --lt-cred-mech --allow-loopback-peers --realm=streamcodec.test --verbose "
        "--relay-ip=127.0.0.1 --min-port=49401 --max-port=49600 --log-file=stdout --simple-log"
    )
    own = (
        f"--user=ann:{PASSWORD}",
        f"--listening-port={port}",
        f"--pidfile={tmp_path}/pid",
        f"--userdb={tmp_path}/db",
    )
    log = tmp_path / "log"
    turn = ("--turn", f"127.0.0.1:{port}", "--turn-user", "ann", "--turn-password-file", str(tmp_path / "password"))
    with running(TURN_SERVER, "-n", *options.split(), *own, port=port, log=log), relay() as (_, url):
        tap = UdpTap(port)
        ann = call(tmp_path, "Ann", 2.0, "--server", url, *turn, "--turn-only")
        bob = call(tmp_path, "Bob", 2.0, "--server", url, "--stun", f"127.0.0.1:{tap.port}")
        for process in (ann, bob):
            out, error = finish(process)
            (peer,) = json.loads(out)["peers"]
            assert peer["path"] == "direct"
            assert peer["received"] > 50
            assert PASSWORD not in out + error
    said = log.read_text(errors="replace")
    assert "ALLOCATE processed, success" in said
    assert "CHANNEL_BIND processed, success" in said
    assert tap.asked > 0


def test_a_wrong_turn_setting_is_one_line(tmp_path: Path) -> None:
    process = start(
        "call", "room", "--server", "ws://127.0.0.1:1", "--turn-only", "--output", str(tmp_path / "a.wav")
    )
    _, error = process.communicate(timeout=40)
    assert process.returncode == 2
    assert error.strip() == "streamcodec: --turn-only needs --turn HOST:PORT"


def most_packets(folder: Path) -> float:
    """How many packets either side can have had by now. How long a gap is, bench/net/reconnect.py measures: here
    processes wait for a core longer than for packets."""
    return 50 * max(recorded_s(folder / f"{name}-heard.wav") for name in ("Ann", "Bob")) + 10


@pytest.mark.skipif(NATS_SERVER is None, reason="nats-server is not installed; .ci/packages installs it")
def test_two_relays_share_a_call_and_one_is_killed(tmp_path: Path) -> None:
    """Ann is at one relay, Bob at the other. Ann's is killed; she goes on at Bob's, and both hear on."""
    assert NATS_SERVER is not None
    port = free_port()
    nats = f"nats://127.0.0.1:{port}"
    with ExitStack() as opened:
        opened.enter_context(
            running(NATS_SERVER, "-a", "127.0.0.1", "-p", str(port), port=port, log=tmp_path / "log")
        )
        one, one_url = opened.enter_context(relay("--nats", nats))
        _, two_url = opened.enter_context(relay("--nats", nats))
        ann = call(tmp_path, "Ann", 6.0, "--relay-only", "--server", one_url, "--alternate", two_url)
        bob = call(tmp_path, "Bob", 6.0, "--relay-only", "--server", two_url, "--alternate", one_url)
        wait_until_heard(tmp_path / "Ann-heard.wav", 2.0)
        wait_until_heard(tmp_path / "Bob-heard.wav", 2.0)
        before = most_packets(tmp_path)
        one.kill()
        for process in (ann, bob):
            peer = figures(process)["peers"][0]
            assert peer["path"] == "relay"
            assert peer["received"] > before + 50


def test_a_call_goes_on_after_its_relays_return(tmp_path: Path) -> None:
    """Two processes, one relay, killed without a word and started again at its address; nobody does anything."""
    port = free_port()
    with relay(port=port) as (first, url):
        sides = {name: call(tmp_path, name, 10.0, "--server", url, "--relay-only") for name in ("Ann", "Bob")}
        for name in sides:
            wait_until_heard(tmp_path / f"{name}-heard.wav", 2.0)
        before = most_packets(tmp_path)
        first.send_signal(signal.SIGKILL)
        with relay(port=port) as (_, again):
            assert again == url
            for process in sides.values():
                result = figures(process)
                assert result["peers"][0]["path"] == "relay"
                assert result["peers"][0]["received"] > before + 50
                assert result["seconds"] > 10.0
