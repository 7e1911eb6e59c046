// Run by test_call_parts.py, with the built package's folder and that of what Python made in the environment.

import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { pathToFileURL } from 'node:url';

globalThis.crypto ??= webcrypto;

const { BUILT, MADE } = process.env;
const load = (name) => import(pathToFileURL(join(BUILT, name)).href);
const { Codec, Encoder, FileError, JitterBuffer, Packet, Resampler, SoundFile } = await load('index.js');
const { Deframer, Framer, frameOfReport } = await load('framing.js');
const { framesOf } = await load('jitter_buffer.js');
const { ReceptionMonitor, reportFromBytes, reportToBytes } = await load('report.js');
const { CongestionController } = await load('congestion.js');

const json = (name) => JSON.parse(readFileSync(join(MADE, name), 'utf8'));
const floats = (name) => {
  const bytes = readFileSync(join(MADE, name));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (array) => Buffer.from(array).toString('hex');
const codec = await Codec.load(async (name) => new Uint8Array(readFileSync(join(BUILT, name))), { resample: true });

test('golden frames are made, and read', () => {
  let count = 0;
  for (const line of json('frames.json')) {
    const framer = new Framer({ numbered: line.time_stamps });
    const deframer = new Deframer();
    for (const { at_ms: atMs, datagram, frame, report, unit } of line.steps) {
      // Pieces of long packets are of tiers that browsers do not decode.
      if (datagram.startsWith('1b')) continue;
      const isReport = datagram.length === 72 && datagram.startsWith('1a');
      const own = isReport
        ? frameOfReport(bytes(datagram))
        : framer.frame(Packet.fromBytes(bytes(datagram)), report ? bytes(report) : null);
      assert.equal(hex(own), frame);
      const found = deframer.take(bytes(frame), atMs, line.time_stamps ? (unit ?? framer.unit) : null);
      const heard = isReport ? found.report : found.packet?.toBytes();
      assert.equal(heard ? hex(heard) : null, datagram);
      if (report) assert.equal(hex(found.report), report);
      count += 1;
    }
    assert.equal(deframer.damaged, 0);
  }
  assert.ok(count > 20);
});

test('damaged frames are counted and never thrown', () => {
  const lines = json('frames.json');
  let damaged = 0;
  for (const line of lines) {
    const deframer = new Deframer();
    line.steps.forEach(({ at_ms: atMs, frame }, k) => {
      const data = bytes(frame);
      data[(k * 7) % data.length] ^= 1 << (k % 8);
      deframer.take(data.subarray(0, 1 + ((k * 5) % data.length)), atMs, line.time_stamps ? k : null);
    });
    deframer.take(Uint8Array.of(0xff), 0);
    damaged += deframer.damaged;
  }
  assert.ok(damaged > 0);
});

for (const [name, { events, stats }] of Object.entries(json('traces.json'))) {
  test(`jitter buffer, reports and rate decide as Python's: ${name}`, () => {
    const buffer = new JitterBuffer();
    const monitor = new ReceptionMonitor();
    const congestion = new CongestionController(6_000, 20);
    let reports = 0;
    let sameAges = 0;
    for (const event of events) {
      if (event.put) {
        const packet = Packet.fromBytes(bytes(event.put));
        const arrivals = framesOf(packet).map((frame) => {
          monitor.observe(frame, 60, event.at);
          return buffer.put(frame, event.at);
        });
        assert.deepEqual(arrivals, event.arrivals, `put at ${event.at}`);
      } else if (event.report) {
        const own = reportToBytes(monitor.report(event.at, buffer.stats));
        assert.equal(hex(own), event.report);
        congestion.onReport(reportFromBytes(own), event.at);
        const { bitrate, ages } = congestion.rate;
        assert.deepEqual([bitrate, ages.length], [event.bps, event.ages.length]);
        reports += 1;
        // Of two plans that are worth the same to the last digit either may win.
        sameAges += Number(ages.join() === event.ages.join());
      } else {
        const decision = buffer.get(event.get);
        const where = `get at ${event.get}`;
        assert.equal(decision.kind, event.kind, where);
        assert.ok(Math.abs(buffer.targetMs - event.target) < 1e-6, where);
        assert.ok(Math.abs(buffer.depthMs - event.depth) < 1e-6, where);
        if (decision.kind === 'play') {
          const { frame, recovered, scale } = decision;
          const own = { timestamp: frame.timestamp, recovered, scale, part: frame.part };
          const { timestamp, recovered: theirs, scale: scaled, part } = event;
          assert.deepEqual(own, { timestamp, recovered: theirs, scale: scaled, part }, where);
        }
        monitor.due(event.get);
      }
    }
    assert.ok(sameAges >= 0.97 * reports, `${sameAges} of ${reports}`);
    const found = buffer.stats;
    for (const [key, value] of Object.entries(stats)) assert.equal(found[key], value, key);
  });
}

test("redundant copies are Python's", () => {
  const speech = floats('speech.f32');
  const copies = new Map(json('copies.json').map((copy) => [copy.of, copy]));
  const encoder = new Encoder(codec, { bitrate: 6_000 });
  const packets = [];
  let same = 0;
  for (let start = 0; start < 48_000; start += 480) {
    packets.push(...encoder.push(speech.subarray(start, start + 480)));
    const of = packets.length > 3 && packets.at(-3);
    const expected = of && copies.get(hex(of.toBytes()));
    if (!expected) continue;
    const { qualityIndex, payload } = encoder.encodeRedundant(of, 0.5);
    same += Number(qualityIndex === expected.qualityIndex && hex(payload) === expected.payload);
  }
  assert.ok(same >= 0.97 * copies.size, `${same} of ${copies.size}`);
  assert.equal(encoder.encodeRedundant(packets[0]), null);
  const plain = new Encoder(codec, { bitrate: 6_000 }).push(speech.subarray(0, 48_000));
  assert.deepEqual(plain.map((packet) => hex(packet.toBytes())), packets.map((packet) => hex(packet.toBytes())));
});

test("resampling is Python's between every rate of sound cards and the codec's", () => {
  const speech = floats('speech.f32');
  for (const { from, to, file } of json('resampled.json')) {
    const resampler = new Resampler(codec, from, to);
    const blocks = [];
    for (let k = 0; k < 8_820; k += 441) blocks.push(...resampler.process(speech.subarray(k, k + 441)));
    const expected = floats(file);
    assert.equal(blocks.length, expected.length);
    expected.forEach((x, k) => assert.ok(Math.abs(x - blocks[k]) < 1e-5, `${from} to ${to} at ${k}`));
  }
  assert.throws(() => new Resampler(codec, 11_025, 24_000), /11025 to 24000/);
});

const file = (name) => new Uint8Array(readFileSync(join(MADE, name)));
const joined = (blocks) => {
  const all = [...blocks];
  const out = new Float32Array(all.reduce((length, block) => length + block.length, 0));
  all.reduce((at, block) => (out.set(block, at), at + block.length), 0);
  return out;
};

for (const name of ['speech', 'short']) {
  test(`files sound as Python's decoder lets them, to the sample: ${name}`, () => {
    const sound = joined(new SoundFile(file(`${name}.sc`), codec).decode());
    const expected = floats(`${name}-decoded.f32`);
    assert.equal(sound.length, expected.length);
    let noise = 0;
    let signal = 0;
    expected.forEach((x, k) => {
      noise += (x - sound[k]) ** 2;
      signal += x * x;
    });
    const db = 10 * Math.log10(signal / noise);
    // Files are decoded by onnxruntime in Python, whose sums round otherwise.
    assert.ok(db > 40, `${db} dB`);
  });
}

test('what is damaged in a file is concealed, and what is none says so', () => {
  const whole = file('speech.sc');
  const expected = floats('speech-decoded.f32');
  const damaged = whole.slice();
  damaged[damaged.length >> 1] ^= 255;
  assert.equal(joined(new SoundFile(damaged, codec).decode()).length, expected.length);
  const cut = new SoundFile(whole.subarray(0, whole.length - 20), codec);
  assert.equal(cut.samples, null);
  assert.ok(Math.abs(joined(cut.decode()).length - expected.length) < 1_500);
  for (let k = 0; k < whole.length; k += 97) {
    const bad = whole.slice();
    bad[k] ^= 1 + (k % 255);
    try {
      joined(new SoundFile(bad, codec).decode());
    } catch (error) {
      assert.ok(error instanceof FileError, String(error));
    }
  }
  assert.throws(() => new SoundFile(file('lossless.sc'), codec), /lossless tier/);
  assert.throws(() => new SoundFile(Uint8Array.of(1, 2, 3), codec), FileError);
});
