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
    /** Samples that wait in the kernel's block. */
    this._filled = 0;
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
    const codec = this._codec;
    const { chunk } = form;
    const outChunk = this._outChunk;
    const out = new Float32Array(Math.floor((this._filled + sound.length) / chunk) * outChunk);
    let given = 0;
    for (let taken = 0; taken < sound.length; ) {
      const part = sound.subarray(taken, taken + chunk - this._filled);
      codec.floats(this._block + 4 * this._filled, part.length).set(part);
      taken += part.length;
      this._filled += part.length;
      if (this._filled < chunk) break;
      this._filled = 0;
      codec.kernels.resample(
        codec.filters + form.at, this._sound, this._block, this._out, form.up, form.count, form.down, chunk,
      );
      out.set(codec.floats(this._out, outChunk), given);
      given += outChunk;
    }
    return out;
  }
}
