// Run by test_waveform_tiers.py, with the built package's folder and that of what Python made in the environment.

import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { pathToFileURL } from 'node:url';

globalThis.crypto ??= webcrypto;

const { BUILT, MADE } = process.env;
const { FileError, LosslessDecoder, NearLosslessDecoder, Packet, SoundFile, WaveformCodec, fileHeader } = await import(
  pathToFileURL(join(BUILT, 'index.js')).href
);
const codec = await WaveformCodec.load(async (name) => new Uint8Array(readFileSync(join(BUILT, name))));
const made = JSON.parse(readFileSync(join(MADE, 'made.json'), 'utf8'));
const floats = (name) => {
  const bytes = readFileSync(join(MADE, name));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));
const decoderOf = (form) => new (form.tier === 'lossless' ? LosslessDecoder : NearLosslessDecoder)(codec, form);

/** Interleaved samples beside those of planes: signal over noise, in dB. */
function snrDb(planes, expected) {
  let signal = 1e-20;
  let noise = 1e-20;
  expected.forEach((x, k) => {
    const own = planes[k % planes.length][Math.floor(k / planes.length)];
    signal += x * x;
    noise += (x - own) ** 2;
  });
  return 10 * Math.log10(signal / noise);
}

for (const [name, form] of Object.entries(made.streams)) {
  test(`a stream with losses sounds as in Python: ${name}`, () => {
    const decoder = decoderOf(form);
    const expected = floats(`${name}.f32`);
    const exact = form.tier === 'lossless';
    let at = 0;
    form.packets.forEach((hex, k) => {
      const before = decoder.concealed;
      const planes = decoder.push(hex === null ? null : Packet.fromBytes(bytes(hex)));
      assert.equal(decoder.concealed > before, form.concealed[k], `block ${k}`);
      assert.equal(planes.length, form.channels);
      assert.equal(planes[0].length, form.lengths[k], `block ${k}`);
      const part = expected.subarray(at, at + form.lengths[k] * form.channels);
      at += part.length;
      if (exact) {
        part.forEach((x, j) => assert.equal(planes[j % form.channels][Math.floor(j / form.channels)], x, `block ${k}`));
      } else if (k > 0) {
        // The first block is what rounding leaves of silence; what is made up is compared as all else is.
        const db = snrDb(planes, part);
        assert.ok(db > 100 || part.every((x) => Math.abs(x) < 1e-6), `block ${k}: ${db} dB`);
      }
      for (const plane of planes) assert.ok(plane.every((x) => Number.isFinite(x) && Math.abs(x) < 4));
    });
    assert.equal(at, expected.length);
    decoder.close();
  });
}

test('streams take turns in one codec, and none hears of another', () => {
  const names = ['lossless-stereo', 'perceptual-mono', 'perceptual-mono'];
  const forms = names.map((name) => made.streams[name]);
  const decoders = forms.map(decoderOf);
  const alone = forms.map((form) => {
    const decoder = decoderOf(form);
    return form.packets.slice(0, 12).map((hex) => decoder.push(hex === null ? null : Packet.fromBytes(bytes(hex))));
  });
  for (let k = 0; k < 12; k++) {
    forms.forEach((form, which) => {
      const hex = form.packets[k];
      const planes = decoders[which].push(hex === null ? null : Packet.fromBytes(bytes(hex)));
      assert.deepEqual(planes, alone[which][k]);
    });
  }
});

for (const { name, rateHz, channels, samples } of made.files) {
  test(`a file sounds as in Python, to the sample: ${name}`, () => {
    const content = new Uint8Array(readFileSync(join(MADE, `${name}.sc`)));
    const file = new SoundFile(content, codec);
    assert.deepEqual([file.sampleRate, file.channels, file.samples], [rateHz, channels, samples]);
    const blocks = [...file.decodeChannels()];
    const planes = Array.from({ length: channels }, (_, channel) => Float32Array.from(blocks.flatMap((block) => [...block[channel]])));
    assert.equal(planes[0].length, samples);
    const expected = floats(`${name}.f32`);
    if (fileHeader(content).tier === 'lossless') {
      expected.forEach((x, k) => assert.equal(planes[k % channels][Math.floor(k / channels)], x));
    } else {
      assert.ok(snrDb(planes, expected) > 100, `${snrDb(planes, expected)} dB`);
    }
    for (let k = 0; k < content.length; k += Math.ceil(content.length / 60)) {
      const bad = content.slice();
      bad[k] ^= 1 + (k % 255);
      try {
        const length = [...new SoundFile(bad, codec).decode()].reduce((all, block) => all + block.length, 0);
        assert.ok(length < 3 * samples);
      } catch (error) {
        assert.ok(error instanceof FileError, String(error));
      }
    }
  });
}

test('any bytes whatever decode to something, without an error', () => {
  for (const [name, form] of Object.entries(made.streams)) {
    const decoder = decoderOf(form);
    let seed = 7;
    form.packets.slice(0, 40).forEach((hex, k) => {
      if (hex === null) return;
      const packet = Packet.fromBytes(bytes(hex));
      const payload = packet.payload.slice(0, k % 3 ? undefined : 1 + (k * 37) % packet.payload.length);
      for (let flips = 0; flips < 3 && k > 0; flips++) {
        seed = (seed * 48_271) % 2_147_483_647;
        payload[seed % payload.length] ^= 1 + (seed % 255);
      }
      const planes = decoder.push(new Packet({ ...packet, payload, redundant: [] }));
      assert.equal(planes.length, form.channels, name);
      for (const plane of planes) assert.ok(plane.every(Number.isFinite), `${name} ${k}`);
    });
    decoder.close();
  }
});
