// Samples between a sound card's thread and a worker: one writes, one reads, nobody waits.

const HEAD_WORDS = 2;

/** On shared memory, where the page is isolated from others; each side makes one of the same buffer. */
export class RingBuffer {
  /**
   * @param {number} samples a power of two, so that positions may wrap
   * @returns {SharedArrayBuffer}
   */
  static make(samples) {
    return new SharedArrayBuffer(4 * (HEAD_WORDS + samples));
  }

  /** @param {SharedArrayBuffer} buffer */
  constructor(buffer) {
    // Positions grow for ever and wrap as 32-bit integers do; their difference is what is held.
    this._head = new Int32Array(buffer, 0, HEAD_WORDS);
    this._sound = new Float32Array(buffer, 4 * HEAD_WORDS);
  }

  /** Samples that can be read. */
  get held() {
    return (Atomics.load(this._head, 0) - Atomics.load(this._head, 1)) | 0;
  }

  /**
   * As many as there is room for are taken.
   * @param {Float32Array} samples
   * @returns {number} how many were
   */
  write(samples) {
    const capacity = this._sound.length;
    const count = Math.min(samples.length, capacity - this.held);
    const at = Atomics.load(this._head, 0);
    for (let k = 0; k < count; k++) this._sound[((at + k) >>> 0) % capacity] = samples[k];
    Atomics.store(this._head, 0, (at + count) | 0);
    return count;
  }

  /**
   * Fill `out` as far as there is sound.
   * @param {Float32Array} out
   * @returns {number} how many samples were written to it
   */
  read(out) {
    const capacity = this._sound.length;
    const count = Math.min(out.length, this.held);
    const at = Atomics.load(this._head, 1);
    for (let k = 0; k < count; k++) out[k] = this._sound[((at + k) >>> 0) % capacity];
    Atomics.store(this._head, 1, (at + count) | 0);
    return count;
  }
}

/** The same within one thread. */
export class Queue {
  constructor() {
    /** @type {Float32Array[]} */
    this._blocks = [];
    this.held = 0;
  }

  /** @param {Float32Array} samples */
  write(samples) {
    this._blocks.push(samples);
    this.held += samples.length;
    return samples.length;
  }

  /** @param {Float32Array} out */
  read(out) {
    let filled = 0;
    while (filled < out.length && this._blocks.length) {
      const [first] = this._blocks;
      const part = first.subarray(0, out.length - filled);
      out.set(part, filled);
      filled += part.length;
      if (part.length === first.length) this._blocks.shift();
      else this._blocks[0] = first.subarray(part.length);
    }
    this.held -= filled;
    return filled;
  }
}
