// On the sound card's thread: microphone samples to the worker, the worker's samples to the loudspeaker. Nothing is coded
// here, so nothing here can take long.

import { Queue, RingBuffer } from './ring_buffer.js';

/** Samples go to the worker, and it looks whether the sound card needs some, so often. */
const BLOCK_S = 0.005;

/** @typedef {{port: MessagePort, heard?: SharedArrayBuffer, played?: SharedArrayBuffer}} Wiring */

// What TypeScript's library for pages leaves out of the worklet's scope.
/** @type {any} */
const scope = globalThis;
const Base = /** @type {{new (): {port: MessagePort}}} */ (scope.AudioWorkletProcessor);

class SoundProcessor extends Base {
  constructor() {
    super();
    this._block = new Float32Array(Math.round(scope.sampleRate * BLOCK_S));
    this._filled = 0;
    /** @type {MessagePort | null} */
    this._worker = null;
    /** @type {RingBuffer | null} */
    this._heard = null;
    /** @type {RingBuffer | Queue} */
    this._played = new Queue();
    /** Samples played since the start. */
    this._taken = 0;
    /** Quanta for which there was no sound. */
    this._missed = 0;
    this._begun = false;
    this._ended = false;
    this.port.onmessage = ({ data }) => this._wire(data);
  }

  /** @param {Wiring | {end: true}} wiring */
  _wire(wiring) {
    if ('end' in wiring) {
      this._ended = true;
      return;
    }
    this._worker = wiring.port;
    if (wiring.heard && wiring.played) {
      this._heard = new RingBuffer(wiring.heard);
      this._played = new RingBuffer(wiring.played);
    }
    this._worker.onmessage = ({ data }) => {
      if (data instanceof Float32Array) this._played.write(data);
    };
  }

  /**
   * @param {Float32Array[][]} inputs
   * @param {Float32Array[][]} outputs
   */
  process([input], [output]) {
    const [left] = output;
    const count = this._played.read(left);
    this._taken += count;
    this._begun ||= count > 0;
    if (count < left.length && this._begun) this._missed += 1;
    for (const other of output.slice(1)) other.set(left);
    this._take(input, left.length);
    return !this._ended;
  }

  /**
   * The mean of all channels; silence where nothing is connected.
   * @param {Float32Array[]} channels
   * @param {number} count
   */
  _take(channels, count) {
    for (let k = 0; k < count; k++) {
      let sum = 0;
      for (const channel of channels) sum += channel[k];
      this._block[this._filled++] = channels.length ? sum / channels.length : 0;
      if (this._filled === this._block.length) this._pass();
    }
  }

  _pass() {
    this._filled = 0;
    if (!this._worker) return;
    const wake = { taken: this._taken, missed: this._missed, samples: /** @type {Float32Array | null} */ (null) };
    if (this._heard) this._heard.write(this._block);
    else wake.samples = this._block.slice();
    this._worker.postMessage(wake);
  }
}

scope.registerProcessor('streamcodec-sound', SoundProcessor);
