// Run by test_web.py, with the built package's folder and that of what Python made in the environment.

import assert from 'node:assert/strict';
import { createHash, webcrypto } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { pathToFileURL } from 'node:url';

// Node 18 has it, but not where browsers do.
globalThis.crypto ??= webcrypto;

const { BUILT, MADE } = process.env;
const { AudioFormatError, Codec, Decoder, Encoder, LoadError, Packet, PacketError } = await import(
  pathToFileURL(join(BUILT, 'index.js')).href
);
const read = async (name) => new Uint8Array(readFileSync(join(BUILT, name)));
const codec = await Codec.load(read);

const json = (name) => JSON.parse(readFileSync(join(MADE, name), 'utf8'));
const floats = (name) => {
  const bytes = readFileSync(join(MADE, name));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));
const joined = (blocks) => {
  const out = new Float32Array(blocks.reduce((length, block) => length + block.length, 0));
  blocks.reduce((at, block) => (out.set(block, at), at + block.length), 0);
  return out;
};
const snrDb = (sound, reference) => {
  assert.equal(sound.length, reference.length);
  let signal = 1e-20;
  let noise = 1e-20;
  reference.forEach((x, k) => {
    signal += x * x;
    noise += (sound[k] - x) ** 2;
  });
  return 10 * Math.log10(signal / noise);
};

test('golden packets decode to the same indices, and come back to the same bytes', () => {
  const streams = grouped(json('golden.json'));
  let count = 0;
  for (const entries of streams.values()) {
    const decoder = new Decoder(codec);
    for (const entry of entries) {
      const packet = Packet.fromBytes(bytes(entry.packet));
      assert.equal(Buffer.from(packet.toBytes()).toString('hex'), entry.packet);
      decoder.push(packet);
      const digest = createHash('sha256').update(new Uint8Array(decoder.indices().buffer)).digest('hex');
      assert.equal(digest.slice(0, 16), entry.indices_sha256);
      count += 1;
    }
    assert.equal(decoder.concealed, 0);
    decoder.close();
  }
  assert.ok(count > 100);
});

function grouped(entries) {
  const groups = new Map();
  for (const entry of entries) groups.set(entry.stream, [...(groups.get(entry.stream) ?? []), entry]);
  return groups;
}

for (const name of ['whole', 'lossy', 'long', 'quiet', 'bridged', 'tones']) {
  test(`sound of the ${name} stream is Python's`, () => {
    const { packets, behind, concealed } = json(`${name}.json`);
    const decoder = new Decoder(codec);
    const packet = (hex) => (hex === null ? null : bytes(hex));
    const heard = packets.map((hex, k) => decoder.push(packet(hex), packet(behind[k])));
    const sound = joined([...heard, decoder.flush()]);
    const db = snrDb(sound, floats(`${name}.f32`));
    console.log(`${name}: ${db.toFixed(1)} dB`);
    // Beside a tone bands are all but empty, and their logarithms, which a post-filter follows, differ by more.
    assert.ok(db >= 80, `${db} dB`);
    assert.equal(decoder.concealed, concealed);
    decoder.close();
  });
}

test('two streams at once do not hear each other', () => {
  const { packets } = json('whole.json');
  const decoders = [new Decoder(codec), new Decoder(codec)];
  const alone = packets.map((hex) => decoders[0].push(bytes(hex)));
  decoders[0].reset();
  packets.slice(0, 60).forEach((hex, k) => {
    decoders[1].push(k % 3 ? bytes(packets[packets.length - 1 - k]) : null);
    assert.deepEqual(decoders[0].push(bytes(hex)), alone[k]);
  });
  decoders.forEach((decoder) => decoder.close());
});

test('what is encoded here is what Python encodes, and goes to Python to decode', () => {
  const made = {};
  for (const [name, { settings, packets: expected }] of Object.entries(json('encoded.json'))) {
    const sound = floats({ hum: 'hum.f32', tones: 'tones.in.f32' }[name] ?? 'sound.f32');
    const encoder = new Encoder(codec, settings);
    const packets = [];
    // Pieces of odd lengths, as microphones give them.
    for (let at = 0, k = 0; at < sound.length; k++) {
      const length = [128, 441, 7, 1000, 960][k % 5];
      packets.push(...encoder.push(sound.subarray(at, at + length)));
      at += length;
    }
    packets.push(...encoder.flush());
    const hex = packets.map((packet) => Buffer.from(packet.toBytes()).toString('hex'));
    const same = hex.filter((packet, k) => packet === expected[k]).length;
    console.log(`${name}: ${same} of ${expected.length} packets are Python's`);
    const decoder = new Decoder(codec);
    const heard = joined(packets.map((packet) => decoder.push(packet)));
    assert.equal(decoder.concealed, 0);
    made[name] = { packets: hex, same };
    writeFileSync(join(MADE, `${name}.heard.f32`), Buffer.from(heard.buffer));
    encoder.close();
    decoder.close();
  }
  writeFileSync(join(MADE, 'made.json'), JSON.stringify(made));
});

test('packets of another length from the middle on are Python\'s', () => {
  const sound = floats('sound.f32');
  const { before, packetMs, packets: expected } = json('changing.json');
  const encoder = new Encoder(codec, { mode: 'stream' });
  const packets = encoder.push(sound.subarray(0, before));
  // The packet that has begun stays as long as it was meant to be.
  encoder.setPacketMs(packetMs);
  packets.push(...encoder.push(sound.subarray(before)));
  const hex = packets.map((packet) => Buffer.from(packet.toBytes()).toString('hex'));
  assert.equal(hex.length, expected.length);
  assert.ok(hex.filter((packet, k) => packet === expected[k]).length >= 0.97 * hex.length);
  encoder.setPacketMs(120);
  encoder.reset();
  encoder.push(sound.subarray(0, 480));
  encoder.setPacketMs(20);
  assert.deepEqual(encoder.push(sound.subarray(480, 24_000)).map((packet) => packet.frames).slice(0, 2), [6, 1]);
  encoder.close();
});

test('a new rate is followed', () => {
  const sound = floats('sound.f32');
  const bytesAt = (encoder) =>
    encoder.push(sound).reduce((total, packet) => total + packet.payload.length, 0);
  const encoder = new Encoder(codec, { bitrate: 3_000 });
  const low = bytesAt(encoder);
  encoder.setBitrate(12_000);
  assert.ok(bytesAt(encoder) > 2 * low);
  encoder.close();
});

test('damaged bytes and any payload are concealed or played, never thrown', () => {
  const { packets } = json('whole.json');
  const decoder = new Decoder(codec);
  const packet = bytes(packets[10]);
  for (let k = 0; k < packet.length; k++) {
    const damaged = packet.slice();
    damaged[k] ^= 0x10;
    assert.throws(() => Packet.fromBytes(damaged), PacketError);
    assert.equal(decoder.push(damaged).length, decoder.frameSamples);
    assert.throws(() => Packet.fromBytes(packet.slice(0, k)), PacketError);
  }
  assert.equal(decoder.concealed, packet.length);
  const { payload } = Packet.fromBytes(packet);
  let seed = 1;
  for (let k = 0; k < 50; k++) {
    const noise = payload.map(() => (seed = (seed * 48271) % 2147483647) & 255);
    const foreign = new Packet({ sequence: k, timestamp: k, qualityIndex: k % 16, flags: 1, payload: noise, frames: 1 + (k % 6) });
    const heard = decoder.push(Packet.fromBytes(foreign.toBytes()));
    assert.ok(heard.every((x) => Math.abs(x) <= 1));
  }
  assert.equal(decoder.push(new Packet({ tier: 2, sequence: 0, timestamp: 0, qualityIndex: 0, flags: 1, payload })).length, 480);
  decoder.close();
});

test('packets carry copies and lengths as Python does', () => {
  for (const { packet, fields } of json('packets.json')) {
    const copies = fields.redundant.map((copy) => ({ ...copy, payload: bytes(copy.payload) }));
    const made = new Packet({ ...fields, payload: bytes(fields.payload), redundant: copies });
    assert.equal(Buffer.from(made.toBytes()).toString('hex'), packet);
    assert.deepEqual({ ...Packet.fromBytes(bytes(packet)) }, { ...made });
  }
});

test('a WAV whose sound is an odd number of bytes is padded to an even one', async () => {
  const { WaveFile } = await import(pathToFileURL(join(BUILT, 'wave_file.js')).href);
  for (const [samples, total] of [[3, 54], [4, 56]]) {
    const file = new WaveFile(1, 48_000, 24);
    file.push([new Float32Array(samples).fill(0.5)]);
    const wave = new DataView(await file.blob().arrayBuffer());
    assert.deepEqual([wave.byteLength, wave.getUint32(4, true), wave.getUint32(40, true)], [total, total - 8, 3 * samples]);
  }
});

test('what cannot be is said in a sentence', async () => {
  assert.throws(() => new Encoder(codec, { bitrate: 100 }), AudioFormatError);
  assert.throws(() => new Encoder(codec, { packetMs: 30 }), AudioFormatError);
  assert.throws(() => new Packet({ sequence: 70_000, timestamp: 0, qualityIndex: 0, flags: 0, payload: new Uint8Array() }), PacketError);
  const damaged = async (name) => {
    const content = await read(name);
    if (name === 'decoder.bin') content[1000] ^= 1;
    return content;
  };
  await assert.rejects(Codec.load(damaged), (error) => error instanceof LoadError && /decoder\.bin/.test(error.message));
  const listener = await Codec.load(read, { encode: false });
  new Decoder(listener).push(null);
  assert.throws(() => new Encoder(listener), LoadError);
});
