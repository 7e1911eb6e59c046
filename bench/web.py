"""Milliseconds a packet in WebAssembly beside native code: ``python -m bench.web FOLDER``, built before.

Rounds of native code, Node and a page of Chromium take turns, so that a busy machine is as busy for each; the best of
each counts. Writes ``bench/results/web_speed.json``. Needs Node, Chromium and playwright.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.web_room import serving
from streamcodec import StreamDecoder, StreamEncoder

ROUNDS = 8
RATE_HZ = 24_000
RESULTS = Path(__file__).parent / "results" / "web_speed.json"
SPEECH = Path(__file__).parents[1] / "streamcodec" / "demo_data" / "speech.flac"
MEASURE = """
const best = { encode: Infinity, decode: Infinity };
for (let run = 0; run < 4; run++) {
  const encoder = new Encoder(codec), decoder = new Decoder(codec);
  const start = performance.now();
  const packets = encoder.push(samples);
  const middle = performance.now();
  for (const packet of packets) decoder.push(packet);
  best.encode = Math.min(best.encode, (middle - start) / packets.length);
  best.decode = Math.min(best.decode, (performance.now() - middle) / packets.length);
  encoder.close();
  decoder.close();
}
"""
IN_NODE = (
    """
import { readFileSync } from 'node:fs';
import { webcrypto } from 'node:crypto';
globalThis.crypto ??= webcrypto;
const [folder, sound] = process.argv.slice(2);
const { Codec, Decoder, Encoder } = await import(folder + '/index.js');
const codec = await Codec.load(async (name) => new Uint8Array(readFileSync(folder + '/' + name)));
const raw = readFileSync(sound);
const samples = new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length));
"""
    + MEASURE
    + "console.log(JSON.stringify(best));"
)
IN_PAGE = (
    """
async () => {
  const { Codec, Decoder, Encoder, readFrom } = await import('/index.js');
  const codec = (globalThis.codec ??= await Codec.load(readFrom('/')));
  const samples = new Float32Array(await (await fetch('/bench.f32')).arrayBuffer());
"""
    + MEASURE
    + "return best; }"
)


def native(sound: NDArray[np.float32]) -> dict[str, float]:
    """Best of a few runs of the compiled backend, ms a packet."""
    best = {"encode": np.inf, "decode": np.inf}
    for _ in range(4):
        encoder = StreamEncoder(RATE_HZ, 6_000, backend="compiled")
        decoder = StreamDecoder(RATE_HZ, backend="compiled")
        start = time.perf_counter()
        packets = encoder.push(sound)
        middle = time.perf_counter()
        for packet in packets:
            decoder.push(packet)
        end = time.perf_counter()
        for name, seconds in (("encode", middle - start), ("decode", end - middle)):
            best[name] = min(best[name], 1_000.0 * seconds / len(packets))
    return best


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    made = argparse.ArgumentParser(prog="python -m bench.web", description=__doc__)
    made.add_argument("folder", type=Path, help="where streamcodec.web.build has put the package")
    return made


def main() -> None:
    """Measure, print and write."""
    from playwright.sync_api import sync_playwright

    folder = parser().parse_args().folder.resolve()
    sound = soundfile.read(SPEECH, dtype="float32", frames=2 * RATE_HZ)[0]
    sound.tofile(folder / "bench.f32")
    (folder / "bench.mjs").write_text(IN_NODE)
    rounds: dict[str, list[dict[str, float]]] = {"native": [], "node": [], "chromium": []}
    node = ["node", str(folder / "bench.mjs"), str(folder), str(folder / "bench.f32")]
    with serving(folder) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto(f"{address}/codec.json")
        for _ in range(ROUNDS):
            rounds["native"].append(native(sound))
            rounds["node"].append(json.loads(subprocess.run(node, capture_output=True, check=True).stdout))
            rounds["chromium"].append(page.evaluate(IN_PAGE))
        facts: dict[str, Any] = {"packet_ms": 20, "version": chromium.version, "load": round(os.getloadavg()[0], 1)}
        chromium.close()
    for name in ("encode", "decode"):
        facts[name] = {kind: round(min(each[name] for each in found), 3) for kind, found in rounds.items()}
    print(json.dumps(facts))
    RESULTS.write_text(json.dumps(facts, indent=1) + "\n")
    (folder / "bench.f32").unlink()
    (folder / "bench.mjs").unlink()


if __name__ == "__main__":
    main()
