"""Mouth to ear with browsers, by recordings that have both on one clock: ``python -m bench.web_delay``.

No browser's word for a time is taken. **Nodes**: two calls in one page share a sound context, in which one recorder
takes down what goes into the microphone's stream of the first and what the second gives to the loudspeaker. **Room**:
PulseAudio's null sink, whose left channel is all that the microphone hears and whose right channel is all that the
listener's loudspeaker plays, recorded as a whole; page to page, Python to page, page to Python, Python to Python, and
for comparison **browser alone**, its microphone wired to its loudspeaker. Everything between is a real call over a
direct line on this machine.

Every chirp is a glide of its own, so that none can be taken for another; what does not stand out from all else that
is heard after it is counted as rejected. To check the detector each stretch is also searched for chirps that are not
in it. Writes ``bench/results/web_delay.json``. Needs Chromium, playwright, PulseAudio and its ALSA plugin.
"""

from __future__ import annotations

import argparse
import base64
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
import soundfile

from bench.chirps import RATE_HZ, chirps, delays_ms
from tests.helpers.pulse import pulse_room, what_is_missing

RESULTS = Path(__file__).parent / "results" / "web_delay.json"
PACKET_MS = 20
SETTLE_S = 12.0
WAYS = (("page", "page"), ("python", "page"), ("page", "python"), ("python", "python"))
STREAMCODEC = (sys.executable, "-m", "streamcodec")
# Two calls in one page on one sound context: a recorder hears one's microphone and the other's loudspeaker.
NODES = """
async ({ relay, packetMs, sound, settleMs }) => {
  const { Call } = await import('/index.js');
  const context = new AudioContext({ latencyHint: 0, sampleRate: RATE });
  const microphone = context.createMediaStreamDestination();
  navigator.mediaDevices.getUserMedia = async () => microphone.stream;
  globalThis.AudioContext = function () { return context; };
  const code = `registerProcessor('recorder', class extends AudioWorkletProcessor {
    process([spoken, heard]) {
      const pair = new Float32Array(256);
      if (spoken[0]) pair.set(spoken[0]);
      if (heard[0]) pair.set(heard[0], 128);
      this.port.postMessage(pair, [pair.buffer]);
      return true;
    }
  });`;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
  const settings = { url: relay, room: 'nodes', packetMs };
  const mouth = new Call({ ...settings, name: 'Mouth' }), ear = new Call({ ...settings, name: 'Ear', listen: true });
  await Promise.all([mouth.join(), ear.join()]);
  const samples = new Int16Array(Uint8Array.from(atob(sound), (letter) => letter.charCodeAt(0)).buffer);
  const buffer = context.createBuffer(1, samples.length, RATE);
  buffer.getChannelData(0).set(Float32Array.from(samples, (sample) => sample / 32768));
  await new Promise((go) => setTimeout(go, settleMs));
  const recorder = new AudioWorkletNode(context, 'recorder', { numberOfInputs: 2, numberOfOutputs: 1 });
  recorder.connect(context.destination);
  const pairs = [];
  recorder.port.onmessage = ({ data }) => pairs.push(data);
  ear._node.connect(recorder, 0, 1);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(microphone);
  source.connect(recorder, 0, 0);
  source.start(context.currentTime + 0.5);
  await new Promise((go) => (source.onended = go));
  const states = [mouth.state, ear.state];
  await new Promise((go) => setTimeout(go, 500));
  const text = [];
  for (const side of [0, 128]) {
    const all = new Int16Array(128 * pairs.length);
    pairs.forEach((pair, k) => {
      for (let i = 0; i < 128; i++) all[128 * k + i] = 32767 * Math.max(-1, Math.min(1, pair[side + i]));
    });
    let letters = '';
    for (const byte of new Uint8Array(all.buffer)) letters += String.fromCharCode(byte);
    text.push(btoa(letters));
  }
  return { states, text };
}
""".replace("RATE", str(RATE_HZ))
# The microphone on the loudspeaker, without any of ours between.
ALONE = """
async () => {
  const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const context = new AudioContext({ latencyHint: 0 });
  await context.resume();
  globalThis.source = context.createMediaStreamSource(stream);
  source.connect(context.destination);
}
"""


@contextmanager
def running(command: Sequence[str], environment: dict[str, str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block."""
    process = subprocess.Popen(command, env=environment, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def relay_here(environment: dict[str, str]) -> Iterator[str]:
    """A relay with its page; its address."""
    serve = [*STREAMCODEC, "serve", "--web", "--port", "0"]
    with running(serve, environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as relay:
        assert relay.stdout is not None
        yield relay.stdout.readline().strip()


class Browsers:
    """Chromium, in a room of PulseAudio where the environment names one; another process for every page."""

    def __init__(self, environment: dict[str, str], *, audible: bool = True) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._environment, self._audible = environment, audible
        self._started: list[Any] = []

    @property
    def version(self) -> str:
        """Of the last one started."""
        return str(self._started[-1].version) if self._started else ""

    def join(self, url: str, room: str, speaks: bool) -> Any:
        """A page in the call."""
        page = self._start().new_context(permissions=["microphone"]).new_page()
        who = "Mouth" if speaks else "Ear&listen=1"
        page.goto(f"http{url.removeprefix('ws')}/#room={room}&name={who}")
        page.evaluate("(ms) => (document.getElementById('packet').value = ms)", str(PACKET_MS))
        page.click("#join")
        page.wait_for_selector("#call:not([hidden])", timeout=30_000)
        return page

    def open(self, url: str) -> Any:
        """The relay's page as it is, free to run scripts of this file."""
        page = self._start().new_context(permissions=["microphone"], bypass_csp=True).new_page()
        page.goto(f"http{url.removeprefix('ws')}/")
        return page

    def close(self) -> None:
        """Let go of them."""
        for browser in self._started:
            browser.close()
        self._playwright.stop()

    def _start(self) -> Any:
        browser = self._playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required"],
            ignore_default_args=["--mute-audio"] if self._audible else None,
            env=self._environment,
        )
        self._started.append(browser)
        return browser


def between_nodes(count: int, environment: dict[str, str]) -> dict[str, Any]:
    """From the stream that is the microphone's to the node of the loudspeaker, two calls in one page."""
    sound, starts = chirps(count, np.random.default_rng(7))
    letters = base64.b64encode(np.rint(32_767 * sound).astype(np.int16).tobytes()).decode()
    with relay_here(environment) as url:
        browsers = Browsers(environment, audible=False)
        try:
            given = {"relay": url, "packetMs": PACKET_MS, "sound": letters, "settleMs": 1_000 * SETTLE_S}
            made = browsers.open(url).evaluate(NODES, given)
            version = browsers.version
        finally:
            browsers.close()
    spoken, heard = (np.frombuffer(base64.b64decode(text), np.int16) / 32_768 for text in made["text"])
    mouth, ear = made["states"]
    found = {"packet_ms": PACKET_MS, "chromium": version, "hears": told_by(ear), "speaks": told_by(mouth)}
    return {**found, **summary(spoken, heard, starts)}


def record_room(folder: Path, count: int, environment: dict[str, str]) -> dict[str, Any]:
    """Play chirps to the microphone, and find them in what is heard meanwhile."""
    sound, starts = chirps(count, np.random.default_rng(7))
    soundfile.write(folder / "chirps.wav", sound, RATE_HZ, subtype="PCM_16")
    recorder = ["parec", "--file-format=wav", "--device=room.monitor", "--channels=2", f"--rate={RATE_HZ}"]
    with running([*recorder, "--latency-msec=20", str(folder / "room.wav")], environment):
        time.sleep(0.5)
        player = ["paplay", "--latency-msec=20", "--device=lips", str(folder / "chirps.wav")]
        subprocess.run(player, env=environment, check=True)
        time.sleep(1.0)
    both, rate_hz = soundfile.read(folder / "room.wav", dtype="float32", always_2d=True)
    assert rate_hz == RATE_HZ
    return summary(both[:, 0], both[:, 1], starts)


def in_room(way: tuple[str, str], count: int, environment: dict[str, str], folder: Path) -> dict[str, Any]:
    """One call one way, sound devices and all."""
    name = "-".join(way)
    found: dict[str, Any] = {"from": way[0], "to": way[1], "packet_ms": PACKET_MS}
    with ExitStack() as stack:
        url = stack.enter_context(relay_here(environment))
        browsers = Browsers(environment)
        stack.callback(browsers.close)
        pages: dict[str, Any] = {}
        for role, kind in zip(("speaks", "hears"), way, strict=True):
            if kind == "page":
                pages[role] = browsers.join(url, name, role == "speaks")
                continue
            only = ["--speak-only", "--packet-ms", str(PACKET_MS)] if role == "speaks" else ["--listen-only"]
            log = stack.enter_context((folder / f"{role}.log").open("w"))
            call = [*STREAMCODEC, "call", name, "--server", url, *only]
            stack.enter_context(running(call, environment, stdout=log, stderr=log))
        time.sleep(SETTLE_S)
        found |= record_room(folder, count, environment)
        for role, page in pages.items():
            found[role] = told_by(page.evaluate("call.state"))
    return found


def browser_alone(count: int, environment: dict[str, str], folder: Path) -> dict[str, Any]:
    """What the browser and the sound server take by themselves."""
    with relay_here(environment) as url:
        browsers = Browsers(environment)
        try:
            browsers.open(url).evaluate(ALONE)
            time.sleep(3.0)
            return {"chromium": browsers.version, **record_room(folder, count, environment)}
        finally:
            browsers.close()


def summary(spoken: Any, heard: Any, starts: Sequence[int]) -> dict[str, Any]:
    """Delays of one recording."""
    delays, rejected, invented = delays_ms(spoken, heard, starts)
    found: dict[str, Any] = {"chirps": len(delays), "rejected": rejected, "invented": invented}
    if delays:
        median, high = np.percentile(delays, [50, 95])
        values = {"median": median, "p95": high, "least": min(delays), "most": max(delays)}
        found["delay_ms"] = {name: round(float(value), 1) for name, value in values.items()}
    return found


def told_by(state: Any) -> dict[str, Any]:
    """What an end of a call knows of where the time goes."""
    peer = state["peers"][0]
    facts: dict[str, Any] = {"carries": peer["carries"], "ready_ms": state["readyMs"]}
    if peer["stats"] and peer["stats"]["played"]:
        facts |= {"jitter_buffer_ms": round(peer["stats"]["depthMs"]), "concealed": peer["stats"]["concealed"]}
    return facts


def main() -> None:
    """Measure, print and write."""
    ways = ["nodes", "alone", *("-".join(way) for way in WAYS)]
    parser = argparse.ArgumentParser(prog="python -m bench.web_delay", description=__doc__.partition("\n")[0])
    parser.add_argument("--chirps", type=int, default=60, help="for each measurement, one a second (default: 60)")
    parser.add_argument("--only", choices=ways, action="append", help="measure this anew (repeatable; default: all)")
    options = parser.parse_args()
    missing = what_is_missing() or ("" if shutil.which("chromium") else "there is no Chromium here")
    if missing:
        sys.exit(missing)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for way in options.only or ways:
        with tempfile.TemporaryDirectory(prefix="sc-") as name, ExitStack() as stack:
            folder = Path(name)
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
            if way == "nodes":
                row = between_nodes(options.chirps, environment)
            else:
                (folder / "pulse").mkdir()
                environment |= stack.enter_context(pulse_room(folder / "pulse"))
                if way == "alone":
                    row = browser_alone(options.chirps, environment, folder)
                else:
                    mouth, ear = way.split("-")
                    row = in_room((mouth, ear), options.chirps, environment, folder)
        found[way] = {**row, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
        print(way, json.dumps(found[way]), flush=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
