// Streaming resampling by the kernel: as Python's `StreamResampler`, with its filters.

import { AudioFormatError } from './errors.js';

/** Between the codec's rate and a sound card's. */
export class Resampler {
  /**
   * @param {import('./codec.js').Codec} codec
   * @param {number} fromHz
   * @param {number} toHz
   */
  constructor(codec, fromHz, toHz) {
    this._codec = codec;
    this._pending = new Float32Array(0);
    this._sound = this._block = this._out = this._outChunk = 0;
    if (fromHz === toHz) return;
    const form = codec.layout.resamplers.find((each) => each.from === fromHz && each.to === toHz);
    if (!form || codec.filters < 0) {
      throw new AudioFormatError(`there is no filter from ${fromHz} to ${toHz} Hz: ${codec.deviceRates.join(', ')} work`);
    }
    this._form = form;
    this._outChunk = (form.chunk / form.down) * form.up;
    const past = 4 * (form.count - 1 + form.chunk);
    this._sound = codec.memoryFor(past + 4 * form.chunk + 4 * this._outChunk);
    this._block = this._sound + past;
    this._out = this._block + 4 * form.chunk;
  }

  /**
   * What the sound so far completes.
   * @param {Float32Array} sound
   * @returns {Float32Array}
   */
  process(sound) {
    const form = this._form;
    if (!form) return sound;
    const all = new Float32Array(this._pending.length + sound.length);
    all.set(this._pending);
    all.set(sound, this._pending.length);
    const chunks = Math.floor(all.length / form.chunk);
    const outChunk = this._outChunk;
    const out = new Float32Array(chunks * outChunk);
    const codec = this._codec;
    for (let k = 0; k < chunks; k++) {
      codec.floats(this._block, form.chunk).set(all.subarray(k * form.chunk, (k + 1) * form.chunk));
      codec.kernels.resample(
        codec.filters + form.at, this._sound, this._block, this._out, form.up, form.count, form.down, form.chunk,
      );
      out.set(codec.floats(this._out, outChunk), k * outChunk);
    }
    this._pending = all.slice(chunks * form.chunk);
    return out;
  }
}
