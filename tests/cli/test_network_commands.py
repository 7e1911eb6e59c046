"""The network commands: processes over loopback addresses, secrets, refusals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from numpy.typing import NDArray

from streamcodec.cli import main, serve_command
from streamcodec.cli.network import stop_on_signals
from tests.helpers.commands import finish, has_address, refusal, start

pytest.importorskip("websockets")
pytest.importorskip("aiortc")

SECRET = "correct horse battery staple"
PASSPHRASE = "tell nobody of the river"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    return tmp_path


@pytest.fixture
def relay(secrets: Path) -> Iterator[str]:
    process = start("serve", "--port", "0", "--secret-file", str(secrets / "secret"))
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("ws://127.0.0.1:")
    yield url
    process.send_signal(signal.SIGINT)
    out, error = finish(process)
    assert SECRET not in out + error
    assert "Traceback" not in error


def token_file(secrets: Path, room: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["token", room, "--secret-file", str(secrets / "secret"), "--hours", "1", "--seats", "4"]) == 0
    (secrets / "token").write_text(capsys.readouterr().out)
    return str(secrets / "token")


def similarity(sound: NDArray[np.float64], heard: NDArray[np.float64]) -> float:
    """Highest correlation at any lag."""
    size = len(sound) + len(heard)
    correlation = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sound, size)), size)
    return float(np.abs(correlation).max() / (np.linalg.norm(sound) * np.linalg.norm(heard)))


def test_two_processes_talk(relay: str, secrets: Path, speech_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = token_file(secrets, "standup", capsys)
    sound, rate_hz = soundfile.read(speech_file)
    voices = {"Ann": sound[: 2 * rate_hz], "Bob": sound[-2 * rate_hz :]}
    common = ("standup", "--server", relay, "--token-file", token, "--key-file", str(secrets / "passphrase"))
    processes = {}
    for name, voice in voices.items():
        soundfile.write(secrets / f"{name}.wav", voice, rate_hz)
        files = ("--input", str(secrets / f"{name}.wav"), "--output", str(secrets / f"{name}-heard.wav"))
        rate = ("--wire-kbps", "24") if name == "Bob" else ()
        processes[name] = start("call", *common, "--relay-only", "--json", "--name", name, *files, *rate)
    for name, other in (("Ann", "Bob"), ("Bob", "Ann")):
        out, error = finish(processes[name])
        for hidden in (PASSPHRASE, Path(token).read_text().strip()):
            assert hidden not in out + error
        figures = json.loads(out)
        assert [peer["name"] for peer in figures["peers"]] == [other]
        assert figures["peers"][0]["received"] >= 100
        assert figures["peers"][0]["path"] == "relay"
        if name == "Ann":
            # What is said once the other has gone goes to nobody.
            assert 100 <= figures["sent"]["packets"] <= 151
            assert 2.0 < figures["sent"]["payload_kbps"] < 7.0 < figures["sent"]["wire_kbps"]
            assert figures["sent"]["plan"] is None
        else:
            # Longer packets, so that more of what goes over the wire is sound.
            assert figures["sent"]["plan"]["packet_ms"] > 20
            assert figures["sent"]["wire_kbps"] < 30.0
            assert "kbps on the wire" in error
        assert figures["received"]["wire_kbps"] > figures["sent"]["payload_kbps"]
        heard, heard_hz = soundfile.read(secrets / f"{name}-heard.wav")
        assert heard_hz == rate_hz
        assert similarity(voices[other], heard) > 0.3 > similarity(voices[name], heard)


def test_one_way_ends_with_the_sender(
    relay: str, secrets: Path, speech_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The listener starts before there is anything, hears it, and leaves once the sender is interrupted."""
    token = token_file(secrets, "radio", capsys)
    common = ("radio", "--server", relay, "--token-file", token, "--relay-only")
    heard_file = secrets / "heard.wav"
    listening = start("call", *common, "--listen-only", "--output", str(heard_file))
    sending = start("call", *common, "--speak-only", "--name", "Ann", "--input", str(speech_file))
    assert sending.stderr is not None
    while "is here" not in sending.stderr.readline():
        assert sending.poll() is None
    time.sleep(1.5)
    sending.send_signal(signal.SIGINT)
    out, error = finish(sending)
    assert "kbps payload" in out
    assert "Traceback" not in error
    out, error = finish(listening)
    assert "Ann has left" in error
    assert "Traceback" not in error
    assert np.abs(soundfile.read(heard_file)[0]).max() > 0.05


def packets_found(sound: NDArray[np.int16], heard: NDArray[np.int16], packet: int) -> int:
    """How many packets of ``sound`` are somewhere in ``heard``, sample for sample: only time may lie between them."""
    flat = heard.tobytes()
    return sum(sound[start : start + packet].tobytes() in flat for start in range(0, len(sound) - packet, packet))


def blocks_heard(sound: NDArray[np.float64], heard: NDArray[np.float64], block: int) -> int:
    """How many blocks of ``sound`` are somewhere in ``heard``, nearly as they were: time may lie between them."""
    blocks = [sound[start : start + block] for start in range(0, len(sound) - block + 1, block)]
    return sum(_closest(one, heard) > 0.9 for one in blocks)


def _closest(block: NDArray[np.float64], heard: NDArray[np.float64]) -> float:
    """Highest normalised correlation of a block with any part of ``heard`` of its length."""
    products = scipy.signal.correlate(heard, block, mode="valid", method="fft")
    sums = np.cumsum(np.concatenate([[0.0], heard**2]))
    energy = sums[len(block) :] - sums[: -len(block)]
    return float((products / np.sqrt(np.maximum(energy, 1.0) * (block @ block))).max())


def test_waveform_tiers_go_one_way(
    relay: str, secrets: Path, fixtures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stereo music in packets longer than a datagram, over the websocket and (where there is an address other than
    loopback) over WebRTC, to listeners who were told nothing but where."""
    mono, rate_hz = soundfile.read(fixtures / "music_44k.flac", dtype="int16")
    music = np.stack([mono, np.roll(mono, 500) // 2], axis=1)[: 2 * rate_hz]
    noise = np.random.default_rng(1).integers(-2_000, 2_000, music.shape, dtype=np.int16)
    sounds = {"lossless": music // 2 + noise, "near-lossless": music}
    direct = "direct" if has_address() else "relay"
    ways = {"a": ("lossless", "relay"), "b": ("lossless", direct), "c": ("near-lossless", direct)}
    started = {}
    for room, (tier, path) in ways.items():
        soundfile.write(secrets / f"{tier}.flac", sounds[tier], rate_hz)
        assert main(["token", room, "--secret-file", str(secrets / "secret"), "--hours", "1", "--seats", "4"]) == 0
        (secrets / f"token-{room}").write_text(capsys.readouterr().out)
        common = [room, "--server", relay, "--token-file", str(secrets / f"token-{room}"), "--json"]
        common += ["--relay-only"] if path == "relay" else []
        heard = ("--output", str(secrets / f"{room}.flac"), "--rate", str(rate_hz), "--channels", "2")
        coding = ("--tier", tier, *(("--ratio", "6") if tier == "near-lossless" else ()))
        started[room] = (
            start("call", *common, "--listen-only", *heard, "--seconds", "4"),
            start(
                "call", *common, "--speak-only", "--name", "Ann", "--input", str(secrets / f"{tier}.flac"), *coding
            ),
        )
    for room, (tier, path) in ways.items():
        listening, sending = started[room]
        out, error = finish(listening)
        assert "converted here" not in error
        sent = json.loads(finish(sending)[0])["sent"]
        assert sent["datagrams"] > 1.9 * sent["packets"] if tier == "lossless" else 80 < sent["packets"] < 95
        (peer,) = json.loads(out)["peers"]
        assert (peer["path"], peer["tier"]) == (path, tier.replace("-", "_"))
        # The listener may come while the sender is speaking already.
        assert peer["received"] > 50
        assert peer["lost"] + peer["incomplete"] <= 0.1 * peer["received"]
        played, heard_hz = soundfile.read(secrets / f"{room}.flac", dtype="int16")
        assert (heard_hz, played.shape[1]) == (rate_hz, 2)
        sound = sounds[tier]
        if tier == "lossless":
            assert packets_found(sound, played, rate_hz // 50) > 20
        else:
            assert blocks_heard(sound[:, 0].astype(float), played[:, 0].astype(float), rate_hz // 5) > 4


def test_a_wrong_token_is_refused_in_one_line(
    relay: str, secrets: Path, speech_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = token_file(secrets, "another", capsys)
    assert (
        main(["call", "radio", "--speak-only", "--server", relay, "--token-file", token, "--input", str(speech_file)])
        == 2
    )
    error = capsys.readouterr().err.strip()
    assert "the token is for another room" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["call", "room", "--server", "http://nowhere", "--input", "SPEECH"], "ws://HOST:PORT"),
        (
            ["call", "room", "--speak-only", "--server", "ws://127.0.0.1:1", "--input", "SPEECH"],
            "cannot reach ws://127.0.0.1:1",
        ),
        (["call", "no room", "--speak-only", "--server", "ws://127.0.0.1:1", "--input", "SPEECH"], "a room is named"),
        (
            ["call", "room", "--speak-only", "--server", "ws://127.0.0.1:1", "--input", "nowhere.wav"],
            "no file nowhere.wav",
        ),
        (["call", "room", "--listen-only", "--server", "ws://127.0.0.1:1", "--output", "a.xyz"], "cannot write"),
        (
            ["call", "r", "--speak-only", "--server", "ws://127.0.0.1:1", "--key-file", "none", "--input", "SPEECH"],
            "none",
        ),
        (
            ["call", "r", "--speak-only", "--server", "wss://127.0.0.1:1", "--ca", "SPEECH", "--input", "SPEECH"],
            "no certificate",
        ),
        (
            ["call", "r", "--speak-only", "--server", "ws://127.0.0.1:1", "--input", "SPEECH", "--wire-kbps", "3"],
            "7 to 200 kbps",
        ),
        (
            ["call", "r", "--speak-only", "--server", "ws://127.0.0.1:1", "--tier", "lossless", "--wire-kbps", "90"],
            "the neural tier",
        ),
        (
            ["call", "r", "--speak-only", "--server", "ws://127.0.0.1:1", "--key-file", "EASY", "--input", "SPEECH"],
            "too easy to guess",
        ),
        (["call", "r", "--server", "ws://127.0.0.1:1", "--new-passphrase", "EASY", "--input", "SPEECH"], "exists"),
        (
            ["call", "r", "--server", "ws://h", "--listen-only", "--input", "SPEECH"],
            "nothing is sent: leave out --input",
        ),
        (["call", "r", "--server", "ws://h", "--listen-only", "--wire-kbps", "20"], "leave out --wire-kbps or"),
        (["call", "r", "--server", "ws://h", "--speak-only", "--output", "a.wav"], "nothing is heard"),
        (["serve", "--secret-file", "SHORT"], "at least 16 bytes"),
        (["serve", "--port", "0", "--cert", "SHORT"], "do not make a certificate"),
        (["serve", "--port", "0", "--key", "SHORT"], "--key needs --cert"),
        (["serve", "--port", "0", "--host", "203.0.113.1"], "cannot listen on port 0 of 203.0.113.1"),
        (
            ["serve", "--port", "0", "--metrics", "203.0.113.1:0"],
            "cannot listen on port 0 of 203.0.113.1",
        ),
        (["call", "r", "--server", "ws://h", "--relay-only", "--turn-only", "--turn", "h"], "give one of them"),
        (
            ["call", "r", "--server", "ws://h", "--turn", "h", "--turn-user", "ann"],
            "--turn-password-file go together",
        ),
        (["serve", "--port", "0", "--room-peers", "0"], "room_peers"),
        (["token", "room"], "secret-file"),
        (["token", "no room", "--secret-file", "LONG"], "a room is named"),
    ],
)
def test_refusals_are_one_clear_line_and_exit_code_two(
    arguments: list[str],
    says: str,
    speech_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("short\n")
    (tmp_path / "long").write_text(SECRET)
    (tmp_path / "easy").write_text("letmein")
    names = {"SPEECH": str(speech_file), "SHORT": "short", "LONG": "long", "EASY": "easy"}
    error = refusal([names.get(argument, argument) for argument in arguments], capsys)
    assert says in error


def test_a_new_passphrase_is_shown_and_kept_for_its_owner_alone(
    speech_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "passphrase"
    arguments = [
        "call",
        "r",
        "--server",
        "ws://127.0.0.1:1",
        "--new-passphrase",
        str(kept),
        "--input",
        str(speech_file),
    ]
    assert main(arguments) == 2
    passphrase = kept.read_text().strip()
    assert len(passphrase.split()) == 5
    assert f"passphrase: {passphrase}\n" in capsys.readouterr().err
    assert kept.stat().st_mode & 0o077 == 0 or sys.platform == "win32"
    assert main([*arguments, "--key-file", str(kept)]) == 2
    assert "not both" in capsys.readouterr().err
    assert kept.read_text().strip() == passphrase


def test_a_backbone_that_is_not_there_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nats")
    monkeypatch.setattr(serve_command, "START_TIMEOUT_S", 0.5)
    error = refusal(["serve", "--port", "0", "--nats", "nats://user:hidden@127.0.0.1:1"], capsys)
    assert "does not answer" in error
    assert "hidden" not in error


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
@pytest.mark.parametrize("ignored", [False, True])
def test_the_end_of_the_terminal_is_a_polite_end_unless_started_with_nohup(ignored: bool) -> None:
    async def told() -> bool:
        stop = stop_on_signals()
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.05)
        return stop.is_set()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        assert asyncio.run(told()) is not ignored
    finally:
        signal.signal(signal.SIGHUP, before)
