"""What a call between two pages of Chromium costs: ``python -m bench.web_calls``.

Two pages in one browser, a relay on this machine, speech from a fake microphone. Rates are the browser's own counts
of bytes with the headers of IPv4 and UDP, and the relay's as calculated, after the first copies are over; the
share of the processor is the worker's time coding, decoding and framing. Delay is from the microphone's node of one
page to the loudspeaker's of the other. Writes ``bench/results/web_calls.json``. Needs Chromium and playwright.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RESULTS = Path(__file__).parent / "results" / "web_calls.json"
SPEECH = Path(__file__).parents[1] / "streamcodec" / "demo_data" / "speech.flac"
SETTLE_S = 25.0
MEASURE_S = 10.0
# Onsets of bursts at the microphone's node of one page and the loudspeaker's of the other, on one clock.
ONSETS = """
async (side) => {
  const context = call._context;
  const code = `registerProcessor('onset', class extends AudioWorkletProcessor {
    process([input]) {
      const peak = input[0] ? input[0].reduce((most, x) => Math.max(most, Math.abs(x)), 0) : 0;
      this.quiet = peak > 0.02 ? 0 : (this.quiet ?? 0) + 128;
      const loud = peak > 0.1;
      if (loud && !this.was) this.port.postMessage(currentTime);
      if (loud) this.was = true;
      if (this.quiet > sampleRate / 5) this.was = false;
      return true;
    }
  });`;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
  const node = new AudioWorkletNode(context, 'onset');
  (side === 'microphone' ? call._source : call._node).connect(node);
  window.onsets = [];
  node.port.onmessage = ({ data }) => {
    const { contextTime, performanceTime } = context.getOutputTimestamp();
    const atMs = performanceTime + 1000 * (data - contextTime) - 1000 * (context.outputLatency || 0);
    window.onsets.push(performance.timeOrigin + atMs);
  };
}
"""


@contextmanager
def _relay() -> Iterator[str]:
    command = [sys.executable, "-m", "streamcodec", "serve", "--web", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()


def _bursts(path: Path) -> None:
    """A burst of a voiced sound each second: onsets that a threshold finds on both sides."""
    speech, rate_hz = soundfile.read(SPEECH, dtype="float32")
    loudest = int(np.argmax(np.convolve(speech**2, np.ones(rate_hz // 5), "valid")))
    burst = 0.6 * speech[loudest : loudest + rate_hz // 5] / np.abs(speech[loudest : loudest + rate_hz // 5]).max()
    second = np.zeros(rate_hz, np.float32)
    second[: burst.size] = burst
    soundfile.write(path, np.tile(second, 10), rate_hz, subtype="PCM_16")


def _call(browser: Any, http: str, transport: str, packet_ms: int, *, delays: bool) -> dict[str, Any]:
    contexts, pages = [], []
    for name in ("Ann", "Bob"):
        context = browser.new_context(permissions=["microphone"], bypass_csp=delays)
        page = context.new_page()
        page.goto(f"{http}/#room=bench{transport}{packet_ms}{delays}&name={name}&transport={transport}")
        page.evaluate("(ms) => (document.getElementById('packet').value = ms)", str(packet_ms))
        page.click("#join")
        page.wait_for_selector("#call:not([hidden])", timeout=30_000)
        contexts.append(context)
        pages.append(page)
    time.sleep(SETTLE_S)
    if delays:
        pages[0].evaluate(ONSETS, "microphone")
        pages[1].evaluate(ONSETS, "loudspeaker")
    before = [page.evaluate("call.state") for page in pages]
    time.sleep(MEASURE_S)
    after = [page.evaluate("call.state") for page in pages]
    found: dict[str, Any] = {"transport": transport, "packet_ms": packet_ms}
    seconds = [(b["nowMs"] - a["nowMs"]) / 1_000 for a, b in zip(before, after, strict=True)]
    both = list(zip(before, after, seconds, strict=True))
    found["wire_kbps"] = [round(8e-3 * (b["sentBytes"] - a["sentBytes"]) / s, 1) for a, b, s in both]
    found["payload_kbps"] = [round(8e-3 * (b["payloadBytes"] - a["payloadBytes"]) / s, 2) for a, b, s in both]
    found["copies"] = [state["copies"] for state in after]
    found["worker_share_of_a_core"] = [round(state["cpuShare"], 3) for state in after]
    found["ready_ms"] = [state["readyMs"] for state in after]
    stats = [state["peers"][0]["stats"] for state in after]
    found["carries"] = [state["peers"][0]["carries"] for state in after]
    found["jitter_buffer_ms"] = [round(each["depthMs"]) for each in stats]
    found["first_sound_ms"] = [
        round(each["firstSoundMs"] - state["joinedMs"]) for each, state in zip(stats, after, strict=True)
    ][1:]
    if delays:
        sent, heard = (np.array(page.evaluate("onsets")) for page in pages)
        pairs = [float((heard[heard > at] - at)[:1].sum()) for at in sent if (heard > at).any()]
        found["delay_ms"] = {
            "median": round(float(np.median(pairs))),
            "least": round(min(pairs)),
            "bursts": len(pairs),
        }
    for context in contexts:
        context.close()
    return found


def main() -> None:
    """Measure, print and write."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no Chromium here: apt-get install chromium")
    rows = []
    with tempfile.TemporaryDirectory() as folder, _relay() as url, sync_playwright() as playwright:
        http = f"http{url.removeprefix('ws')}"
        voice, bursts = Path(folder, "voice.wav"), Path(folder, "bursts.wav")
        speech, rate_hz = soundfile.read(SPEECH, dtype="float32")
        soundfile.write(voice, speech, rate_hz, subtype="PCM_16")
        _bursts(bursts)
        for sound, cases in (
            (voice, [("auto", 20), ("auto", 60), ("relay", 20), ("data-channel", 20)]),
            (bursts, [("auto", 20)]),
        ):
            arguments = [
                "--no-sandbox",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={sound}",
            ]
            browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
            for transport, packet_ms in cases:
                rows.append(_call(browser, http, transport, packet_ms, delays=sound is bursts))
                print(json.dumps(rows[-1]), flush=True)
            version = browser.version
            browser.close()
    load = round(os.getloadavg()[0], 1)
    facts = {"chromium": version, "cores": os.cpu_count(), "load": load, "asked_kbps": 6.0, "calls": rows}
    RESULTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
