"""Chromium with a fake microphone that plays the bundled speech, for the benches of the web client."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import soundfile

SPEECH = Path(__file__).parents[1] / "streamcodec" / "demo_data" / "speech.flac"


@contextmanager
def speaking_chromium(playwright: Any) -> Iterator[Any]:
    """A browser whose pages get speech from their microphone, without being asked; ends the program without one."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no Chromium here: apt-get install chromium")
    speech, rate_hz = soundfile.read(SPEECH, dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        voice = Path(folder) / "voice.wav"
        soundfile.write(voice, speech, rate_hz, subtype="PCM_16")
        arguments = [
            "--no-sandbox",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={voice}",
        ]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
