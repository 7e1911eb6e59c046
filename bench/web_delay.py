"""Mouth to ear with browsers: from the loudspeaker before one microphone to the recording of another's loudspeaker.

``python -m bench.web_delay`` plays chirps into a room of PulseAudio: a null sink whose left channel is all that the
microphone hears and whose right channel is all that the listener's loudspeaker plays. A recording of the room has both
on one clock, sample by sample, so no browser's word for a time is taken. Between them stand everything that a call
has: sound server, capture, coding, the direct line on this machine, jitter buffer, playout. Page to page, Python to
page, page to Python and, for comparison, Python to Python.

Every chirp is a glide of its own, so that none can be taken for another; what does not stand out from everything else
in the second after it is counted as rejected. As a check of the detector each stretch is also searched for a chirp that
is not in it. Writes ``bench/results/web_delay.json``. Needs Chromium, playwright, PulseAudio and its ALSA plugin.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import soundfile
from numpy.typing import NDArray

from tests.helpers.pulse import pulse_room, what_is_missing

Samples = NDArray[np.float32]

RESULTS = Path(__file__).parent / "results" / "web_delay.json"
RATE_HZ = 48_000
CHIRP_S = 0.3
EVERY_S = 1.0
LONGEST_S = 0.6
"""Delays up to this are looked for."""
LEAST_LIKENESS = 0.35
"""Normalised correlation below which a chirp counts as not found."""
LEAST_DISTINCTION = 1.25
"""The best place must be so many times as good as the best of all that are not beside it."""
BESIDE_S = 0.03
"""Side lobes of a chirp reach so far."""
SILENCE = 1e-6
"""Power below which sound is taken for none."""
QUIET = 0.05
"""So is what has this share of the loudest's power: an envelope would stand out beside nothing."""
PACKET_MS = 20
SETTLE_S = 12.0
WAYS = (("page", "page"), ("python", "page"), ("page", "python"), ("python", "python"))
STREAMCODEC = (sys.executable, "-m", "streamcodec")


def chirp(number: int) -> Samples:
    """A voiced glide like no other's: two fundamentals from 90 to 260 Hz, twelve harmonics, faded in and out."""
    rng = np.random.default_rng(1_000 + number)
    ratio = rng.uniform(1.3, 2.2)
    low = rng.uniform(90.0, 260.0 / ratio)
    ends = (low, low * ratio) if number % 2 else (low * ratio, low)
    time_s = np.arange(round(CHIRP_S * RATE_HZ)) / RATE_HZ
    bend = rng.uniform(0.6, 1.6)
    fundamental = ends[0] + (ends[1] - ends[0]) * (time_s / CHIRP_S) ** bend
    phase = 2 * np.pi * np.cumsum(fundamental) / RATE_HZ
    sound = sum(np.sin(k * phase + rng.uniform(0, 2 * np.pi)) / k**0.7 for k in range(1, 13))
    sound = sound * scipy.signal.windows.tukey(len(time_s), 0.3)
    return np.asarray(0.5 * sound / np.abs(sound).max(), np.float32)


def chirps(count: int, rng: np.random.Generator) -> tuple[Samples, list[int]]:
    """One each second, up to two frames after the full second so that none keeps step with packets; where they begin."""
    every = round(EVERY_S * RATE_HZ)
    sound = np.zeros((count + 1) * every, np.float32)
    starts = [k * every + int(rng.integers(0, RATE_HZ // 25)) for k in range(count)]
    for number, start in enumerate(starts):
        sound[start : start + len(chirp(number))] = chirp(number)
    return sound, starts


def find(heard: NDArray[np.floating[Any]], number: int) -> int | None:
    """Where in a stretch a chirp begins, by matched filter; None where nothing stands out.

    The envelope of the correlation is taken: a codec need not keep phases.
    """
    pattern = chirp(number).astype(np.float64)
    if len(heard) < len(pattern):
        return None
    product = scipy.signal.correlate(heard.astype(np.float64), pattern, mode="valid", method="fft")
    power = np.concatenate(([0.0], np.cumsum(np.square(heard, dtype=np.float64))))
    energy = power[len(pattern) :] - power[: -len(pattern)]
    energy = np.maximum(energy, max(QUIET * float(energy.max()), SILENCE * len(pattern)))
    likeness = np.abs(scipy.signal.hilbert(product)) / np.sqrt((pattern @ pattern) * energy)
    best = int(np.argmax(likeness))
    others = np.ones(len(likeness), bool)
    beside = round(BESIDE_S * RATE_HZ)
    others[max(0, best - beside) : best + beside] = False
    distinct = likeness[best] >= LEAST_DISTINCTION * likeness[others].max(initial=0.0)
    return best if likeness[best] >= LEAST_LIKENESS and distinct else None


def delays_ms(
    spoken: NDArray[np.floating[Any]], heard: NDArray[np.floating[Any]], starts: Sequence[int]
) -> tuple[list[float], int, int]:
    """Of each chirp, in one recording: spoken about a common lag after its place in ``starts``.

    Returns the delays, how many chirps were rejected, and how many were found that are not there.
    """
    first = find(spoken[: starts[0] + 8 * RATE_HZ], 0)
    if first is None:
        raise ValueError("the first chirp is not in the recording: nothing was played to the microphone")
    lag = first - starts[0]
    length, window, slack = round(CHIRP_S * RATE_HZ), round(LONGEST_S * RATE_HZ), RATE_HZ // 20
    found: list[float] = []
    rejected = invented = 0
    for number, start in enumerate(starts):
        begin = lag + start - slack
        if begin < 0 or begin + slack + window + length > len(heard):
            continue
        mark = find(spoken[begin : begin + 2 * slack + length], number)
        if mark is None:
            rejected += 1
            continue
        at = begin + mark
        stretch = heard[at : at + window + length]
        place = find(stretch, number)
        invented += find(stretch, (number + len(starts) // 2) % len(starts)) is not None
        if place is None:
            rejected += 1
        else:
            found.append(1_000.0 * place / RATE_HZ)
    return found, rejected, invented


@contextmanager
def running(command: Sequence[str], environment: dict[str, str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block."""
    process = subprocess.Popen(command, env=environment, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


class Browser:
    """Chromium in a room of PulseAudio."""

    def __init__(self, environment: dict[str, str]) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required"],
            ignore_default_args=["--mute-audio"],
            env=environment,
        )
        self.version = self._browser.version

    def join(self, http: str, room: str, speaks: bool) -> Any:
        """A page in the call."""
        page = self._browser.new_context(permissions=["microphone"]).new_page()
        page.goto(f"{http}/#room={room}&name={'Mouth' if speaks else 'Ear'}{'' if speaks else '&listen=1'}")
        page.evaluate("(ms) => (document.getElementById('packet').value = ms)", str(PACKET_MS))
        page.click("#join")
        page.wait_for_selector("#call:not([hidden])", timeout=30_000)
        return page

    def close(self) -> None:
        """Let go of it."""
        self._browser.close()
        self._playwright.stop()


def measure(way: tuple[str, str], count: int, environment: dict[str, str], folder: Path) -> dict[str, Any]:
    """One call one way."""
    mouth, ear = way
    room = f"{mouth}-{ear}"
    sound, starts = chirps(count, np.random.default_rng(7))
    soundfile.write(folder / "chirps.wav", sound, RATE_HZ, subtype="PCM_16")
    found: dict[str, Any] = {"from": mouth, "to": ear, "packet_ms": PACKET_MS}
    with ExitStack() as stack:
        serve = [*STREAMCODEC, "serve", "--web", "--port", "0"]
        relay = stack.enter_context(running(serve, environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        assert relay.stdout is not None
        url = relay.stdout.readline().strip()
        pages = {}
        for role, kind in (("speaks", mouth), ("hears", ear)):
            if kind == "python":
                only = ["--speak-only", "--packet-ms", str(PACKET_MS)] if role == "speaks" else ["--listen-only"]
                call = [*STREAMCODEC, "call", room, "--server", url, *only]
                log = stack.enter_context((folder / f"{room}-{role}.log").open("w"))
                stack.enter_context(running(call, environment, stdout=log, stderr=log))
            else:
                if "browser" not in pages:
                    pages["browser"] = Browser(environment)
                    stack.callback(pages["browser"].close)
                    found["chromium"] = pages["browser"].version
                pages[role] = pages["browser"].join(f"http{url.removeprefix('ws')}", room, role == "speaks")
        time.sleep(SETTLE_S)
        recorded = folder / f"{room}.wav"
        parec = ["parec", "--file-format=wav", "--device=room.monitor", "--channels=2", f"--rate={RATE_HZ}", "--latency-msec=20"]
        with running([*parec, str(recorded)], environment):
            time.sleep(0.5)
            subprocess.run(["paplay", "--latency-msec=20", "--device=lips", str(folder / "chirps.wav")], env=environment, check=True)
            time.sleep(1.0)
        for role in ("speaks", "hears"):
            if role in pages:
                found[role] = facts_of(pages[role])
    both, rate_hz = soundfile.read(recorded, dtype="float32", always_2d=True)
    assert rate_hz == RATE_HZ
    delays, found["rejected"], found["invented"] = delays_ms(both[:, 0], both[:, 1], starts)
    found["chirps"] = len(delays)
    if delays:
        found["delay_ms"] = {
            "median": round(float(np.median(delays)), 1),
            "p95": round(float(np.percentile(delays, 95)), 1),
            "least": round(min(delays), 1),
            "most": round(max(delays), 1),
        }
    return found


def facts_of(page: Any) -> dict[str, Any]:
    """What a page knows of where the time goes."""
    state = page.evaluate("call.state")
    peer = state["peers"][0]
    facts: dict[str, Any] = {"carries": peer["carries"], "ready_ms": state["readyMs"]}
    if peer["stats"] and peer["stats"]["played"]:
        facts["jitter_buffer_ms"] = round(peer["stats"]["depthMs"])
        facts["concealed"] = peer["stats"]["concealed"]
    latency = page.evaluate("[call._context.baseLatency, call._context.outputLatency]")
    facts["output_latency_ms"] = round(1_000 * latency[1], 1)
    return facts


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.web_delay", description=__doc__.partition("\n")[0])
    parser.add_argument("--chirps", type=int, default=60, help="a way, one each second (default: 60)")
    parser.add_argument("--way", choices=["-".join(way) for way in WAYS], help="only this one, and write nothing")
    parser.add_argument("--keep", type=Path, help="folder to keep the recordings in")
    options = parser.parse_args()
    missing = what_is_missing() or ("" if shutil.which("chromium") else "there is no Chromium here")
    if missing:
        sys.exit(missing)
    rows = []
    for way in WAYS:
        if options.way not in (None, "-".join(way)):
            continue
        with tempfile.TemporaryDirectory(prefix="sc-") as folder:
            sound = Path(folder, "pulse")
            sound.mkdir()
            with pulse_room(sound) as environment:
                environment["PYTHONPATH"] = str(Path(__file__).parents[1])
                rows.append(measure(way, options.chirps, environment, options.keep or Path(folder)))
        print(json.dumps(rows[-1]), flush=True)
    if options.way is None:
        load = round(os.getloadavg()[0], 1)
        RESULTS.write_text(json.dumps({"cores": os.cpu_count(), "load": load, "nice": os.nice(0), "ways": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
