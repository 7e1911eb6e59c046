"""What a call between two pages of Chromium costs: ``python -m bench.web_calls``.

Two pages in one browser, a relay on this machine, speech from a fake microphone. Rates are the browser's own counts
of bytes with the headers of IPv4 and UDP, and the relay's as calculated, after the first copies are over; the share
of a core is the time that the system's scheduler gave to the threads of the calls' workers. Delay:
``bench.web_delay``. Writes ``bench/results/web_calls.json``. Needs Linux, Chromium and playwright.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.chromium import speaking_chromium
from bench.web_profile import worker_seconds

RESULTS = Path(__file__).parent / "results" / "web_calls.json"
SETTLE_S = 25.0
MEASURE_S = 10.0


@contextmanager
def _relay() -> Iterator[str]:
    command = [sys.executable, "-m", "streamcodec", "serve", "--web", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()


def _call(browser: Any, http: str, transport: str, packet_ms: int) -> dict[str, Any]:
    contexts, pages = [], []
    for name in ("Ann", "Bob"):
        context = browser.new_context(permissions=["microphone"])
        page = context.new_page()
        page.goto(f"{http}/#room=bench{transport}{packet_ms}&name={name}&transport={transport}")
        page.evaluate("(ms) => (document.getElementById('packet').value = ms)", str(packet_ms))
        page.click("#join")
        page.wait_for_selector("#call:not([hidden])", timeout=30_000)
        contexts.append(context)
        pages.append(page)
    time.sleep(SETTLE_S)
    spent, start_s = worker_seconds(), time.monotonic()
    before = [page.evaluate("call.state") for page in pages]
    time.sleep(MEASURE_S)
    after = [page.evaluate("call.state") for page in pages]
    elapsed_s = time.monotonic() - start_s
    spent = {key: now - spent[key] for key, now in worker_seconds().items() if key in spent}
    found: dict[str, Any] = {"transport": transport, "packet_ms": packet_ms}
    seconds = [(b["nowMs"] - a["nowMs"]) / 1_000 for a, b in zip(before, after, strict=True)]
    both = list(zip(before, after, seconds, strict=True))
    found["wire_kbps"] = [round(8e-3 * (b["sentBytes"] - a["sentBytes"]) / s, 1) for a, b, s in both]
    found["payload_kbps"] = [round(8e-3 * (b["payloadBytes"] - a["payloadBytes"]) / s, 2) for a, b, s in both]
    found["copies"] = [state["copies"] for state in after]
    found["worker_share_of_a_core"] = sorted(round(each / elapsed_s, 3) for each in spent.values())[-2:]
    found["ready_ms"] = [state["readyMs"] for state in after]
    stats = [state["peers"][0]["stats"] for state in after]
    found["carries"] = [state["peers"][0]["carries"] for state in after]
    found["jitter_buffer_ms"] = [round(each["depthMs"]) for each in stats]
    found["first_sound_ms"] = [
        round(each["firstSoundMs"] - state["joinedMs"]) for each, state in zip(stats, after, strict=True)
    ][1:]
    for context in contexts:
        context.close()
    return found


def main() -> None:
    """Measure, print and write."""
    from playwright.sync_api import sync_playwright

    rows = []
    with _relay() as url, sync_playwright() as playwright, speaking_chromium(playwright) as browser:
        http = f"http{url.removeprefix('ws')}"
        for transport, packet_ms in (("auto", 20), ("auto", 60), ("relay", 20), ("data-channel", 20)):
            rows.append(_call(browser, http, transport, packet_ms))
            print(json.dumps(rows[-1]), flush=True)
        version = browser.version
    load = round(os.getloadavg()[0], 1)
    facts = {"chromium": version, "cores": os.cpu_count(), "load": load, "asked_kbps": 6.0, "calls": rows}
    RESULTS.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
