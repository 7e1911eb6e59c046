"""The running loopback on a stream that a test drives: threads, failures, meter, what is said without PortAudio."""

from __future__ import annotations

import builtins
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from streamcodec.cli import main
from streamcodec.live import DeviceError, Loopback, LoopbackConfig, LoopbackEngine, lasting_stream
from streamcodec.live import devices as devices_module
from streamcodec.live import loopback as loopback_module
from streamcodec.live.feedback_guard import ADVICE, GuardState
from streamcodec.live.meter import meter
from streamcodec.live.ring_buffer import Samples

Callback = Callable[[Samples, Samples], None]


class FakeStream:
    """Calls back from a thread of its own, as fast as the codec answers, for ``blocks`` blocks."""

    captured = 0.01

    def __init__(self, callback: Callback, blocks: int) -> None:
        self.active = True
        self.closed = False
        self.latency = (0.02, 0.03)
        self._callback = callback
        self._blocks = blocks
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def abort(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def close(self) -> None:
        assert not self._thread.is_alive()
        self.closed = True

    def _run(self) -> None:
        captured, played = np.full((480, 1), self.captured, np.float32), np.zeros((480, 2), np.float32)
        for _ in range(self._blocks):
            self._callback(captured, played)
            if self._closing.wait(0.002):
                return


@pytest.fixture
def fake_stream(monkeypatch: pytest.MonkeyPatch) -> list[FakeStream]:
    opened: list[FakeStream] = []

    def open_duplex(rate_hz: int, block: int, callback: Callback, *devices: object) -> FakeStream:
        assert (rate_hz, block, devices) == (48_000, 480, (None, None))
        opened.append(FakeStream(callback, 400))
        return opened[-1]

    monkeypatch.setattr(loopback_module, "open_duplex", open_duplex)
    monkeypatch.setattr(devices_module, "check_devices", lambda *_, **__: None)
    return opened


def test_it_runs_on_its_threads_and_leaves_none_behind(fake_stream: list[FakeStream]) -> None:
    before, interval_s = threading.active_count(), sys.getswitchinterval()
    with Loopback() as loopback:
        loopback.wait(0.5)
        assert sys.getswitchinterval() < interval_s
    assert loopback.stats.seconds >= 0.5
    assert loopback.stats.packets >= 25
    assert loopback.stats.delay.device_ms == 50.0
    assert threading.active_count() == before
    assert sys.getswitchinterval() == interval_s
    assert fake_stream[0].closed


def test_a_device_that_does_not_start_leaves_nothing_behind(
    fake_stream: list[FakeStream], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(stream: FakeStream) -> None:
        raise DeviceError("cannot be started")

    monkeypatch.setattr(FakeStream, "start", refuse)
    before, interval_s = threading.active_count(), sys.getswitchinterval()
    with pytest.raises(DeviceError, match="started"), Loopback(record=tmp_path / "a.wav"):
        pass
    assert fake_stream[0].closed
    assert threading.active_count() == before
    assert sys.getswitchinterval() == interval_s


def test_a_stream_that_the_device_ends_is_opened_again(fake_stream: list[FakeStream]) -> None:
    with Loopback() as loopback:
        fake_stream[0].abort()
        fake_stream[0].active = False
        before_s = loopback.engine.captured_s
        loopback.wait(1.0)
        assert loopback.engine.captured_s - before_s >= 1.0
    assert loopback.stats.device_restarts == 1
    assert [stream.closed for stream in fake_stream] == [True, True]


def test_a_device_that_is_gone_or_stalls_is_reported(
    fake_stream: list[FakeStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> FakeStream:
        raise DeviceError("no such device")

    with monkeypatch.context() as patched, pytest.raises(DeviceError, match="unplugged"):  # noqa: PT012
        patched.setattr(lasting_stream, "PAUSES_S", (0.0, 0.01))
        with Loopback() as loopback:
            patched.setattr(loopback_module, "open_duplex", refuse)
            fake_stream[0].abort()
            fake_stream[0].active = False
            loopback.wait(60.0)
    assert fake_stream[0].closed
    monkeypatch.setattr(loopback_module, "STALLED_S", 0.3)
    with pytest.raises(DeviceError, match="given nothing"), Loopback() as loopback:
        loopback.wait(60.0)


def test_a_failure_of_the_codec_reaches_who_waits(
    fake_stream: list[FakeStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise RuntimeError("broken codec")

    with pytest.raises(RuntimeError, match="broken codec"), Loopback() as loopback:  # noqa: PT012
        monkeypatch.setattr(loopback.engine, "process", fail)
        loopback.wait(60.0)


def test_the_command_prints_figures(fake_stream: list[FakeStream], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loopback", "--seconds", "0.4", "--loss", "0.2", "--burst", "2", "--redundancy", "auto"]) == 0
    printed = capsys.readouterr()
    assert "headphones" in printed.err
    assert "kbps" in printed.out
    assert "recovered" in printed.out
    assert "underruns" in printed.out
    assert len(printed.out.strip().splitlines()) == 1


def test_a_microphone_that_gives_no_numbers_is_one_line(
    fake_stream: list[FakeStream], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FakeStream, "captured", np.nan)
    assert main(["loopback", "--seconds", "0.1", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["not_finite"] >= 4_800
    (line,) = printed.err.strip().splitlines()
    assert line.startswith("streamcodec: what the microphone gives holds 480 sample(s) that are no finite numbers")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rate", "12345"], "the sample rate must be one of"),
        (["--kbps", "500"], "1 to 24 kbps, got 500"),
        (["--loss", "0.9"], "bursts longer"),
        (["--buffer", "900"], "--buffer must be from 0 to 120 ms"),
        (["--record", "no/such/folder/a.wav"], "cannot write"),
    ],
)
def test_bad_settings_are_one_clear_line(
    fake_stream: list[FakeStream], arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["loopback", "--seconds", "1", *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert says in error[0]


@pytest.mark.parametrize(
    "arguments",
    [["--jitter", "-1"], ["--jitter", "2000"], ["--loss", "2"], ["--seconds", "0"], ["--redundancy", "9"]],
)
def test_bad_arguments_exit_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["loopback", *arguments])
    assert stop.value.code == 2


def test_the_meter_shows_every_figure_and_the_advice() -> None:
    stats = LoopbackEngine(LoopbackConfig()).stats(50.0)
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(meter(replace(stats, guard=GuardState.MUTED, mic_dbfs=-3.0, device_restarts=2)))
    shown = console.export_text()
    for word in (
        "microphone",
        "heard",
        "payload",
        "wire",
        "devices 50",
        "p99",
        "budget 1 ms",
        "concealed",
        "restarted 2x",
        ADVICE,
    ):
        assert word in shown


def test_without_sounddevice_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["loopback", "--seconds", "1"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert 'pip install "streamcodec[live]"' in error[0]


def test_without_portaudio_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real_import = builtins.__import__

    def no_library(name: str, *rest: object, **named: object) -> object:
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return real_import(name, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_library)
    assert main(["loopback", "--list-devices"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert "libportaudio2" in error[0]


def test_the_live_folder_imports_without_sounddevice() -> None:
    code = "import sys; sys.modules['sounddevice'] = None; import streamcodec.live, streamcodec.live.meter"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_summary_tells_of_the_loopback_while_it_ran(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once the device has ended buffers run empty: the meter said 196 ms and the summary 136."""
    import streamcodec.live
    from streamcodec.cli import loopback_command
    from streamcodec.live.engine import DelaySplit

    running = replace(LoopbackEngine().stats(), delay=DelaySplit(50.0, 20.0, 26.0, 100.0))

    class Ended:
        def __init__(self, *_: object, **__: object) -> None:
            self.stats = running

        def __enter__(self) -> Ended:
            return self

        def __exit__(self, *_: object) -> None:
            self.stats = replace(running, delay=DelaySplit(50.0, 20.0, 26.0, 40.0))

    monkeypatch.setattr(devices_module, "check_devices", lambda *_, **__: None)
    monkeypatch.setattr(streamcodec.live, "Loopback", Ended)
    monkeypatch.setattr(loopback_command, "watch", lambda *_, **__: None)
    assert main(["loopback", "--seconds", "1"]) == 0
    assert "delay 196 ms" in capsys.readouterr().out
