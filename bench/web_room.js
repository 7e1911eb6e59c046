// One tab that hears several people, on a simulated clock: a worker's module, for web_room.py and a test.

import { Codec, Encoder, Packet, readFrom } from './index.js';
import { Mixer } from './mixer.js';
import { Receiver } from './receiver.js';

const BLOCK_MS = 10;
const FRAME_MS = 20;
const SETTLE_MS = 1_000;
const JITTER_MS = 6;

/** @param {{people: number, seconds: number, seed: number, samples: Float32Array}} given */
async function simulate({ people, seconds, seed, samples }) {
  let state = seed;
  const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  const codec = await Codec.load(readFrom('./'));
  const talk = new Encoder(codec, { bitrate: 6_000 }).push(samples);
  const persons = Array.from({ length: people }, (_, k) => ({ receiver: new Receiver(codec), next: 0, shift: 7 * k, due: [] }));
  const mixer = new Mixer(codec.layout.sampleRate);
  const blockSamples = (codec.layout.sampleRate * BLOCK_MS) / 1_000;
  const stats = () => persons.map(({ receiver }) => receiver.stats);
  let [before, silent, blocks, startMs, longestMs] = [stats(), 0, 0, 0, 0];
  for (let nowMs = 0; nowMs < SETTLE_MS + 1_000 * seconds; nowMs += BLOCK_MS) {
    if (nowMs === SETTLE_MS) [before, startMs] = [stats(), performance.now()];
    const turnMs = performance.now();
    const heard = persons.map((person) => {
      for (; FRAME_MS * person.next <= nowMs; person.next++) {
        const numbers = { sequence: person.next % 65_536, timestamp: person.next % 65_536 };
        const packet = new Packet({ ...talk[(person.next + person.shift) % talk.length], ...numbers });
        person.due.push([FRAME_MS * person.next - JITTER_MS * Math.log(1 - random()), packet]);
      }
      person.due = person.due.filter(([atMs, packet]) => atMs > nowMs || void person.receiver.receive(packet, atMs));
      return person.receiver.pull(nowMs, blockSamples);
    });
    mixer.mix(heard, blockSamples);
    if (nowMs < SETTLE_MS) continue;
    longestMs = Math.max(longestMs, performance.now() - turnMs);
    blocks += heard.length;
    silent += heard.filter((block) => block.every((x) => x === 0)).length;
  }
  const elapsedMs = performance.now() - startMs;
  const after = stats();
  const sum = (/** @type {string} */ key) => after.reduce((all, each, k) => all + each[key] - before[k][key], 0);
  const counts = Object.fromEntries(['played', 'concealed', 'late', 'underruns', 'silent'].map((key) => [key, sum(key)]));
  return { ...counts, blocks, silentBlocks: silent, elapsedMs, longestMs };
}

globalThis.onmessage = async ({ data }) => globalThis.postMessage(await simulate(data));
