"""Ten tabs that hear eight people each, on a simulated clock: ``python -m bench.web_room FOLDER``, built before.

Everybody speaks all the time, over lines with jitter (exponential, 6 ms on average); every tab has a codec of its
own, with a jitter buffer and a decoder for each person, and asks for 10 ms at a time. After a second to settle in it
counts frames made up or too late, blocks of silence, and the processor's time. One thread of node; writes
``bench/results/web_room.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path

import soundfile

from bench.web import RATE_HZ, SPEECH

RESULTS = Path(__file__).parent / "results" / "web_room.json"
SCRIPT = """
import { readFileSync } from 'node:fs';
import { webcrypto } from 'node:crypto';
globalThis.crypto ??= webcrypto;
const [folder, sound, ...numbers] = process.argv.slice(2);
const [tabs, people, seconds] = numbers.map(Number);
const { Codec, Encoder, Packet } = await import(folder + '/index.js');
const { Receiver } = await import(folder + '/receiver.js');
const read = async (name) => new Uint8Array(readFileSync(folder + '/' + name));
const raw = readFileSync(sound);
const samples = new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length));
const talk = new Encoder(await Codec.load(read), { bitrate: 6000 }).push(samples);
let seed = 1;
const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
const rooms = [];
for (let tab = 0; tab < tabs; tab++) {
  const codec = await Codec.load(read, { encode: false });
  const person = (_, k) => ({ receiver: new Receiver(codec), next: 0, shift: 7 * k, due: [] });
  rooms.push(Array.from({ length: people }, person));
}
let silent = 0, blocks = 0, used = { user: 0, system: 0 };
const stats = () => rooms.flat().map(({ receiver }) => receiver.stats);
let before = stats();
for (let nowMs = 0; nowMs < 1000 * (seconds + 1); nowMs += 10) {
  if (nowMs === 1000) {
    before = stats();
    used = process.cpuUsage();
  }
  for (const room of rooms) {
    for (const person of room) {
      while (20 * person.next <= nowMs) {
        const { next } = person;
        const packet = new Packet({ ...talk[(next + person.shift) % talk.length], sequence: next, timestamp: next });
        person.due.push([20 * person.next - 6 * Math.log(1 - random()), packet]);
        person.next += 1;
      }
    }
    for (const person of room) {
      person.due = person.due.filter(([atMs, packet]) => atMs > nowMs || void person.receiver.receive(packet, atMs));
      const block = person.receiver.pull(nowMs, 240);
      if (nowMs >= 1000) {
        blocks += 1;
        silent += Number(block.every((x) => x === 0));
      }
    }
  }
}
const after = stats();
const sum = (key) => after.reduce((all, each, k) => all + each[key] - before[k][key], 0);
const { user, system } = process.cpuUsage(used);
console.log(JSON.stringify({
  tabs, people, seconds, frames: sum('played'), concealed: sum('concealed'), late: sum('late'),
  underruns: sum('underruns'), silent_blocks: silent, blocks,
  share_of_a_core_a_person: (user + system) / (1e6 * seconds * tabs * people),
  memory_mib: Math.round(process.memoryUsage().rss / 2 ** 20),
}));
"""


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.web_room", description=__doc__)
    parser.add_argument("folder", type=Path, help="where streamcodec.web.build has put the package")
    parser.add_argument("--seconds", type=int, default=60, help="simulated (default: 60)")
    options = parser.parse_args()
    folder = options.folder.resolve()
    soundfile.read(SPEECH, dtype="float32", frames=4 * RATE_HZ)[0].tofile(folder / "bench.f32")
    (folder / "bench.mjs").write_text(SCRIPT)
    command = ["node", str(folder / "bench.mjs"), str(folder), str(folder / "bench.f32"), "10", "8"]
    done = subprocess.run([*command, str(options.seconds)], capture_output=True, text=True, check=True)
    found = {**json.loads(done.stdout), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(found))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    for name in ("bench.f32", "bench.mjs"):
        (folder / name).unlink()


if __name__ == "__main__":
    main()
