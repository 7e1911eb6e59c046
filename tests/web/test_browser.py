"""The same codec in a page of Chromium, and the try-it page."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bench.web_room import simulate
from streamcodec import StreamDecoder, StreamEncoder, Tier, decode_file, encode_file
from streamcodec.codec.bitstream import bitstream_of
from streamcodec.codec.files.container import FileHeader
from streamcodec.codec.files.container_writer import FileWriter
from streamcodec.codec.options import TierName
from tests.helpers.golden_in_browsers import DECODE, RATE_HZ, as_hex, check, packets_of, with_losses

sync_api = pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install playwright")

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)

RUN = (
    """
async ({ golden, stream, sound }) => {
  const { Codec, Decoder, Encoder, Packet, readFrom } = await import('/index.js');
  const codec = await Codec.load(readFrom('/'));
"""
    + DECODE
    + """
  const raw = Uint8Array.from(atob(sound), (letter) => letter.charCodeAt(0));
  const encoder = new Encoder(codec, { bitrate: 6000 });
  const packets = encoder.push(new Float32Array(raw.buffer)).map((packet) => base64(packet.toBytes()));
  const samples = new Float32Array(raw.buffer);
  const best = { encode: Infinity, decode: Infinity };
  for (let run = 0; run < 3; run++) {
    const sending = new Encoder(codec), hearing = new Decoder(codec);
    const start = performance.now();
    const made = sending.push(samples);
    const middle = performance.now();
    made.forEach((packet) => hearing.push(packet));
    best.encode = Math.min(best.encode, (middle - start) / made.length);
    best.decode = Math.min(best.decode, (performance.now() - middle) / made.length);
  }
  return { indices, blocks, packets, best };
}
"""
)

PLAY = """
async (name) => {
  const { playFile } = await import('/index.js');
  const given = [];
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (at) {
    const { numberOfChannels: channels, sampleRate, length } = this.buffer;
    const late = this.context.currentTime > at;
    const planes = Array.from({ length: channels }, (_, channel) => this.buffer.getChannelData(channel).slice());
    given.push({ at, late, sampleRate, length, planes });
    return start.call(this, at);
  };
  const begin = performance.now();
  const { ended } = await playFile(`/${name}`);
  await ended;
  AudioBufferSourceNode.prototype.start = start;
  const letters = (plane) => Array.from(new Uint8Array(plane.buffer), (one) => String.fromCharCode(one)).join('');
  for (const piece of given) piece.planes = piece.planes.map((plane) => btoa(letters(plane)));
  return { given, tookS: (performance.now() - begin) / 1000 };
}
"""

PAINTED = """
() => ['original', 'decoded', 'opus'].map((name) => {
  const canvas = document.getElementById(`${name}-seen`);
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return new Set(data).size > 50;
})
"""

UNTIL_LOADED = """
async () => {
  while (!(document.getElementById('decoded').duration > 1.9)) await new Promise((go) => setTimeout(go, 20));
}
"""


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(built: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(built)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def opened(browser: Any, address: str) -> Iterator[tuple[Any, list[str]]]:
    """The try-it page, opened once, and what it complains of or asks of others."""
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((address, "blob:", "data:")) else complaints.append(r.url))
    page.goto(f"{address}/try.html")
    page.wait_for_selector("#controls:not([disabled])", state="attached")
    yield page, complaints
    page.close()


@pytest.fixture
def page(opened: tuple[Any, list[str]]) -> Iterator[Any]:
    """The try-it page as the test before has left it; whatever it complains of meanwhile fails the test."""
    page, complaints = opened
    complaints.clear()
    yield page
    assert not complaints


def test_a_page_does_what_python_does(page: Any, fixtures: Path, speech: NDArray[np.float32]) -> None:
    golden = json.loads((fixtures / "golden_packets.json").read_text())
    python = packets_of(speech)
    stream = with_losses(python)
    found = page.evaluate(
        RUN,
        {
            "golden": golden,
            "stream": as_hex(stream),
            "sound": base64.b64encode(speech.tobytes()).decode(),
        },
    )
    check(found, golden, stream)

    packets = [base64.b64decode(packet) for packet in found["packets"]]
    same = sum(ours == theirs.to_bytes() for ours, theirs in zip(packets, python, strict=True))
    assert same >= 0.97 * len(python)
    print(f"{same} of {len(python)} packets are Python's; ms a packet {found['best']}")


def test_the_try_it_page_plays_what_it_coded(page: Any, speech: NDArray[np.float32], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "speech.wav", np.repeat(speech[:, None], 2, axis=1), RATE_HZ)
    page.set_input_files("#file", tmp_path / "speech.wav")
    page.wait_for_selector("#players", state="visible")
    facts = page.inner_text("#facts")
    assert 4.0 < float(facts.split(" ")[0]) < 8.0, facts
    assert ", 0 of " in facts
    page.evaluate(UNTIL_LOADED)
    sync_api.expect(page.locator("#opus-facts")).to_contain_text("kbps of payload; nothing lost")
    assert page.evaluate(PAINTED) == [True, True, True]
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "page.sc")
    decode_file(tmp_path / "page.sc", tmp_path / "page.wav")
    decoded, rate_hz = soundfile.read(tmp_path / "page.wav")
    assert (rate_hz, len(decoded)) == (RATE_HZ, len(speech))
    blocks = len(speech) // 480
    loudness = [np.sqrt((each[: blocks * 480].reshape(blocks, 480) ** 2).mean(axis=1)) for each in (decoded, speech)]
    assert np.corrcoef(loudness)[0, 1] > 0.9
    page.fill("#loss", "30")
    sync_api.expect(page.locator("#facts")).not_to_contain_text(", 0 of ")


@pytest.mark.parametrize("tier", ["neural", "near-lossless", "lossless"])
def test_a_coded_file_of_somebodys_is_opened_heard_and_kept(
    page: Any, speech: NDArray[np.float32], tmp_path: Path, tier: TierName
) -> None:
    channels, subtype = (1, "PCM_16") if tier == "neural" else (2, "PCM_24")
    sound = np.repeat(np.tile(speech, 3)[: 5 * RATE_HZ, None], channels, axis=1) * [1.0, 0.5][:channels]
    soundfile.write(tmp_path / "speech.wav", sound, RATE_HZ, subtype=subtype)
    coded = tmp_path / "a note.sc"
    encode_file(tmp_path / "speech.wav", coded, tier=tier)
    decode_file(coded, tmp_path / "python.wav")
    expected, _ = soundfile.read(tmp_path / "python.wav", always_2d=True)
    page.set_input_files("#coded", coded)
    page.wait_for_selector("#opened", state="visible")
    facts = page.inner_text("#opened-facts")
    assert facts.startswith(f"{tier} tier · 5.00 s · {'mono' if channels == 1 else '2 channels'} at {RATE_HZ} Hz · ")
    assert page.inner_text("#opened-trouble") == ""
    assert page.evaluate("document.getElementById('opened-sound').src.startsWith('blob:')")
    with page.expect_download() as download:
        page.click("#opened-download")
    assert download.value.suggested_filename == "a note.wav"
    download.value.save_as(tmp_path / "page.wav")
    kept, rate_hz = soundfile.read(tmp_path / "page.wav", always_2d=True)
    assert (rate_hz, kept.shape) == (RATE_HZ, sound.shape)
    if tier == "lossless":
        assert np.array_equal(kept, expected)
        assert soundfile.info(tmp_path / "page.wav").subtype == "PCM_24"
    assert np.corrcoef(kept[:, 0], expected[:, 0])[0, 1] > 0.999

    whole = coded.read_bytes()
    (tmp_path / "cut.sc").write_bytes(whole[: len(whole) * 9 // 10])
    page.set_input_files("#coded", tmp_path / "cut.sc")
    sync_api.expect(page.locator("#opened-trouble")).to_contain_text("it was cut off")
    (tmp_path / "no.sc").write_text("no sound")
    page.set_input_files("#coded", tmp_path / "no.sc")
    sync_api.expect(page.locator("#status")).to_contain_text("no.sc cannot be decoded here")
    assert not page.is_visible("#opened")
    # What was opened before plays no longer, where nobody could stop it, nor does it take memory.
    assert not page.evaluate("document.getElementById('opened-sound').hasAttribute('src')")
    assert not page.evaluate("document.getElementById('opened-download').hasAttribute('href')")


def test_a_file_that_is_no_sound_is_told_in_a_sentence(page: Any, tmp_path: Path) -> None:
    (tmp_path / "no.wav").write_text("no sound")
    page.set_input_files("#file", tmp_path / "no.wav")
    sync_api.expect(page.locator("#status")).to_contain_text("cannot be read as sound")


@pytest.mark.parametrize("tier", ["neural", "near-lossless", "lossless"])
def test_a_file_is_played_gapless_as_python_decodes_it(
    page: Any, built: Path, speech: NDArray[np.float32], tmp_path: Path, tier: TierName
) -> None:
    coded, channels = built / f"played-{tier}.sc", 1 if tier == "neural" else 2
    sound = np.repeat(speech[: RATE_HZ * 6 // 5, None], channels, axis=1) * [1.0, 0.5][:channels]
    soundfile.write(tmp_path / "speech.wav", sound, RATE_HZ, subtype="PCM_16")
    if tier == "neural":
        # By the backend whose sums are the browser's.
        encoder, decoder = StreamEncoder(RATE_HZ, backend="compiled"), StreamDecoder(RATE_HZ, backend="compiled")
        packets = [*encoder.push(sound[:, 0].astype(np.float32)), *encoder.flush()]
        with coded.open("wb") as file:
            form = FileHeader(
                Tier.NEURAL, RATE_HZ, 1, 50.0, encoder.delay_samples, bitstream=bitstream_of(Tier.NEURAL)
            )
            writer = FileWriter(file, form)
            for packet in packets:
                writer.write(packet.timestamp, packet)
            writer.close(len(sound))
        heard = np.concatenate([decoder.push(packet) for packet in packets])
        lag = decoder.delay_samples + encoder.delay_samples
        expected = heard[lag : lag + len(sound), None]
    else:
        encode_file(tmp_path / "speech.wav", coded, tier=tier)
        decode_file(coded, tmp_path / "decoded.wav", floats=tier == "near-lossless")
        expected, _ = soundfile.read(tmp_path / "decoded.wav", dtype="float32", always_2d=True)
    page.click("h1")
    found = page.evaluate(PLAY, coded.name)
    given = found["given"]
    assert not any(piece["late"] for piece in given)
    for before, after in pairwise(given):
        assert after["at"] == pytest.approx(before["at"] + before["length"] / RATE_HZ, abs=1e-6)
    assert {piece["sampleRate"] for piece in given} == {RATE_HZ}
    assert found["tookS"] >= len(sound) / RATE_HZ
    planes = [
        np.concatenate([np.frombuffer(base64.b64decode(piece["planes"][channel]), np.float32) for piece in given])
        for channel in range(channels)
    ]
    played = np.stack(planes, axis=1).astype(np.float64)
    assert played.shape == expected.shape
    noise = float(np.sum((played - expected) ** 2))
    if tier == "lossless":
        assert noise == 0.0
    assert 10 * np.log10(np.sum(expected.astype(np.float64) ** 2) / max(noise, 1e-20)) >= 80.0


def test_two_tabs_hear_eight_people_each_without_a_gap(browser: Any, built: Path) -> None:
    for tab in simulate(browser, built, tabs=2, people=8, seconds=1):
        assert tab["blocks"] == 8 * 100
        assert tab["silentBlocks"] == tab["silent"] == 0
        assert tab["played"] >= 8 * 49
        # The line's jitter alone makes frames late, now and then.
        assert tab["concealed"] <= 0.01 * tab["played"]
