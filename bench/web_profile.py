"""Where the processor's time of a call in Chromium goes: ``python -m bench.web_profile``.

Two pages talk over a direct line. The share of a core is the time that the system's scheduler gave to the thread of
each call's worker, so waiting for a busy machine does not count (being slowed down by it does). What the worker does
with it is told by V8's sampling profiler: a sample in a kernel belongs to the function of ``codec.wasm`` that was
called, any other to the module of ours that it is in, or that called the browser's function that it is in. Writes
``bench/results/web_profile.json``. Needs Linux and Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import soundfile

from tests.helpers.bare_chromium import BareChromium
from tests.helpers.web_calls import serve

RESULTS = Path(__file__).parent / "results" / "web_profile.json"
SPEECH = Path(__file__).parents[1] / "streamcodec" / "demo_data" / "speech.flac"
SETTLE_S = 25.0
SAMPLE_US = 200
PARTS = {
    "decoder.js": "decode",
    "encoder.js": "encode",
    "resampler.js": "resample",
    "jitter_buffer.js": "jitter buffer and mixing",
    "delay_estimator.js": "jitter buffer and mixing",
    "time_scale.js": "jitter buffer and mixing",
    "receiver.js": "jitter buffer and mixing",
    "mixer.js": "jitter buffer and mixing",
    "voice_activity.js": "jitter buffer and mixing",
}
KERNELS = {"decoder": "decode", "encoder": "encode", "resample": "resample"}
# Where the exported function has been compiled into its caller, that tells.
CALLERS = {
    "decoder.js": "decode",
    "receiver.js": "decode",
    "encoder.js": "encode",
    "sender.js": "encode",
    "resampler.js": "resample",
    "call_worker.js": "resample",
}
CODEC = ("decode", "encode")
# A function of WebAssembly is told by its number, which only an instance has.
NUMBERS = """
(async () => {
  const bytes = await (await fetch('/codec.wasm')).arrayBuffer();
  const memory = new WebAssembly.Memory({ initial: 256 });
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory } });
  return Object.entries(instance.exports).flatMap(([name, { name: number }]) => (number ? [[number, name]] : []));
})()
"""
IDLE = ("(idle)", "(root)")
# What the browser does when asked, which samples give no file of ours for.
GIVEN_AWAY = {"write": "frames to the browser", "read": "frames to the browser", "postMessage": "messages"}


def worker_seconds() -> dict[str, float]:
    """Processor time of each worker's thread below this process, by its number."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {}
    for process in parents:
        above = process
        while above not in (0, os.getpid()):
            above = parents.get(above, 0)
        if not above:
            continue
        for thread in Path(f"/proc/{process}/task").glob("*"):
            try:
                if (thread / "comm").read_text().startswith("DedicatedWorker"):
                    found[thread.name] = int((thread / "schedstat").read_text().split()[0]) / 1e9
            except OSError:
                continue
    return found


def parts_of(profile: dict[str, Any], kernels: dict[str, str]) -> dict[str, float]:
    """Seconds by part, idleness left out; ``kernels`` are names by number."""
    frames = {node["id"]: node["callFrame"] for node in profile["nodes"]}
    callers = {child: node["id"] for node in profile["nodes"] for child in node.get("children", ())}
    seconds: dict[str, float] = defaultdict(float)
    for sample, spent_us in zip(profile["samples"], profile["timeDeltas"], strict=True):
        name = frames[sample]["functionName"]
        if name not in IDLE:
            seconds[_part(sample, frames, callers, kernels)] += 1e-6 * spent_us
    return dict(seconds)


def _part(sample: int, frames: dict[int, Any], callers: dict[int, int], kernels: dict[str, str]) -> str:
    name = frames[sample]["functionName"]
    if name == "(garbage collector)":
        return "garbage"
    if name in GIVEN_AWAY and not frames[sample]["url"]:
        return GIVEN_AWAY[name]
    in_kernel = name.startswith("wasm-function")
    place: int | None = sample
    while place is not None:
        called = re.fullmatch(r"wasm-function\[(\d+)\]", frames[place]["functionName"])
        if called and called[1] in kernels:
            return KERNELS[kernels[called[1]].partition("_")[0]]
        file = str(frames[place]["url"]).rpartition("/")[2]
        if file.endswith(".js"):
            return (CALLERS if in_kernel else PARTS).get(file, "packets, lines, reports")
        place = callers.get(place)
    return "the browser's own"


def measure(browser: BareChromium, http: str, seconds: float) -> dict[str, Any]:
    """Two pages, of which one worker is profiled after the time of both was taken."""
    pages = []
    for name in ("Ann", "Bob"):
        page = browser.open("about:blank", seen=True)
        browser.send("Target.setAutoAttach", page, autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
        browser.send("Page.navigate", page, url=f"{http}/#room=profile&name={name}")
        browser.until(page, "document.getElementById('room')?.value === 'profile'")
        browser.evaluate(page, "document.getElementById('join').click()")
        pages.append(page)
    time.sleep(SETTLE_S)
    before, start_s = worker_seconds(), time.monotonic()
    time.sleep(seconds)
    after, elapsed_s = worker_seconds(), time.monotonic() - start_s
    shares = sorted(round((after[key] - before[key]) / elapsed_s, 4) for key in before if key in after)[-2:]
    attached = [each["params"] for each in browser.events if each.get("method") == "Target.attachedToTarget"]
    worker = next(each["sessionId"] for each in attached if each["targetInfo"]["type"] == "worker")
    browser.send("Profiler.enable", worker)
    browser.send("Profiler.setSamplingInterval", worker, interval=SAMPLE_US)
    browser.send("Profiler.start", worker)
    time.sleep(seconds)
    profile = browser.send("Profiler.stop", worker)["profile"]
    spent = parts_of(profile, dict(browser.evaluate(pages[0], NUMBERS)))
    total = sum(spent.values())
    parts = {name: round(value / total, 4) for name, value in sorted(spent.items(), key=lambda each: -each[1])}
    codec = sum(parts.get(name, 0.0) for name in CODEC)
    states = [browser.evaluate(page, "call.state") for page in pages]
    return {
        "worker_share_of_a_core": shares,
        "codec_share_of_a_core": [round(codec * share, 4) for share in shares],
        "parts": parts,
        "carries": [state["peers"][0]["carries"] for state in states],
        "copies": [state["copies"] for state in states],
        "asked_kbps": 6.0,
        "packet_ms": 20,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.web_profile", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each of the two measurements (default: 20)")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no Chromium here: apt-get install chromium")
    process, url = serve()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            speech, rate_hz = soundfile.read(SPEECH, dtype="float32")
            soundfile.write(folder / "voice.wav", speech, rate_hz, subtype="PCM_16")
            arguments = [
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                "--mute-audio",
                f"--use-file-for-fake-audio-capture={folder / 'voice.wav'}",
            ]
            with BareChromium(chromium, folder / "profile", arguments) as browser:
                found = measure(browser, f"http{url.removeprefix('ws')}", options.seconds)
                found["chromium"] = browser.send("Browser.getVersion")["product"].rpartition("/")[2]
    finally:
        process.terminate()
    found |= {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(found, indent=1))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
