"""A call goes on in tabs that nobody looks at, where browsers paint nothing and may slow timers down."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.helpers.bare_chromium import BareChromium
from tests.helpers.web_calls import serve

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)

HIDDEN_S = float(os.environ.get("HIDDEN_S", "4"))
HEARS = """(() => {
  const peer = globalThis.call?.state?.peers[0];
  return peer?.carries === 'srtp' && peer.path === 'direct' && peer.stats.played > 50 ? peer.stats : null;
})()"""
WATCH = """(() => {
  globalThis.painted = 0;
  const paint = () => requestAnimationFrame(() => (painted++, paint()));
  paint();
  return document.visibilityState;
})()"""


def test_two_hidden_tabs_go_on_talking(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    voice = tmp_path / "voice.wav"
    soundfile.write(voice, speech, 24_000, subtype="PCM_16")
    arguments = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={voice}",
    ]
    process, url = serve()
    try:
        with BareChromium(chromium, tmp_path / "profile", arguments) as browser:
            pages = []
            for name in ("Ann", "Bob"):
                pages.append(browser.open(f"http{url.removeprefix('ws')}/#room=hidden&name={name}"))
                browser.until(pages[-1], "document.getElementById('room')?.value === 'hidden'")
                browser.evaluate(pages[-1], "document.getElementById('join').click()")
                browser.until(pages[-1], "!document.getElementById('call').hidden")
            for page in pages:
                browser.until(page, HEARS)
            browser.open("about:blank")
            assert [browser.evaluate(page, WATCH) for page in pages] == ["hidden", "hidden"]
            before = [browser.evaluate(page, HEARS) for page in pages]
            start_s = time.monotonic()
            time.sleep(HIDDEN_S)
            after = [browser.evaluate(page, HEARS) for page in pages]
            elapsed_s = time.monotonic() - start_s
            painted = [browser.evaluate(page, "painted") for page in pages]
            for page in pages:
                # Not in a pause.
                browser.until(page, "call.state.peers[0].stats.levelRms > 0.001")
    finally:
        process.terminate()
        process.wait()
    assert max(painted) < 5, "the browser took the tabs for seen ones"
    for was, now in zip(before, after, strict=True):
        heard = now["played"] + now["recovered"] - was["played"] - was["recovered"]
        assert heard > 0.9 * 50 * elapsed_s
        assert now["concealed"] - was["concealed"] < 0.1 * heard
