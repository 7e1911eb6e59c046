"""Milliseconds a packet in WebAssembly beside native code: ``python -m bench.web FOLDER``, built before.

Rounds of both take turns, so that a busy machine is as busy for either; the best of each counts. Writes
``bench/results/web_speed.json``. Needs node.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from streamcodec import StreamDecoder, StreamEncoder

ROUNDS = 8
RATE_HZ = 24_000
RESULTS = Path(__file__).parent / "results" / "web_speed.json"
SPEECH = Path(__file__).parents[1] / "streamcodec" / "demo_data" / "speech.flac"
ROUND = """
import { readFileSync } from 'node:fs';
import { webcrypto } from 'node:crypto';
globalThis.crypto ??= webcrypto;
const [folder, sound] = process.argv.slice(2);
const { Codec, Decoder, Encoder } = await import(folder + '/index.js');
const codec = await Codec.load(async (name) => new Uint8Array(readFileSync(folder + '/' + name)));
const raw = readFileSync(sound);
const samples = new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length));
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
console.log(JSON.stringify(best));
"""


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
    folder = parser().parse_args().folder.resolve()
    sound = soundfile.read(SPEECH, dtype="float32", frames=2 * RATE_HZ)[0]
    sound.tofile(folder / "bench.f32")
    (folder / "bench.mjs").write_text(ROUND)
    rounds: dict[str, list[dict[str, float]]] = {"native": [], "wasm": []}
    for _ in range(ROUNDS):
        rounds["native"].append(native(sound))
        command = ["node", str(folder / "bench.mjs"), str(folder), str(folder / "bench.f32")]
        rounds["wasm"].append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
    facts: dict[str, dict[str, float]] = {}
    for name in ("encode", "decode"):
        best = {kind: min(each[name] for each in found) for kind, found in rounds.items()}
        ratio = best["wasm"] / best["native"]
        facts[name] = {f"{kind}_ms": round(ms, 3) for kind, ms in best.items()}
        print(f"{name}: native {best['native']:.3f} ms, wasm {best['wasm']:.3f} ms a packet, {ratio:.1f} times")
    RESULTS.write_text(json.dumps({"packet_ms": 20, **facts}, indent=1) + "\n")
    (folder / "bench.f32").unlink()
    (folder / "bench.mjs").unlink()


if __name__ == "__main__":
    main()
