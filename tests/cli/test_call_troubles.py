"""What a call says when something is wrong, and sound that comes through a pipe."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("websockets")
pytest.importorskip("aiortc")

from streamcodec.cli import main
from streamcodec.cli.call_runner import CallPlan, CallRunner
from streamcodec.cli.call_screen import Screen, without_library_noise
from streamcodec.cli.call_sound import SoundFormat
from streamcodec.cli.network import run_network
from streamcodec.cli.serve_command import reachable_urls
from streamcodec.errors import StreamcodecError
from streamcodec.net.client import ClientConfig, RelayClient, uses_proxy
from streamcodec.net.relay.server import Relay
from streamcodec.net.trouble import Trouble
from streamcodec.net.wire_meter import WireBytes
from tests.helpers.commands import start
from tests.helpers.relay import certificate

RATE_HZ = 24_000


# -- the screen -----------------------------------------------------------------------------------------------------


def test_c_libraries_are_kept_off_the_screen_and_we_are_not() -> None:
    script = (
        "import os, sys\n"
        "from streamcodec.cli.call_screen import without_library_noise\n"
        "with without_library_noise():\n"
        "    os.write(2, b'ALSA lib pcm.c: underrun\\n')\n"
        "    print('ours', file=sys.stderr)\n"
        "os.write(2, b'after\\n')\n"
        "print('ours again', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["ours", "after", "ours again"]


def test_a_closed_standard_error_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with without_library_noise(), Screen(quiet=False) as screen:
        screen.say("nobody reads this")
        assert not screen.draws


class Said:
    draws = False

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def stay_with(peers: dict[str, Any], *, hears: bool = True, speaks: bool = False) -> tuple[CallRunner, Said]:
    class NoCall:
        failed = None
        talking = may_speak = may_hear = False

        def __init__(self) -> None:
            self.peers = peers
            self.wire_bytes = WireBytes()
            self.plan = None

    said = Said()
    source, sink = object() if speaks else None, object() if hears else None
    plan = CallPlan(source, SoundFormat(RATE_HZ), sink, SoundFormat(RATE_HZ), 1.0, None)  # type: ignore[arg-type]
    return CallRunner(NoCall(), plan, None, None, said), said  # type: ignore[arg-type]


def peer(*troubles: Trouble, received: int = 0, path: str = "relay") -> Any:
    from streamcodec.net.call import PeerStats
    from streamcodec.net.jitter_types import JitterStats
    from streamcodec.net.playout import PlayoutStats
    from streamcodec.net.session import ReceiverStats

    stream = ReceiverStats(JitterStats(received=received), PlayoutStats(), 0, 0, False)
    return PeerStats("Bob", path, None, stream, troubles=troubles)


@pytest.mark.parametrize(
    ("speaks", "hears", "told"), [(True, False, ["nobody hears you"]), (False, True, ["you hear nobody"])]
)
def test_what_a_token_does_not_let_one_do_is_said(speaks: bool, hears: bool, told: list[str]) -> None:
    runner, said = stay_with({}, speaks=speaks, hears=hears)
    runner._say_grants()
    assert len(said.lines) == len(told)
    assert all(words in line for words, line in zip(told, said.lines, strict=True))


def test_each_trouble_is_said_once_when_it_begins_and_when_it_is_over() -> None:
    peers = {"b": peer(Trouble.MUTED, Trouble.WRONG_KEY)}
    runner, said = stay_with(peers)
    runner._look()
    runner._look()
    assert said.lines[0] == "Bob is here"
    assert [line for line in said.lines if "passphrase" in line] == said.lines[2:3]
    assert len(said.lines) == 3
    peers["b"] = peer()
    runner._look()
    assert said.lines[3:] == ["Bob is no longer muted", "Bob can be heard now"]


@pytest.mark.parametrize(
    ("looks", "path"),
    [
        ([("relay", 2), ("direct", 5), ("direct", 9), ("relay", 11), ("relay", 11), ("none", 11)], "direct"),
        ([("direct", 5), ("relay", 6), ("relay", 9)], "relay"),
        ([("relay", 5), ("direct", 5), ("none", 5)], "direct"),
        ([("relay", 5), ("none", 5)], "relay"),
    ],
)
def test_the_path_told_at_the_end_is_the_one_that_packets_came_over(looks: list[tuple[str, int]], path: str) -> None:
    peers: dict[str, Any] = {}
    runner, _ = stay_with(peers)
    for way, received in looks:
        peers["b"] = peer(received=received, path=way)
        runner._look()
    assert runner._paths == {"b": path}


def test_silence_from_beginning_to_end_is_no_success_where_the_cause_is_known() -> None:
    runner, _ = stay_with({"b": peer(Trouble.WRONG_KEY)})
    runner._look()
    with pytest.raises(StreamcodecError, match="nobody could be heard: wrong-key"):
        runner.check_heard()
    for peers in ({"b": peer(Trouble.MUTED)}, {"b": peer(Trouble.WRONG_KEY), "c": peer(received=5)}, {}):
        runner, _ = stay_with(peers)
        runner._look()
        runner.check_heard()


def test_two_passphrases_are_told_at_both_ends(tmp_path: Path, speech_file: Path) -> None:
    """Two processes: lines on both screens, causes in the figures, no exit code of success."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"a passphrase of its own for {name}\n")
    relay = start("serve", "--port", "0")
    assert relay.stdout is not None
    try:
        common = ("r", "--server", relay.stdout.readline().strip(), "--json", "--relay-only", "--seconds", "2")
        speaking = start(
            "call", *common, "--speak-only", "--key-file", str(tmp_path / "one"), "--input", str(speech_file)
        )
        heard = tmp_path / "heard.wav"
        listening = start(
            "call", *common, "--listen-only", "--key-file", str(tmp_path / "two"), "--output", str(heard)
        )
        for process in (speaking, listening):
            assert process.stderr is not None
            while not (line := process.stderr.readline()).startswith("in room"):
                assert line
        for process in (speaking, listening):
            assert process.stderr is not None
            assert "has another passphrase" in process.stderr.readline()
        out, error = speaking.communicate(timeout=40)
        assert json.loads(out)["peers"][0]["troubles"] == ["wrong-key"]
        assert speaking.returncode == 0, error
        out, error = listening.communicate(timeout=40)
        figures = json.loads(out)
        assert figures["peers"][0]["troubles"] == ["wrong-key"]
        assert listening.returncode == 2
        assert error.splitlines()[-1] == "streamcodec: nobody could be heard: wrong-key"
    finally:
        relay.kill()
        relay.communicate()


# -- errors that name their cause -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URLs of a relay without TLS and of one with it."""
    import asyncio

    server, _ = certificate(tmp_path_factory.mktemp("tls"))
    urls: list[str] = []
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with Relay() as plain, Relay(context=server) as secure:
            urls.extend((plain.url, secure.url))
            ready.set()
            while not over.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(5)
    yield urls[0], urls[1]
    over.set()
    thread.join(5)


def why(url: str) -> str:
    async def reach() -> None:
        async with RelayClient(ClientConfig(url, "room"), lambda *_: None):
            pass

    with pytest.raises(StreamcodecError) as caught:
        run_network(reach(), url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tls_on_one_side_only_is_named(relays: tuple[str, str]) -> None:
    plain, secure = relays
    assert f"is it {plain}?" in why(plain.replace("ws://", "wss://"))
    assert f"is it {secure}?" in why(secure.replace("wss://", "ws://"))
    assert "--ca FILE" in why(secure)


def test_a_dead_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://user:hush@127.0.0.1:9")
    for url in ("ws://relay.example", "wss://relay.example"):
        said = why(url)
        assert "through the proxy http://127.0.0.1:9" in said
        assert "Connection refused" in said or sys.platform == "win32"
        assert "hush" not in said
    # A relay on this machine needs no proxy.
    assert "proxy" not in why("ws://127.0.0.1:9")
    assert not uses_proxy("ws://localhost:8080")
    assert not uses_proxy("ws://[::1]:8080")
    assert uses_proxy("ws://10.0.0.1:8080")


@pytest.mark.parametrize(
    "url",
    ["ws://127.0.0.1:port", "ws://127.0.0.1:99999", "ws://127.0.0.1:0", "ws://[::1", "ws://", "http://x", "x", ""],
)
@pytest.mark.parametrize("option", ["--server", "--alternate"])
def test_addresses_that_are_none_are_refused(
    option: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], speech_file: Path
) -> None:
    passphrase = tmp_path / "passphrase"
    call = ["call", "room", "--speak-only", "--server", "ws://host", "--input", str(speech_file)]
    assert main([*call, option, url, "--new-passphrase", str(passphrase)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"streamcodec: {option} must be the address of a relay, ws://HOST:PORT or wss://HOST:PORT")
    assert line.endswith(f"got {url!r}" if url else "got nothing")
    assert not passphrase.exists()


def test_a_relay_that_listens_everywhere_says_where_it_is_found() -> None:
    assert reachable_urls("ws://127.0.0.1:80", "127.0.0.1") == ["ws://127.0.0.1:80"]
    urls = reachable_urls("wss://0.0.0.0:8443", "0.0.0.0")
    assert urls
    for url in urls:
        assert url.startswith("wss://")
        assert url.endswith(":8443")
        assert "0.0.0.0" not in url


def test_serve_says_what_to_hand_to_a_friend() -> None:
    process = start("serve", "--port", "0", "--host", "0.0.0.0")
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        url = process.stdout.readline().strip()
        assert "0.0.0.0" not in url
        lines = [process.stderr.readline() for _ in range(3)]
        assert any(f"streamcodec call ROOM --server {url}" in line for line in lines)
        with socket.create_connection((url.rpartition(":")[0].removeprefix("ws://"), int(url.rpartition(":")[2])), 5):
            pass
    finally:
        process.kill()
        process.communicate()


def test_tokens_with_grants_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from streamcodec.net.relay.tokens import Grants, TokenSigner

    (tmp_path / "secret").write_text("a secret of enough bytes\n")
    common = ["token", "room", "--secret-file", str(tmp_path / "secret")]
    assert main([*common, "--name", "Zoë", "--listen-only", "--minutes", "30", "--seats", "2"]) == 0
    token = capsys.readouterr().out.strip()
    allowed = TokenSigner(b"a secret of enough bytes").verify(token, "room", time.time())
    assert allowed.grants == Grants("Zoë", speak=False, minutes=30.0, seats=2)
    assert main([*common, "--seats", "0"]) == 2
    assert "1 to 255 seats" in capsys.readouterr().err


def test_ssl_errors_are_sentences() -> None:
    async def fail() -> None:
        raise ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")

    with pytest.raises(StreamcodecError, match="does not speak TLS: is it ws://x"):
        run_network(fail(), "wss://x")
