"""Ten tabs of Chromium that hear eight people each, on a simulated clock: ``python -m bench.web_room``.

Everybody speaks all the time, over lines with jitter (exponential, 6 ms on average); every tab is a page of its own
whose worker has a codec, a jitter buffer and a decoder for each person and a mixer, and asks for 10 ms at a time, as
fast as it can. After a second to settle it counts gaps (blocks of nothing but zeros), frames made up because theirs
came too late, and the time it takes. Writes ``bench/results/web_room.json``. Needs Linux, Chromium and playwright.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import soundfile

from bench.web_profile import SPEECH, worker_seconds
from streamcodec.web.build import build

RESULTS = Path(__file__).parent / "results" / "web_room.json"
SCRIPT = Path(__file__).with_name("web_room.js")
RATE_HZ = 24_000
START = """
({ sound, ...given }) => {
  const raw = Uint8Array.from(atob(sound), (letter) => letter.charCodeAt(0));
  const worker = new Worker('/web_room.js', { type: 'module' });
  worker.onmessage = ({ data }) => (globalThis.found = data);
  worker.onerror = ({ message }) => (globalThis.found = { error: message });
  worker.postMessage({ ...given, samples: new Float32Array(raw.buffer) });
}
"""


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A folder's files over HTTP; their address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def simulate(browser: Any, folder: Path, tabs: int, people: int, seconds: int) -> list[dict[str, Any]]:
    """What each tab counted; ``folder`` has the built package and gets the script."""
    shutil.copy(SCRIPT, folder)
    sound = base64.b64encode(soundfile.read(SPEECH, dtype="float32", frames=4 * RATE_HZ)[0].tobytes()).decode()
    contexts = [browser.new_context() for _ in range(tabs)]
    with serving(folder) as address:
        pages = [context.new_page() for context in contexts]
        for number, page in enumerate(pages):
            page.goto(f"{address}/codec.json")
            page.evaluate(START, {"people": people, "seconds": seconds, "seed": number + 1, "sound": sound})
        found = [_counted(page) for page in pages]
        for context in contexts:
            context.close()
    return found


def _counted(page: Any) -> dict[str, Any]:
    """What a tab has counted, once it has."""
    while (counted := page.evaluate("globalThis.found ?? null")) is None:
        time.sleep(0.05)
    if "error" in counted:
        raise RuntimeError(counted["error"])
    return dict(counted)


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.web_room", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="simulated (default: 60)")
    parser.add_argument("--tabs", type=int, default=10, help="at once (default: 10)")
    parser.add_argument("--people", type=int, default=8, help="in each (default: 8)")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        build(Path(name) / "web")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        spent: dict[str, float] = {}
        ending = threading.Event()

        def watch() -> None:
            # Threads that have ended tell nothing any more.
            while not ending.wait(0.5):
                spent.update(worker_seconds())

        watching = threading.Thread(target=watch)
        watching.start()
        tabs = simulate(browser, Path(name) / "web", options.tabs, options.people, options.seconds)
        ending.set()
        watching.join()
        version = browser.version
        browser.close()
    counts = {key: sum(tab[key] for tab in tabs) for key in tabs[0] if not key.endswith("Ms")}
    simulated_s = options.seconds * options.people * options.tabs
    found = {
        "chromium": version,
        "tabs": options.tabs,
        "people": options.people,
        "seconds": options.seconds,
        "frames": counts["played"] + counts["concealed"],
        "made_up": counts["concealed"],
        "late": counts["late"],
        "underruns": counts["underruns"],
        "blocks": counts["blocks"],
        "gaps": counts["silentBlocks"],
        # A tab's clock runs while others have the processor.
        "slowest_tab_real_time_factor": round(max(tab["elapsedMs"] for tab in tabs) / (1_000 * options.seconds), 2),
        "share_of_a_core_a_person": round(sum(spent.values()) / simulated_s, 4),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(found))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
