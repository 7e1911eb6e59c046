// Run by test_damaged_files.py, with the built package's folder and that of what Python made in the environment.

import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { pathToFileURL } from 'node:url';

globalThis.crypto ??= webcrypto;

const { BUILT, MADE } = process.env;
const { Codec, FileError, SoundFile, WaveformCodec, fileHeader } = await import(pathToFileURL(join(BUILT, 'index.js')).href);
const read = async (name) => new Uint8Array(readFileSync(join(BUILT, name)));
const codecs = { neural: await Codec.load(read, { encode: false }), waveform: await WaveformCodec.load(read) };

for (const { what, name, file, reading, missingS, decoding, fails } of JSON.parse(readFileSync(join(MADE, 'cases.json'), 'utf8'))) {
  test(`what is missing is told as in Python: ${what}`, () => {
    const bytes = Uint8Array.from(Buffer.from(file, 'hex'));
    const codec = fileHeader(bytes).tier === 'neural' ? codecs.neural : codecs.waveform;
    const sound = new SoundFile(bytes, codec);
    const blocks = sound.decodeChannels();
    if (!fails) blocks.next();
    // In the middle of decoding, which goes on undisturbed.
    assert.equal(sound.trouble(name), fails ? decoding : reading);
    if (!fails) assert.ok(Math.abs(sound.missingS - missingS) < 1e-5, `${sound.missingS} s, not ${missingS}`);
    if (fails) {
      assert.throws(() => [...blocks], FileError);
    } else {
      for (const _ of blocks);
    }
    assert.equal(sound.trouble(name), decoding);
  });
}
