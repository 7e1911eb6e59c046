"""Pictures of the call page for the documentation, at a desk and on a phone: ``python -m bench.web_pictures``.

Two pages of Chromium and a Python peer that loses a fortieth of all packets, in a sealed room, once the graphs of the
last minute have something to show. Needs Chromium and playwright.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import soundfile

from bench.chromium import SPEECH, speaking_chromium
from streamcodec.net.e2e import room_key_from_passphrase
from tests.helpers.web_calls import PythonPeer, serve

IMAGES = Path(__file__).parents[1] / "docs" / "images"
ROOM, PASSPHRASE = "standup", "geese over the harbour"
SETTLE_MS = 45_000
PLACES = {"Ann": ("web-call-desktop.png", 1_000, 820), "Bob": ("web-call-phone.png", 390, 844)}


def join(browser: Any, http: str, name: str) -> Any:
    """A page in the call, as large as its picture."""
    _, width, height = PLACES[name]
    size = {"width": width, "height": height}
    page = browser.new_context(permissions=["microphone"], viewport=size, device_scale_factor=1).new_page()
    page.goto(f"{http}/#room={ROOM}&name={name}&passphrase={PASSPHRASE.replace(' ', '%20')}")
    page.click("#join")
    page.wait_for_selector("#call:not([hidden])", timeout=30_000)
    return page


def main() -> None:
    """Take both and write them."""
    from playwright.sync_api import sync_playwright

    speech, _ = soundfile.read(SPEECH, dtype="float32")
    with sync_playwright() as playwright, speaking_chromium(playwright) as browser:
        process, url = serve()
        peer = PythonPeer(url, ROOM, speech, loss=0.025, room_key=room_key_from_passphrase(PASSPHRASE, ROOM))
        try:
            pages = {name: join(browser, f"http{url.removeprefix('ws')}", name) for name in PLACES}
            pages["Ann"].wait_for_timeout(SETTLE_MS)
            for name, page in pages.items():
                page.screenshot(path=IMAGES / PLACES[name][0])
        finally:
            peer.end()
            process.terminate()


if __name__ == "__main__":
    main()
